"""The packed model from the drive into its region, every byte checked on the way.

The header and the digest table are read first; then the weights stream in with many reads in flight
while the chunks that have arrived are digested behind them. Whatever the outcome, the drive is stopped, so
that nothing writes to memory behind the kernel's back.
"""

from enum import IntEnum

from axiom.abi.packed_model import (
    HEADER_BYTES,
    HEADER_CRC_OFFSET,
    PACKED_MAGIC,
    PACKED_VERSION,
    PackedHeader,
)
from axiom.lang import (
    Slice,
    fn,
    minimum,
    reinterpret,
    static_var,
    store_bytes,
    struct,
    struct_in,
    u8,
    u32,
    u64,
    zeroed,
)
from axiom.metal.arch.crc32c import crc32c_update
from axiom.metal.arch.processor import pause
from axiom.metal.drivers.nvme import PAGE_BYTES, nvme, stop_nvme
from axiom.metal.drivers.nvme_read import ReadJob, poll_read, start_read
from axiom.metal.drivers.nvme_registers import NvmeStatus
from axiom.metal.kernel.frames import align_up


class LoadStatus(IntEnum):
    """How loading went."""

    OK = 0
    DRIVE_FAILED = 1
    NOT_A_PACKED_MODEL = 2
    UNKNOWN_VERSION = 3
    HEADER_DAMAGED = 4
    OTHER_MODEL = 5
    CONTRADICTORY_HEADER = 6
    DIGESTS_DAMAGED = 7
    WEIGHTS_DAMAGED = 8
    DRIVE_TOO_SHORT = 9


@struct
class LoadReport:
    """What loading met: the drive's status, and which chunk of the weights is damaged."""

    drive: NvmeStatus
    damaged_chunk: u64


load_report = static_var(zeroed(LoadReport))
_job = static_var(zeroed(ReadJob))


@fn(phase="init")
def load_model(scratch: Slice[u8], weights: Slice[u8], weights_bytes: u64, layout_id: u64) -> LoadStatus:
    """Read and check the model that this image was built for, then stop the drive.

    scratch: page-aligned memory for the header page and the digest table. weights: the weights
    region, at least `weights_bytes` long (the multiple of 4 KiB that the plan states).
    """
    status = _load(scratch, weights, weights_bytes, layout_id)
    stopped = stop_nvme()
    if status == LoadStatus.OK and stopped != NvmeStatus.OK:
        load_report.drive = stopped
        return LoadStatus.DRIVE_FAILED
    return status


@fn(phase="init")
def _load(scratch: Slice[u8], weights: Slice[u8], weights_bytes: u64, layout_id: u64) -> LoadStatus:
    page = scratch.part(0, HEADER_BYTES)
    if not _read_all(page, u64(0)):
        return LoadStatus.DRIVE_FAILED
    status = check_header(page, layout_id, weights_bytes, nvme.n_blocks * nvme.block_bytes)
    if status != LoadStatus.OK:
        return status
    header = struct_in(PackedHeader, page, 0)
    used_bytes = u64(header.n_digests) * 4
    table_bytes = align_up(used_bytes, u64(PAGE_BYTES))
    if HEADER_BYTES + table_bytes > scratch.length:
        return LoadStatus.CONTRADICTORY_HEADER
    table = scratch.part(HEADER_BYTES, table_bytes)
    if not _read_all(table, header.digest_offset):
        return LoadStatus.DRIVE_FAILED
    used = table.part(0, used_bytes)
    if crc32c_update(u32(0), used) != header.digest_table_crc32c:
        return LoadStatus.DIGESTS_DAMAGED
    return _read_weights(weights.part(0, weights_bytes), header, reinterpret(u32, used))


@fn(phase="init")
def _read_all(target: Slice[u8], start_byte: u64) -> bool:
    load_report.drive = start_read(_job, target, start_byte)
    while load_report.drive == NvmeStatus.OK and not _job.done():
        load_report.drive = poll_read(_job)
        pause()
    return load_report.drive == NvmeStatus.OK


@fn(phase="init")
def check_header(page: Slice[u8], layout_id: u64, weights_bytes: u64, drive_bytes: u64) -> LoadStatus:
    """Check a header page: whole, of this image's model, and all that it names inside the drive.

    Clears the page's checksum field.
    """
    header = struct_in(PackedHeader, page, 0)
    if header.magic != PACKED_MAGIC:
        return LoadStatus.NOT_A_PACKED_MODEL
    if header.version != PACKED_VERSION:
        return LoadStatus.UNKNOWN_VERSION
    told = header.header_crc32c
    store_bytes(page, HEADER_CRC_OFFSET, u32(0))
    if crc32c_update(u32(0), page) != told:
        return LoadStatus.HEADER_DAMAGED
    if header.layout_id != layout_id or header.weights_bytes != weights_bytes:
        return LoadStatus.OTHER_MODEL
    chunk = u64(header.digest_chunk_bytes)
    if chunk == 0 or chunk % PAGE_BYTES != 0 or weights_bytes % PAGE_BYTES != 0:
        return LoadStatus.CONTRADICTORY_HEADER
    if header.weights_offset % PAGE_BYTES != 0 or header.digest_offset % PAGE_BYTES != 0:
        return LoadStatus.CONTRADICTORY_HEADER
    if (weights_bytes + (chunk - 1)) // chunk != u64(header.n_digests):
        return LoadStatus.CONTRADICTORY_HEADER
    table_bytes = align_up(u64(header.n_digests) * 4, u64(PAGE_BYTES))
    if header.digest_offset > drive_bytes or table_bytes > drive_bytes - header.digest_offset:
        return LoadStatus.DRIVE_TOO_SHORT
    if header.weights_offset > drive_bytes or weights_bytes > drive_bytes - header.weights_offset:
        return LoadStatus.DRIVE_TOO_SHORT
    return LoadStatus.OK


@fn(phase="init")
def _read_weights(weights: Slice[u8], header: PackedHeader, digests: Slice[u32]) -> LoadStatus:
    load_report.drive = start_read(_job, weights, header.weights_offset)
    chunk = u64(header.digest_chunk_bytes)
    checked = u64(0)
    while checked < digests.length:
        if load_report.drive == NvmeStatus.OK and not _job.done():
            load_report.drive = poll_read(_job)
        if load_report.drive != NvmeStatus.OK:
            return LoadStatus.DRIVE_FAILED
        start = checked * chunk
        length = minimum(weights.length - start, chunk)
        if _job.bytes_in_order() >= start + length:
            if crc32c_update(u32(0), weights.part(start, length)) != digests[checked]:
                load_report.damaged_chunk = checked
                return LoadStatus.WEIGHTS_DAMAGED
            checked += 1
        else:
            pause()
    return LoadStatus.OK
