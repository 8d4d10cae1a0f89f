"""Writing a packed model, piece by piece: memory stays small whatever the model's size.

The file appears under its name whole or not at all (whole_file.py). While one piece is being written, the
next is read and repacked.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from axiom.abi.model_shape import TensorSpec
from axiom.abi.packed_model import HEADER_BYTES
from axiom.host.errors import UserError
from axiom.host.model.gguf_file import GgufTensor
from axiom.host.model.layout import GROUP_ROWS, pack_matrix, packed_bytes
from axiom.host.model.llama import LlamaModel
from axiom.host.model.packed_file import (
    DIGEST_CHUNK_BYTES,
    WEIGHTS_ALIGN,
    Header,
    ModelFacts,
    metadata_bytes,
)
from axiom.host.model.tensor_table import PAGE_BYTES, align, layout_id, tensor_table
from axiom.host.model.whole_file import write_whole

STRIP_BYTES = 8 << 20
Bytes = NDArray[np.uint8]
Progress = Callable[[str, int, int], None]


def write_packed(
    model: LlamaModel, facts: ModelFacts, content_id: bytes, target: Path, progress: Progress | None
) -> None:
    """Write a packed model.

    progress: called with what is being done, bytes done and bytes in all. Raises UserError when the disk is
    full, the folder is not writable, or the source changes meanwhile; nothing is left behind then.
    """
    tensors = tensor_table(model)
    weights_bytes = align(tensors[-1].offset + tensors[-1].bytes, PAGE_BYTES)
    n_digests = -(-weights_bytes // DIGEST_CHUNK_BYTES)
    weights_offset = align(HEADER_BYTES + align(4 * n_digests, PAGE_BYTES), WEIGHTS_ALIGN)
    metadata = metadata_bytes(model.shape, tensors, facts)
    # A machine maps the file in pages of this size.
    total_bytes = align(weights_offset + weights_bytes + len(metadata), WEIGHTS_ALIGN)

    def fill(file: BinaryIO) -> None:
        file.seek(weights_offset)
        digests = _write_weights(model, tensors, weights_bytes, metadata, file, progress)
        table = np.array(digests, "<u4").tobytes()
        header = Header(
            layout_id=layout_id(model.shape, tensors),
            content_id=content_id,
            weights_offset=weights_offset,
            weights_bytes=weights_bytes,
            digest_offset=HEADER_BYTES,
            n_digests=n_digests,
            digest_table_crc32c=google_crc32c.value(table),
            metadata_offset=weights_offset + weights_bytes,
            metadata_bytes=len(metadata),
        )
        file.seek(0)
        file.write(header.page() + table)

    write_whole(target, total_bytes, fill)


def _write_weights(
    model: LlamaModel,
    tensors: tuple[TensorSpec, ...],
    weights_bytes: int,
    metadata: bytes,
    file: BinaryIO,
    progress: Progress | None,
) -> list[int]:
    """Write the weights region and what follows it; return the region's digests."""
    region = _Region(file)
    with _Source(model.file.path) as source, ThreadPoolExecutor(1) as writer:
        # Two buffers take turns: one is being written while the next piece is packed into the other.
        buffers = np.empty((2, max(_strip_bytes(spec) for spec in tensors)), np.uint8)
        pending: Future[None] | None = None
        turn = 0
        for spec in tensors:
            tensor = model.tensors.get(spec.name)
            for first in range(0, spec.rows, _strip_rows(spec)):
                rows = min(_strip_rows(spec), spec.rows - first)
                if tensor is None:
                    piece = model.rope_frequencies.view(np.uint8)
                elif not spec.layout:
                    piece = source.rows(tensor, spec, first, rows).copy()
                else:
                    raw = source.rows(tensor, spec, first, rows)
                    piece = pack_matrix(spec.layout, raw, rows, spec.columns, buffers[turn])
                if pending is not None:
                    pending.result()
                pending = writer.submit(region.write, piece, spec.offset if first == 0 else None)
                turn = 1 - turn
                if progress is not None:
                    done = spec.offset + spec.bytes * (first + rows) // spec.rows
                    progress(f"packing {model.file.path.name}", done, weights_bytes)
        if pending is not None:
            pending.result()
    return region.finish(weights_bytes, metadata)


def _strip_rows(spec: TensorSpec) -> int:
    """Return how many rows are packed at a time: whole groups, of about STRIP_BYTES."""
    if not spec.layout:
        return spec.rows
    group_bytes = packed_bytes(spec.layout, GROUP_ROWS, spec.columns)
    return GROUP_ROWS * max(1, STRIP_BYTES // group_bytes)


def _strip_bytes(spec: TensorSpec) -> int:
    rows = min(_strip_rows(spec), spec.rows)
    return packed_bytes(spec.layout, rows, spec.columns) if spec.layout else spec.bytes


class _Source:
    """The GGUF file's tensors, read rather than mapped: a file that shrinks meanwhile is an error."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("rb", buffering=0)
        self._buffer = np.empty(0, np.uint8)

    def __enter__(self) -> "_Source":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def rows(self, tensor: GgufTensor, spec: TensorSpec, first: int, rows: int) -> Bytes:
        """Return some rows of a tensor as they lie in the file, valid until the next call."""
        row_bytes = tensor.bytes // spec.rows
        if rows * row_bytes > self._buffer.size:
            self._buffer = np.empty(rows * row_bytes, np.uint8)
        raw = self._buffer[: rows * row_bytes]
        self._file.seek(tensor.offset + first * row_bytes)
        done = 0
        while done < raw.size:
            count = self._file.readinto(raw.data[done:])
            if not count:
                raise UserError(f"{self._path} changed while it was read, in the tensor {tensor.name}.")
            done += count
        return raw


class _Region:
    """The weights region as it is written, with a digest for each chunk.

    Every write is of whole chunks at a multiple of their size, so that Linux keeps the file in pages of
    that size, which a machine can map.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._written = 0
        self._chunk = memoryview(bytearray(DIGEST_CHUNK_BYTES))
        self._digests: list[int] = []

    def write(self, piece: Bytes, offset: int | None) -> None:
        """Append a piece; in front of it zeros up to `offset`, when that is given."""
        if offset is not None:
            self._append(memoryview(bytes(offset - self._written)))
        self._append(piece.data)

    def finish(self, size: int, tail: bytes) -> list[int]:
        """Append zeros up to the region's size, then `tail` and zeros; return the digests."""
        self._append(memoryview(bytes(size - self._written)))
        rest = bytes(self._chunk[: self._written % DIGEST_CHUNK_BYTES])
        if rest:
            self._digests.append(google_crc32c.value(rest))
        last = rest + tail
        self._file.write(last + bytes(-len(last) % WEIGHTS_ALIGN))
        return self._digests

    def _append(self, data: memoryview) -> None:
        while data:
            start = self._written % DIGEST_CHUNK_BYTES
            part = data[: DIGEST_CHUNK_BYTES - start]
            self._chunk[start : start + len(part)] = part
            self._written += len(part)
            data = data[len(part) :]
            if self._written % DIGEST_CHUNK_BYTES == 0:
                self._digests.append(google_crc32c.value(bytes(self._chunk)))
                self._file.write(self._chunk)
