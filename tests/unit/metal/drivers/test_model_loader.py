"""What the kernel checks in the header page of a packed model before it believes any of it."""

import struct

import numpy as np
import pytest

from axiom.host.model.packed_file import Header
from axiom.metal.drivers.model_loader import LoadStatus, check_header
from tests.support.checksums import crc32c
from tests.support.targets import TARGETS, run

LAYOUT_ID = 77
WEIGHTS_BYTES = (4 << 20) + 4096
DRIVE_BYTES = 16 << 20
CHUNK_OFFSET = 80
GOOD = Header(
    layout_id=LAYOUT_ID,
    content_id=bytes(32),
    weights_offset=2 << 20,
    weights_bytes=WEIGHTS_BYTES,
    digest_offset=4096,
    n_digests=3,
    digest_table_crc32c=1,
    metadata_offset=0,
    metadata_bytes=0,
)


def _status(target: str, page: bytes, drive_bytes: int = DRIVE_BYTES) -> LoadStatus:
    data = np.frombuffer(page, np.uint8).copy()
    return LoadStatus(run(target, check_header, data, LAYOUT_ID, WEIGHTS_BYTES, drive_bytes))


def _with_chunk(chunk_bytes: int) -> bytes:
    """The good page with another length of a chunk and a checksum that fits."""
    page = bytearray(GOOD.page())
    struct.pack_into("<I", page, CHUNK_OFFSET, chunk_bytes)
    struct.pack_into("<I", page, 12, 0)
    struct.pack_into("<I", page, 12, crc32c(bytes(page)))
    return bytes(page)


@pytest.mark.parametrize("target", TARGETS)
def test_a_good_header_passes_on_a_drive_that_just_fits(target: str) -> None:
    end = GOOD.weights_offset + WEIGHTS_BYTES
    assert _status(target, GOOD.page(), end) == LoadStatus.OK
    assert _status(target, GOOD.page(), end - 4096) == LoadStatus.DRIVE_TOO_SHORT
    assert _status(target, _with_chunk(2 << 20)) == LoadStatus.OK


@pytest.mark.parametrize("target", TARGETS)
def test_each_fault_is_named(target: str) -> None:
    assert _status(target, bytes(4096)) == LoadStatus.NOT_A_PACKED_MODEL
    for header, status in [
        (GOOD._replace(layout_id=78), LoadStatus.OTHER_MODEL),
        (GOOD._replace(weights_bytes=4096), LoadStatus.OTHER_MODEL),
        (GOOD._replace(n_digests=4), LoadStatus.CONTRADICTORY_HEADER),
        (GOOD._replace(weights_offset=512), LoadStatus.CONTRADICTORY_HEADER),
        (GOOD._replace(digest_offset=8191), LoadStatus.CONTRADICTORY_HEADER),
        (GOOD._replace(digest_offset=DRIVE_BYTES), LoadStatus.DRIVE_TOO_SHORT),
        (GOOD._replace(digest_offset=(1 << 64) - 4096), LoadStatus.DRIVE_TOO_SHORT),
        (GOOD._replace(weights_offset=(1 << 64) - 4096), LoadStatus.DRIVE_TOO_SHORT),
    ]:
        assert _status(target, header.page()) == status
    for chunk_bytes in (0, 512, (2 << 20) + 512, 4096):
        assert _status(target, _with_chunk(chunk_bytes)) == LoadStatus.CONTRADICTORY_HEADER


@pytest.mark.parametrize("target", ["hosted-v3"])
def test_no_flipped_bit_passes(target: str) -> None:
    for bit in [*range(8 * 112), 8 * 200, 8 * 4096 - 1]:
        page = bytearray(GOOD.page())
        page[bit // 8] ^= 1 << bit % 8
        assert _status(target, bytes(page)) != LoadStatus.OK
