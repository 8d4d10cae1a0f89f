"""Reading GGUF, versions 2 and 3. Source: the GGUF specification in the ggml repository (docs/gguf.md).

Nothing in a file is trusted: every count, length and offset is checked against the file's size before it
is used, and nothing is ever executed. The type tables are those of the `gguf` package; its own reader
is not used, because it takes seconds for a large vocabulary and checks little.
"""

import itertools
import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFValueType

from axiom.host.errors import UserError

MAGIC = b"GGUF"
VERSIONS = (2, 3)
DEFAULT_ALIGNMENT = 32
MAX_DIMENSIONS = 4
MAX_NAME_BYTES = 512
MAX_NESTING = 2
SCALARS: dict[int, str] = {
    int(GGUFValueType.UINT8): "B",
    int(GGUFValueType.INT8): "b",
    int(GGUFValueType.UINT16): "H",
    int(GGUFValueType.INT16): "h",
    int(GGUFValueType.UINT32): "I",
    int(GGUFValueType.INT32): "i",
    int(GGUFValueType.FLOAT32): "f",
    int(GGUFValueType.BOOL): "?",
    int(GGUFValueType.UINT64): "Q",
    int(GGUFValueType.INT64): "q",
    int(GGUFValueType.FLOAT64): "d",
}


@dataclass(frozen=True)
class GgufTensor:
    """An entry of the tensor directory. `shape` is outermost first: (rows, columns) for a matrix."""

    name: str
    type: GGMLQuantizationType
    shape: tuple[int, ...]
    offset: int
    bytes: int


@dataclass(frozen=True)
class GgufFile:
    """A checked GGUF file: its metadata, its tensors and its bytes."""

    path: Path
    metadata: dict[str, Any]
    tensors: dict[str, GgufTensor]
    data: mmap.mmap

    def raw(self, tensor: GgufTensor) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """Return a tensor's bytes as they lie in the file."""
        return np.frombuffer(self.data, np.uint8, tensor.bytes, tensor.offset)


class _Cursor:
    """A position in the file that never leaves it."""

    def __init__(self, path: Path, data: mmap.mmap) -> None:
        self.path, self.data, self.at = path, data, 0

    def fail(self, what: str) -> UserError:
        return UserError(
            f"{self.path} is not a usable GGUF file: {what}.", "copy or download the file again"
        )

    def take(self, count: int, what: str) -> bytes:
        if count < 0 or count > len(self.data) - self.at:
            raise self.fail(f"it ends within {what} (at byte {self.at} of {len(self.data)})")
        start, self.at = self.at, self.at + count
        return self.data[start : self.at]

    def number(self, code: str, what: str) -> Any:
        return struct.unpack("<" + code, self.take(struct.calcsize("<" + code), what))[0]

    def string(self, what: str) -> str:
        length = self.number("Q", what)
        raw = self.take(length, what)
        try:
            return raw.decode()
        except UnicodeDecodeError:
            raise self.fail(f"{what} is not UTF-8") from None

    def value(self, kind: int, what: str, depth: int = 0) -> Any:
        if kind in SCALARS:
            if kind == int(GGUFValueType.BOOL):
                return self.number("B", what) != 0
            return self.number(SCALARS[kind], what)
        if kind == int(GGUFValueType.STRING):
            return self.string(what)
        if kind == int(GGUFValueType.ARRAY) and depth < MAX_NESTING:
            return self.array(what, depth)
        raise self.fail(f"{what} has the unknown value type {kind}")

    def array(self, what: str, depth: int) -> list[Any]:
        kind = self.number("I", what)
        count = self.number("Q", what)
        code = SCALARS.get(kind)
        if code is not None:
            size = struct.calcsize("<" + code)
            if count > (len(self.data) - self.at) // size:
                raise self.fail(f"{what} claims {count} elements, more than the file holds")
            return list(struct.unpack(f"<{count}{code}", self.take(count * size, what)))
        if count > (len(self.data) - self.at) // 8:
            raise self.fail(f"{what} claims {count} elements, more than the file holds")
        if kind == int(GGUFValueType.STRING):
            return self.strings(count, what)
        return [self.value(kind, what, depth + 1) for _ in range(count)]

    def strings(self, count: int, what: str) -> list[str]:
        """Read many strings; the tight loop matters for vocabularies."""
        data, at, end = self.data, self.at, len(self.data)
        unpack = struct.Struct("<Q").unpack_from
        made: list[str] = []
        try:
            for _ in range(count):
                (length,) = unpack(data, at)
                at += 8
                if length > end - at:
                    raise self.fail(f"it ends within {what}")
                made.append(data[at : at + length].decode())
                at += length
        except struct.error:
            raise self.fail(f"it ends within {what}") from None
        except UnicodeDecodeError:
            raise self.fail(f"{what} holds a string that is not UTF-8") from None
        self.at = at
        return made


def open_gguf(path: Path) -> GgufFile:
    """Read and check a GGUF file's metadata and tensor directory.

    Raises UserError naming what is wrong.
    """
    try:
        with path.open("rb") as file:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except FileNotFoundError:
        raise UserError(f"there is no file {path}.") from None
    except IsADirectoryError:
        raise UserError(f"{path} is a folder; a GGUF file is needed.") from None
    except ValueError:
        raise UserError(f"{path} is empty; a GGUF file is needed.") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from None
    cursor = _Cursor(path, data)
    n_tensors, n_values = _header(cursor)
    metadata: dict[str, Any] = {}
    for _ in range(n_values):
        key = cursor.string("a metadata key")
        if key in metadata:
            raise cursor.fail(f"the key {key} stands there twice")
        metadata[key] = cursor.value(cursor.number("I", f"the type of {key}"), f"the value of {key}")
    tensors = _directory(cursor, n_tensors, metadata)
    return GgufFile(path, metadata, tensors, data)


def _header(cursor: _Cursor) -> tuple[int, int]:
    magic = cursor.take(4, "the magic number")
    if magic != MAGIC:
        raise cursor.fail(f"it starts with {magic!r} instead of {MAGIC!r}")
    version = cursor.number("I", "the version")
    if version not in VERSIONS:
        raise cursor.fail(f"its version is {version}; versions 2 and 3 are read")
    n_tensors = cursor.number("Q", "the number of tensors")
    n_values = cursor.number("Q", "the number of metadata values")
    rest = len(cursor.data) - cursor.at
    if n_tensors > rest // 24 or n_values > rest // 12:
        raise cursor.fail(f"it claims {n_tensors} tensors and {n_values} values, more than it can hold")
    return n_tensors, n_values


def _entry(cursor: _Cursor) -> tuple[str, GGMLQuantizationType, tuple[int, ...], int]:
    name = cursor.string("a tensor's name")
    if not name or len(name) > MAX_NAME_BYTES:
        raise cursor.fail("a tensor's name is empty or too long")
    n_dimensions = cursor.number("I", f"the tensor {name}")
    if not 1 <= n_dimensions <= MAX_DIMENSIONS:
        raise cursor.fail(f"the tensor {name} has {n_dimensions} dimensions")
    shape = tuple(cursor.number("Q", f"the tensor {name}") for _ in range(n_dimensions))
    if min(shape) < 1:
        raise cursor.fail(f"the tensor {name} has the shape {shape}")
    kind = cursor.number("I", f"the tensor {name}")
    try:
        quantisation = GGMLQuantizationType(kind)
    except ValueError:
        raise cursor.fail(f"the tensor {name} has the unknown type {kind}") from None
    return name, quantisation, shape[::-1], cursor.number("Q", f"the tensor {name}")


def _directory(cursor: _Cursor, n_tensors: int, metadata: dict[str, Any]) -> dict[str, GgufTensor]:
    entries = [_entry(cursor) for _ in range(n_tensors)]
    alignment = metadata.get("general.alignment", DEFAULT_ALIGNMENT)
    if not isinstance(alignment, int) or alignment < 8 or alignment & (alignment - 1):
        raise cursor.fail(f"general.alignment is {alignment}, which is no power of two from 8 on")
    start = -(-cursor.at // alignment) * alignment
    tensors: dict[str, GgufTensor] = {}
    for name, kind, shape, offset in entries:
        if name in tensors:
            raise cursor.fail(f"the tensor {name} stands there twice")
        block, block_bytes = GGML_QUANT_SIZES[kind]
        if shape[-1] % block:
            raise cursor.fail(
                f"the rows of {name} are {shape[-1]} long, no multiple of {block} ({kind.name})"
            )
        count = 1
        for dimension in shape:
            count *= dimension
        size = count // block * block_bytes
        if offset % alignment:
            raise cursor.fail(f"the tensor {name} lies at {offset}, which is not aligned to {alignment}")
        if offset > len(cursor.data) - start or size > len(cursor.data) - start - offset:
            raise cursor.fail(
                f"the tensor {name} needs {size} bytes at {start + offset}, "
                f"and the file has {len(cursor.data)}"
            )
        tensors[name] = GgufTensor(name, kind, shape, start + offset, size)
    ordered = sorted(tensors.values(), key=lambda t: t.offset)
    for first, second in itertools.pairwise(ordered):
        if first.offset + first.bytes > second.offset:
            raise cursor.fail(f"the tensors {first.name} and {second.name} overlap")
    return tensors
