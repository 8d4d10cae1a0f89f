"""An NVMe controller, polled: start it, identify, one I/O queue pair, reads with many in flight.

Guarantees: every wait has a deadline; nothing interrupts; only memory that the caller named is
written to by the device. It never writes to the drive. Read first: `nvme_registers`.
"""

from axiom.lang import (
    Array,
    Slice,
    acquire_fence,
    address_of,
    array,
    bytes_of,
    copy,
    fill_zero,
    fn,
    load_bytes,
    reinterpret,
    release_fence,
    slice_at,
    static_var,
    struct,
    struct_at,
    struct_in,
    u8,
    u16,
    u32,
    u64,
    unsafe,
    urange,
    volatile_store,
    zeroed,
)
from axiom.metal.arch.processor import pause
from axiom.metal.drivers.nvme_registers import (
    ADMIN_COMPLETION_OFFSET,
    ADMIN_ENTRIES,
    ADMIN_SUBMISSION_OFFSET,
    CC_ENABLE,
    CC_ENTRY_SIZES,
    COMPLETION_BYTES,
    CSTS_FATAL,
    CSTS_READY,
    DEPTH,
    DEVICE_QUEUE_BYTES,
    DOORBELLS_OFFSET,
    IDENTIFY_CONTROLLER,
    IDENTIFY_NAMESPACE,
    IDENTIFY_OFFSET,
    IO_COMPLETION_OFFSET,
    IO_ENTRIES,
    IO_SUBMISSION_OFFSET,
    OPCODE_CREATE_COMPLETION,
    OPCODE_CREATE_SUBMISSION,
    OPCODE_IDENTIFY,
    OPCODE_READ,
    PRP_LIST_BYTES,
    PRP_LISTS_OFFSET,
    SUBMISSION_BYTES,
    CompletionEntry,
    NvmeRegisters,
    NvmeStatus,
    SubmissionEntry,
)
from axiom.metal.kernel.clock import has_passed, milliseconds, now_cycles

COMMAND_TIMEOUT_MS = 5000
MAX_TRANSFER_BYTES = 2 << 20
PAGE_BYTES = 4096


@struct
class QueuePair:
    """A submission queue and its completion queue: where they lie and how far they are."""

    submissions: Slice[u8]
    completions: Slice[u8]
    entries: u32
    id: u32
    tail: u32
    head: u32
    phase: u32


@struct
class NvmeController:
    """One controller and the first namespace."""

    registers: u64
    registers_bytes: u64
    doorbell_stride: u64
    memory: Slice[u8]
    transfer_bytes: u64
    block_bytes: u64
    n_blocks: u64
    failed_status: u32
    admin: QueuePair
    io: QueuePair


nvme = static_var(zeroed(NvmeController))


@fn
def _registers() -> NvmeRegisters:
    # SAFETY: the BAR is mapped uncached and at least a page long.
    with unsafe:
        return struct_at(NvmeRegisters, nvme.registers)


@fn
def _ring_doorbell(index: u64, value: u32) -> None:
    """Doorbell registers: 2 * queue + (1 for a completion queue), section 3.1.4."""
    # SAFETY: two queue pairs have four doorbells, which lie in the mapped BAR.
    with unsafe:
        place = slice_at(u32, nvme.registers + DOORBELLS_OFFSET + index * nvme.doorbell_stride, 1)
    release_fence()
    volatile_store(place, 0, value)


@fn
def _start_queue(
    queue: QueuePair, submissions: Slice[u8], completions: Slice[u8], entries: u32, id: u32
) -> None:
    queue.submissions = submissions
    queue.completions = completions
    queue.entries = entries
    queue.id = id
    queue.tail = u32(0)
    queue.head = u32(0)
    queue.phase = u32(1)


@fn
def _submit(queue: QueuePair, entry: SubmissionEntry) -> None:
    """Put a command into the queue; the doorbell is rung by `_show`."""
    entry.command_id = u16(queue.tail)
    copy(queue.submissions.part(queue.tail * SUBMISSION_BYTES, SUBMISSION_BYTES), bytes_of(entry))
    queue.tail = (queue.tail + 1) % queue.entries


@fn
def _show(queue: QueuePair) -> None:
    _ring_doorbell(u64(queue.id) * 2, queue.tail)


@fn
def _completed(queue: QueuePair) -> bool:
    """Tell whether the next completion has arrived."""
    entry = struct_in(CompletionEntry, queue.completions, queue.head * COMPLETION_BYTES)
    return u32(entry.STATUS & 1) == queue.phase


@fn
def _take(queue: QueuePair) -> u32:
    """Take the completion that has arrived; return its status without the phase, 0 for success."""
    acquire_fence()
    entry = struct_in(CompletionEntry, queue.completions, queue.head * COMPLETION_BYTES)
    status = u32(entry.STATUS >> 1)
    queue.head = (queue.head + 1) % queue.entries
    if queue.head == 0:
        queue.phase = queue.phase ^ 1
    return status


@fn
def _acknowledge(queue: QueuePair) -> None:
    _ring_doorbell(u64(queue.id) * 2 + 1, queue.head)


@fn(phase="init")
def _admin(entry: SubmissionEntry, timeout: NvmeStatus) -> NvmeStatus:
    """Run one admin command to its end."""
    _submit(nvme.admin, entry)
    _show(nvme.admin)
    start = now_cycles()
    wait = milliseconds(u64(COMMAND_TIMEOUT_MS))
    while not _completed(nvme.admin):
        if has_passed(start, wait):
            return timeout
        pause()
    status = _take(nvme.admin)
    _acknowledge(nvme.admin)
    if status != 0:
        nvme.failed_status = status
        return NvmeStatus.COMMAND_FAILED
    return NvmeStatus.OK


@fn(phase="init")
def _wait_ready(wanted: u32, timeout: NvmeStatus) -> NvmeStatus:
    """Wait until CSTS.RDY is `wanted`, no longer than CAP.TO (units of 500 ms)."""
    registers = _registers()
    limit = ((registers.CAP >> 24) & 0xFF) * 500 + 500
    start = now_cycles()
    wait = milliseconds(limit)
    while wanted != registers.CSTS & CSTS_READY:
        if wanted == 1 and registers.CSTS & CSTS_FATAL != 0:
            return NvmeStatus.CSTS_FATAL
        if has_passed(start, wait):
            return timeout
        pause()
    return NvmeStatus.OK


@fn(phase="init")
def start_nvme(registers_address: u64, registers_bytes: u64, memory: Slice[u8]) -> NvmeStatus:
    """Reset and enable the controller, identify it, and make the I/O queues.

    memory: DEVICE_QUEUE_BYTES of zeroed, 4 KiB aligned memory whose address is its physical address.
    """
    assert memory.length >= DEVICE_QUEUE_BYTES, "the device queue region is too short"
    nvme.registers = registers_address
    nvme.registers_bytes = registers_bytes
    nvme.memory = memory
    registers = _registers()
    capabilities = registers.CAP
    nvme.doorbell_stride = u64(4) << ((capabilities >> 32) & 15)
    if (capabilities >> 48) & 15 != 0:
        return NvmeStatus.PAGE_SIZE_NOT_OFFERED
    registers.CC = u32(0)
    stopped = _wait_ready(u32(0), NvmeStatus.CSTS_STAYED_READY)
    if stopped != NvmeStatus.OK:
        return stopped
    _start_queue(
        nvme.admin,
        memory.part(ADMIN_SUBMISSION_OFFSET, ADMIN_ENTRIES * SUBMISSION_BYTES),
        memory.part(ADMIN_COMPLETION_OFFSET, ADMIN_ENTRIES * COMPLETION_BYTES),
        u32(ADMIN_ENTRIES),
        u32(0),
    )
    registers.INTMS = u32(0xFFFFFFFF)
    registers.AQA = u32((ADMIN_ENTRIES - 1) << 16 | (ADMIN_ENTRIES - 1))
    registers.ASQ = address_of(nvme.admin.submissions)
    registers.ACQ = address_of(nvme.admin.completions)
    registers.CC = u32(CC_ENTRY_SIZES | CC_ENABLE)
    ready = _wait_ready(u32(1), NvmeStatus.CSTS_NOT_READY)
    if ready != NvmeStatus.OK:
        return ready
    identified = _identify()
    if identified != NvmeStatus.OK:
        return identified
    return _create_io_queues()


@fn(phase="init")
def _identify() -> NvmeStatus:
    """Learn the largest transfer (MDTS, section 5.17.2.1) and the blocks of namespace 1 (NVM 4.1.5.1)."""
    page = nvme.memory.part(IDENTIFY_OFFSET, PAGE_BYTES)
    entry = zeroed(SubmissionEntry)
    entry.opcode = u16(OPCODE_IDENTIFY)
    entry.prp1 = address_of(page)
    entry.dword10 = u32(IDENTIFY_CONTROLLER)
    status = _admin(entry, NvmeStatus.IDENTIFY_CONTROLLER_TIMEOUT)
    if status != NvmeStatus.OK:
        return status
    exponent = page[77]
    nvme.transfer_bytes = u64(MAX_TRANSFER_BYTES)
    if exponent != 0 and exponent < 9:
        nvme.transfer_bytes = u64(PAGE_BYTES) << u64(exponent)
    entry.namespace_id = u32(1)
    entry.dword10 = u32(IDENTIFY_NAMESPACE)
    status = _admin(entry, NvmeStatus.IDENTIFY_NAMESPACE_TIMEOUT)
    if status != NvmeStatus.OK:
        return status
    nvme.n_blocks = load_bytes(u64, page, 0)
    format_index = u64(page[26] & 15)
    shift = load_bytes(u32, page, 128 + 4 * format_index) >> 16 & 255
    if shift < 9 or shift > 12:
        return NvmeStatus.UNKNOWN_BLOCK_SIZE
    nvme.block_bytes = u64(1) << u64(shift)
    return NvmeStatus.OK


@fn(phase="init")
def _create_io_queues() -> NvmeStatus:
    memory = nvme.memory
    _start_queue(
        nvme.io,
        memory.part(IO_SUBMISSION_OFFSET, IO_ENTRIES * SUBMISSION_BYTES),
        memory.part(IO_COMPLETION_OFFSET, IO_ENTRIES * COMPLETION_BYTES),
        u32(IO_ENTRIES),
        u32(1),
    )
    entry = zeroed(SubmissionEntry)
    entry.opcode = u16(OPCODE_CREATE_COMPLETION)
    entry.prp1 = address_of(nvme.io.completions)
    entry.dword10 = u32((IO_ENTRIES - 1) << 16 | 1)
    entry.dword11 = u32(1)
    status = _admin(entry, NvmeStatus.CREATE_COMPLETION_QUEUE_TIMEOUT)
    if status != NvmeStatus.OK:
        return status
    entry.opcode = u16(OPCODE_CREATE_SUBMISSION)
    entry.prp1 = address_of(nvme.io.submissions)
    entry.dword11 = u32(1 << 16 | 1)
    return _admin(entry, NvmeStatus.CREATE_SUBMISSION_QUEUE_TIMEOUT)


@struct
class ReadJob:
    """A read of a byte range into memory, in chunks that may finish in any order.

    Chunks are counted from 0; `finished[i]` is set for those of the window from `n_in_order` on.
    """

    target: Slice[u8]
    start_byte: u64
    n_chunks: u64
    n_submitted: u64
    n_in_order: u64
    chunk_bytes: u64
    last_progress: u64
    command_chunk: Array[u64] = array(u64, IO_ENTRIES)
    finished: Array[u8] = array(u8, DEPTH)


@fn(phase="init")
def start_read(job: ReadJob, target: Slice[u8], start_byte: u64) -> NvmeStatus:
    """Begin to read `target.length` bytes from `start_byte` of the drive on.

    Both are multiples of 4 KiB, and the target is 4 KiB aligned physical memory.
    """
    assert target.length % PAGE_BYTES == 0 and start_byte % PAGE_BYTES == 0, "reads are whole pages"
    assert address_of(target) % PAGE_BYTES == 0, "the target of a read is not page aligned"
    if start_byte + target.length > nvme.n_blocks * nvme.block_bytes:
        return NvmeStatus.OUT_OF_RANGE
    job.target = target
    job.start_byte = start_byte
    job.chunk_bytes = nvme.transfer_bytes
    job.n_chunks = (target.length + (job.chunk_bytes - 1)) // job.chunk_bytes
    job.n_submitted = u64(0)
    job.n_in_order = u64(0)
    job.last_progress = now_cycles()
    fill_zero(job.finished.all)
    return NvmeStatus.OK


@fn(phase="init")
def _submit_chunk(job: ReadJob) -> None:
    """Submit the next chunk, with a PRP list when it spans more than two pages (section 4.1.1)."""
    chunk = job.n_submitted
    offset = chunk * job.chunk_bytes
    bytes = job.target.length - offset
    if bytes > job.chunk_bytes:
        bytes = job.chunk_bytes
    address = address_of(job.target) + offset
    entry = zeroed(SubmissionEntry)
    entry.opcode = u16(OPCODE_READ)
    entry.namespace_id = u32(1)
    entry.prp1 = address
    pages = bytes // PAGE_BYTES
    if pages == 2:
        entry.prp2 = address + PAGE_BYTES
    elif pages > 2:
        place = PRP_LISTS_OFFSET + chunk % DEPTH * PRP_LIST_BYTES
        prps = reinterpret(u64, nvme.memory.part(place, PRP_LIST_BYTES))
        for i in urange(1, pages):
            prps[i - 1] = address + i * PAGE_BYTES
        entry.prp2 = address_of(prps)
    block = (job.start_byte + offset) // nvme.block_bytes
    entry.dword10 = u32(block & 0xFFFFFFFF)
    entry.dword11 = u32(block >> 32)
    entry.dword12 = u32(bytes // nvme.block_bytes - 1)
    job.command_chunk[nvme.io.tail] = chunk
    job.finished[chunk % DEPTH] = 0
    _submit(nvme.io, entry)
    job.n_submitted += 1


@fn(phase="init")
def poll_read(job: ReadJob) -> NvmeStatus:
    """Keep up to DEPTH chunks in flight and take what has finished.

    Afterwards the first `n_in_order` chunks are in memory; the read is done when that is `n_chunks`.
    """
    before = job.n_submitted
    while job.n_submitted < job.n_chunks and job.n_submitted - job.n_in_order < DEPTH:
        _submit_chunk(job)
    if job.n_submitted != before:
        _show(nvme.io)
    took = False
    while _completed(nvme.io):
        entry = struct_in(CompletionEntry, nvme.io.completions, nvme.io.head * COMPLETION_BYTES)
        chunk = job.command_chunk[entry.COMMAND_ID]
        status = _take(nvme.io)
        if status != 0:
            nvme.failed_status = status
            return NvmeStatus.COMMAND_FAILED
        job.finished[chunk % DEPTH] = 1
        took = True
    if took:
        _acknowledge(nvme.io)
        job.last_progress = now_cycles()
        while job.n_in_order < job.n_submitted and job.finished[job.n_in_order % DEPTH] == 1:
            job.finished[job.n_in_order % DEPTH] = 0
            job.n_in_order += 1
    elif has_passed(job.last_progress, milliseconds(u64(COMMAND_TIMEOUT_MS))):
        return NvmeStatus.READ_TIMEOUT
    return NvmeStatus.OK
