"""Opening a GGUF file, version 2 or 3: metadata and tensor directory, checked against the file's size.

Nothing in a file is trusted: every count, length and offset is checked before it is used, and nothing
is ever executed. The type tables are those of the `gguf` package; its own reader is not used, because it
takes seconds for a large vocabulary and checks little. Read gguf_cursor.py first.
"""

import itertools
import math
import mmap
import os
import stat
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType
from numpy.typing import NDArray

from axiom.host.errors import UserError
from axiom.host.model.gguf_cursor import Cursor
from axiom.host.model.gguf_metadata import Metadata
from axiom.host.model.shown import shown

MAGIC = b"GGUF"
VERSIONS = (2, 3)
DEFAULT_ALIGNMENT = 32
MAX_DIMENSIONS = 4
MIN_VALUE_BYTES = 8 + 4 + 1  # a key's length, a kind, the smallest value
MIN_TENSOR_BYTES = 8 + 4 + 8 + 4 + 8  # a name's length, dimensions, one of them, a kind, an offset


@dataclass(frozen=True)
class GgufTensor:
    """An entry of the tensor directory. `shape` is outermost first: (rows, columns) for a matrix.

    `offset` counts from the start of the file.
    """

    name: str
    type: GGMLQuantizationType
    shape: tuple[int, ...]
    offset: int
    bytes: int


@dataclass(frozen=True)
class GgufFile:
    """A checked GGUF file: its metadata, its tensors and its bytes."""

    path: Path
    metadata: Metadata
    tensors: dict[str, GgufTensor]
    data: mmap.mmap

    def raw(self, tensor: GgufTensor) -> NDArray[np.uint8]:
        """Return a tensor's bytes as they lie in the file, without copying."""
        return np.frombuffer(self.data, np.uint8, tensor.bytes, tensor.offset)


def open_gguf(path: Path) -> GgufFile:
    """Read and check a GGUF file's metadata and tensor directory.

    Raises UserError naming what is wrong.
    """
    data = _map(path)
    cursor = Cursor(str(path), data)
    n_tensors, n_values = _header(cursor)
    values: dict[str, object] = {}
    for _ in range(n_values):
        key = cursor.name("a metadata key")
        if key in values:
            raise cursor.fail(f"the key {key} stands there twice")
        values[key] = cursor.value(f"the value of {key}")
    return GgufFile(path, Metadata(str(path), values), _directory(cursor, n_tensors, values), data)


def _map(path: Path) -> mmap.mmap:
    try:
        # Without blocking: opening a named pipe would wait for a writer for ever.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise UserError(f"there is no file {path}.") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}.") from None
    try:
        facts = os.fstat(handle)
        if not stat.S_ISREG(facts.st_mode):
            raise UserError(f"{path} is not a regular file; a GGUF file is needed.")
        if facts.st_size == 0:
            raise UserError(f"{path} is empty; a GGUF file is needed.")
        return mmap.mmap(handle, facts.st_size, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}.") from None
    finally:
        os.close(handle)


def _header(cursor: Cursor) -> tuple[int, int]:
    magic = cursor.take(4, "the magic number")
    if magic != MAGIC:
        raise cursor.fail(f"it starts with {magic!r} instead of {MAGIC!r}")
    version = cursor.u32("the version")
    if version not in VERSIONS:
        big_endian = int.from_bytes(version.to_bytes(4, "little"), "big") in VERSIONS
        found = "it is big-endian" if big_endian else f"its version is {version}"
        raise cursor.fail(f"{found}; little-endian files of versions 2 and 3 are read")
    n_tensors = cursor.u64("the number of tensors")
    n_values = cursor.u64("the number of metadata values")
    if n_tensors > cursor.left // MIN_TENSOR_BYTES or n_values > cursor.left // MIN_VALUE_BYTES:
        raise cursor.fail(f"it claims {n_tensors} tensors and {n_values} values, more than it can hold")
    return n_tensors, n_values


def _directory(cursor: Cursor, n_tensors: int, values: dict[str, object]) -> dict[str, GgufTensor]:
    relative = [_entry(cursor) for _ in range(n_tensors)]
    alignment = values.get("general.alignment", DEFAULT_ALIGNMENT)
    if not isinstance(alignment, int) or alignment < 8 or alignment & (alignment - 1):
        raise cursor.fail(f"general.alignment is {shown(alignment)}, which is no power of two from 8 on")
    start = -(-cursor.at // alignment) * alignment
    size = len(cursor.data)
    tensors: dict[str, GgufTensor] = {}
    for entry in relative:
        name, offset = entry.name, start + entry.offset
        if name in tensors:
            raise cursor.fail(f"the tensor {name} stands there twice")
        if entry.offset % alignment:
            raise cursor.fail(
                f"the tensor {name} lies at {entry.offset}, which is not aligned to {alignment}"
            )
        if offset + entry.bytes > size:
            raise cursor.fail(
                f"the tensor {name} needs {entry.bytes} bytes at {offset}, and the file has {size}"
            )
        tensors[name] = GgufTensor(name, entry.type, entry.shape, offset, entry.bytes)
    ordered = sorted(tensors.values(), key=lambda tensor: tensor.offset)
    for first, second in itertools.pairwise(ordered):
        if first.offset + first.bytes > second.offset:
            raise cursor.fail(f"the tensors {first.name} and {second.name} overlap")
    return tensors


def _entry(cursor: Cursor) -> GgufTensor:
    """Read one entry; its offset still counts from the start of the tensor data."""
    name = cursor.name("a tensor's name")
    what = f"the tensor {name}"
    n_dimensions = cursor.u32(what)
    if not 1 <= n_dimensions <= MAX_DIMENSIONS:
        raise cursor.fail(f"{what} has {n_dimensions} dimensions; 1 to {MAX_DIMENSIONS} are possible")
    shape = tuple(cursor.u64(what) for _ in range(n_dimensions))[::-1]
    number, offset = cursor.u32(what), cursor.u64(what)
    if min(shape) < 1:
        raise cursor.fail(f"{what} has the empty shape {shape}")
    try:
        kind = GGMLQuantizationType(number)
    except ValueError:
        raise cursor.fail(f"{what} has the unknown type {number}") from None
    block, block_bytes = GGML_QUANT_SIZES[kind]
    if shape[-1] % block:
        raise cursor.fail(f"the rows of {name} are {shape[-1]} long, no multiple of {block} ({kind.name})")
    return GgufTensor(name, kind, shape, offset, math.prod(shape) // block * block_bytes)
