"""The packed model file: header page, digests, weights, metadata. Read by the kernel and by this host."""

import json
import struct
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import google_crc32c

from axiom.abi.model_shape import ModelShape, TensorSpec
from axiom.abi.packed_model import HEADER_BYTES, HEADER_CRC_OFFSET, PACKED_MAGIC, PACKED_VERSION

DIGEST_CHUNK_BYTES = 2 << 20
WEIGHTS_ALIGN = 2 << 20
PAGE_BYTES = 4096
_FORMAT = struct.Struct("<QIIQ32sQQQIIIIQQ")


@dataclass(frozen=True)
class Header:
    """The fields of abi.packed_model.PackedHeader that vary."""

    layout_id: int
    content_id: bytes
    weights_offset: int
    weights_bytes: int
    digest_offset: int
    n_digests: int
    digest_table_crc32c: int
    metadata_offset: int
    metadata_bytes: int

    def page(self) -> bytes:
        """Return the header page with its checksum."""
        packed = _FORMAT.pack(
            PACKED_MAGIC,
            PACKED_VERSION,
            0,
            self.layout_id,
            self.content_id,
            self.weights_offset,
            self.weights_bytes,
            self.digest_offset,
            DIGEST_CHUNK_BYTES,
            self.n_digests,
            self.digest_table_crc32c,
            0,
            self.metadata_offset,
            self.metadata_bytes,
        )
        page = bytearray(packed.ljust(HEADER_BYTES, b"\0"))
        struct.pack_into("<I", page, HEADER_CRC_OFFSET, google_crc32c.value(bytes(page)))
        return bytes(page)


def parse_header(page: bytes) -> Header | None:
    """Return the header of a page; None when it is damaged or of another kind."""
    if len(page) != HEADER_BYTES:
        return None
    fields = _FORMAT.unpack_from(page)
    magic, version, crc, layout_id, content_id, weights_offset, weights_bytes, digest_offset = fields[:8]
    clean = bytearray(page)
    clean[HEADER_CRC_OFFSET : HEADER_CRC_OFFSET + 4] = bytes(4)
    if magic != PACKED_MAGIC or version != PACKED_VERSION or google_crc32c.value(bytes(clean)) != crc:
        return None
    _, n_digests, table_crc, _, metadata_offset, metadata_bytes = fields[8:]
    return Header(
        layout_id,
        content_id,
        weights_offset,
        weights_bytes,
        digest_offset,
        n_digests,
        table_crc,
        metadata_offset,
        metadata_bytes,
    )


@dataclass(frozen=True)
class PackedModel:
    """A packed model on disk. `metadata` holds the tokenizer, the chat template and names."""

    path: Path
    header: Header
    shape: ModelShape
    tensors: tuple[TensorSpec, ...]
    metadata: dict[str, Any]

    @property
    def layout_id(self) -> int:
        """What an image must be built for."""
        return self.header.layout_id

    @property
    def weights_bytes(self) -> int:
        """The size of the weights region, a multiple of 4 KiB."""
        return self.header.weights_bytes


def read_packed(path: Path) -> PackedModel | None:
    """Open a packed model; None when it is missing, cut off or damaged in its header or metadata."""
    try:
        with path.open("rb") as file:
            header = parse_header(file.read(HEADER_BYTES))
            if header is None:
                return None
            file.seek(header.metadata_offset)
            raw = file.read(header.metadata_bytes)
            if len(raw) != header.metadata_bytes:
                return None
    except OSError:
        return None
    try:
        metadata = json.loads(raw)
        shape = ModelShape(**metadata.pop("shape"))
        tensors = tuple(TensorSpec(**entry) for entry in metadata.pop("tensors"))
    except (ValueError, TypeError, KeyError):
        return None
    return PackedModel(path, header, shape, tensors, metadata)


def metadata_bytes(shape: ModelShape, tensors: tuple[TensorSpec, ...], rest: dict[str, Any]) -> bytes:
    """Return the metadata as it is written."""
    whole = {"shape": asdict(shape), "tensors": [asdict(t) for t in tensors], **rest}
    return json.dumps(whole, sort_keys=True).encode()
