"""From GGUF to a packed model, tensor by tensor, and the cache of packed models by content."""

import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

import google_crc32c
import numpy as np

from axiom.abi.model_shape import ModelShape, TensorSpec
from axiom.host.errors import UserError
from axiom.host.model.gguf_file import GgufTensor, open_gguf
from axiom.host.model.layout import GROUP_ROWS, LAYOUTS, pack_matrix, packed_bytes
from axiom.host.model.llama import LlamaModel, read_llama
from axiom.host.model.packed_file import (
    DIGEST_CHUNK_BYTES,
    HEADER_BYTES,
    PAGE_BYTES,
    WEIGHTS_ALIGN,
    Header,
    PackedModel,
    metadata_bytes,
    read_packed,
)

FORMAT = 1
STRIP_BYTES = 32 << 20
Progress = Callable[[str, int, int], None]


def _align(value: int, to: int) -> int:
    return -(-value // to) * to


def plan_tensors(model: LlamaModel) -> tuple[TensorSpec, ...]:
    """Lay the tensors out in the weights region, in the order in which the forward pass reads them."""
    half = model.shape.head_dim // 2
    placed = [TensorSpec("rope_frequencies", "f64_vector", "", 1, half, 0, 8 * half)]
    offset = _align(8 * half, PAGE_BYTES)
    for name, tensor in model.tensors.items():
        if len(tensor.shape) == 1:
            kind, layout, rows, columns = "f32_vector", "", 1, tensor.shape[0]
            size = 4 * columns
        else:
            kind, layout, (rows, columns) = "matrix", LAYOUTS[tensor.type], tensor.shape
            size = packed_bytes(layout, rows, columns)
        placed.append(TensorSpec(name, kind, layout, rows, columns, offset, size))
        offset = _align(offset + size, PAGE_BYTES)
    return tuple(placed)


def layout_id(shape: ModelShape, tensors: tuple[TensorSpec, ...]) -> int:
    """Return what distinguishes images: a hash of the shape and of where every tensor lies."""
    text = json.dumps([asdict(shape), [asdict(t) for t in tensors]], sort_keys=True)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")


def _strips(model: LlamaModel, spec: TensorSpec) -> Iterator[Any]:
    """Yield a tensor's packed bytes in pieces of bounded size."""
    if spec.name == "rope_frequencies":
        yield model.rope_frequencies.view(np.uint8)
        return
    tensor: GgufTensor = model.tensors[spec.name]
    raw = model.file.raw(tensor)
    if spec.kind == "f32_vector":
        yield raw
        return
    row_bytes = tensor.bytes // spec.rows
    step = max(GROUP_ROWS, STRIP_BYTES // row_bytes // GROUP_ROWS * GROUP_ROWS)
    for first in range(0, spec.rows, step):
        rows = min(step, spec.rows - first)
        part = raw[first * row_bytes : (first + rows) * row_bytes]
        yield pack_matrix(spec.layout, part, rows, spec.columns)


class _Weights:
    """Writes the weights region and its digests."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.written = file, 0
        self.digests: list[int] = []
        self._crc = 0

    def write(self, data: bytes | memoryview) -> None:
        """Append bytes, closing a digest at every chunk boundary."""
        view = memoryview(data).cast("B")
        self.file.write(view)
        at = 0
        while at < len(view):
            room = DIGEST_CHUNK_BYTES - self.written % DIGEST_CHUNK_BYTES
            part = view[at : at + room]
            self._crc = google_crc32c.extend(self._crc, bytes(part))
            at += len(part)
            self.written += len(part)
            if self.written % DIGEST_CHUNK_BYTES == 0:
                self._close()

    def _close(self) -> None:
        self.digests.append(self._crc)
        self._crc = 0

    def pad_to(self, offset: int) -> None:
        """Append zeros up to an offset."""
        self.write(bytes(offset - self.written))

    def finish(self) -> None:
        """Close the last digest."""
        if self.written % DIGEST_CHUNK_BYTES:
            self._close()


def write_packed(
    model: LlamaModel, content_id: bytes, target: Path, extra: dict[str, Any], progress: Progress | None
) -> None:
    """Write a packed model: to a temporary file beside `target`, then renamed."""
    tensors = plan_tensors(model)
    weights_bytes = _align(tensors[-1].offset + tensors[-1].bytes, PAGE_BYTES)
    n_digests = -(-weights_bytes // DIGEST_CHUNK_BYTES)
    weights_offset = _align(HEADER_BYTES + _align(4 * n_digests, PAGE_BYTES), WEIGHTS_ALIGN)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=target.name + ".", suffix=".part")
    try:
        with os.fdopen(handle, "wb", buffering=0) as file:
            file.seek(weights_offset)
            weights = _Weights(file)
            for spec in tensors:
                weights.pad_to(spec.offset)
                for strip in _strips(model, spec):
                    weights.write(strip.data)
                    if progress is not None:
                        progress(f"packing {model.name}", weights.written, weights_bytes)
            weights.pad_to(weights_bytes)
            weights.finish()
            metadata = metadata_bytes(model.shape, tensors, extra)
            file.write(metadata)
            table = np.array(weights.digests, "<u4").tobytes()
            header = Header(
                layout_id(model.shape, tensors),
                content_id,
                weights_offset,
                weights_bytes,
                HEADER_BYTES,
                n_digests,
                google_crc32c.value(table),
                weights_offset + weights_bytes,
                len(metadata),
            )
            end = weights_offset + weights_bytes + len(metadata)
            file.truncate(_align(end, PAGE_BYTES))
            file.seek(0)
            file.write(header.page() + table)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, target)
    except OSError as error:
        Path(name).unlink(missing_ok=True)
        if error.errno == errno.ENOSPC:
            needed = (weights_offset + weights_bytes) >> 20
            raise UserError(
                f"the disk is full: packing {model.file.path} needs {needed} MiB in {target.parent}."
            ) from None
        raise UserError(f"{target} cannot be written: {error.strerror}.") from None
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def default_cache() -> Path:
    """Return the folder of everything that can be made again."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "axiom"


def content_id(path: Path, cache: Path, progress: Progress | None) -> bytes:
    """Return the SHA-256 of a file, remembered by path, size, times and inode."""
    facts = path.stat()
    key = f"{path.resolve()}|{facts.st_size}|{facts.st_mtime_ns}|{facts.st_ino}"
    memory = cache / "contents" / hashlib.sha256(key.encode()).hexdigest()[:32]
    try:
        known = bytes.fromhex(memory.read_text())
        if len(known) == 32:
            return known
    except (OSError, ValueError):
        pass
    digest, done = hashlib.sha256(), 0
    with path.open("rb") as file:
        while block := file.read(8 << 20):
            digest.update(block)
            done += len(block)
            if progress is not None:
                progress(f"reading {path.name}", done, facts.st_size)
    memory.parent.mkdir(parents=True, exist_ok=True)
    temporary = memory.with_suffix(f".{os.getpid()}.part")
    temporary.write_text(digest.hexdigest())
    os.replace(temporary, memory)
    return digest.digest()


def packed_model(
    gguf_path: Path,
    describe: Callable[[LlamaModel], dict[str, Any]],
    cache: Path | None = None,
    progress: Progress | None = None,
) -> PackedModel:
    """Return the packed form of a GGUF file, from the cache when its content was packed before.

    describe: makes the metadata that goes along (the tokenizer and names). A cached file that is cut
    off or damaged in its header is packed again; the weights themselves are checked by whoever loads them.
    """
    file = open_gguf(gguf_path)
    folder = cache if cache is not None else default_cache()
    key = content_id(gguf_path, folder, progress)
    target = folder / "models" / f"{key.hex()[:32]}-{FORMAT}.axm"
    found = read_packed(target)
    if found is not None and found.header.content_id == key:
        return found
    model = read_llama(file)
    write_packed(model, key, target, describe(model), progress)
    found = read_packed(target)
    if found is None:
        raise UserError(f"{target} was damaged while it was written.", "look at the disk's health")
    return found
