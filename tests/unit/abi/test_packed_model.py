"""The header page of a packed model: what the host writes is what the kernel reads."""

from axiom.abi.packed_model import (
    HEADER_BYTES,
    HEADER_CRC_OFFSET,
    PACKED_MAGIC,
    PACKED_VERSION,
    PackedHeader,
)
from axiom.host.model.packed_file import DIGEST_CHUNK_BYTES, Header, parse_header
from axiom.lang import size_of, view_of
from axiom.lang.layout import struct_layout
from tests.support.checksums import crc32c

HEADER = Header(
    layout_id=0x1122334455667788,
    content_id=bytes(range(32)),
    weights_offset=2 << 20,
    weights_bytes=7 << 12,
    digest_offset=4096,
    n_digests=3,
    digest_table_crc32c=0xDEADBEEF,
    metadata_offset=9 << 20,
    metadata_bytes=1234,
)


def test_the_fields_lie_where_the_format_says() -> None:
    layout = struct_layout(PackedHeader)
    assert layout is not None
    assert {name: field.offset for name, field in layout.fields.items()} == {
        "magic": 0,
        "version": 8,
        "header_crc32c": HEADER_CRC_OFFSET,
        "layout_id": 16,
        "content_id": 24,
        "weights_offset": 56,
        "weights_bytes": 64,
        "digest_offset": 72,
        "digest_chunk_bytes": 80,
        "n_digests": 84,
        "digest_table_crc32c": 88,
        "reserved": 92,
        "metadata_offset": 96,
        "metadata_bytes": 104,
    }
    assert size_of(PackedHeader) == 112


def test_the_host_writes_what_the_kernel_reads() -> None:
    page = bytearray(HEADER.page())
    header = view_of(PackedHeader, page)
    assert len(page) == HEADER_BYTES
    assert bytes(page[:8]) == b"AXIOMPM1"
    assert (header.magic, header.version) == (PACKED_MAGIC, PACKED_VERSION)
    assert header.layout_id == HEADER.layout_id
    assert bytes(int(byte) for byte in header.content_id.all) == HEADER.content_id
    assert header.weights_offset == HEADER.weights_offset
    assert header.weights_bytes == HEADER.weights_bytes
    assert header.digest_offset == HEADER.digest_offset
    assert header.digest_chunk_bytes == DIGEST_CHUNK_BYTES
    assert header.n_digests == HEADER.n_digests
    assert header.digest_table_crc32c == HEADER.digest_table_crc32c
    assert header.metadata_offset == HEADER.metadata_offset
    assert header.metadata_bytes == HEADER.metadata_bytes
    told = int(header.header_crc32c)
    page[HEADER_CRC_OFFSET : HEADER_CRC_OFFSET + 4] = bytes(4)
    assert told == crc32c(bytes(page))
    assert parse_header(HEADER.page()) == HEADER
