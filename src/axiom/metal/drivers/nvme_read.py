"""A long read from the drive: many commands in flight, finished in any order, reported in order.

`start_read` begins, `poll_read` keeps it going; after each poll the first `n_in_order` chunks are in
memory, so that a digest can follow right behind the drive. Doorbells are rung once per poll, for all
commands together: each may cost tens of microseconds in a virtual machine. Source: NVM Express Base
Specification 2.0c, section 4.1.1 (PRP lists); NVM Command Set Specification 1.0c, section 3.2.4 (Read).
"""

from axiom.lang import (
    Array,
    Slice,
    address_of,
    array,
    fill_zero,
    fn,
    minimum,
    reinterpret,
    struct,
    truncate,
    u8,
    u16,
    u32,
    u64,
    urange,
    zeroed,
)
from axiom.metal.drivers.nvme import COMMAND_TIMEOUT_MS, PAGE_BYTES, command_failed, nvme
from axiom.metal.drivers.nvme_queue import (
    Completion,
    acknowledge,
    put_command,
    show_commands,
    take_completion,
)
from axiom.metal.drivers.nvme_registers import (
    DEPTH,
    FIRST_NAMESPACE,
    IO_ENTRIES,
    OPCODE_READ,
    PRP_LIST_BYTES,
    PRP_LISTS_OFFSET,
    NvmeStatus,
    SubmissionEntry,
)
from axiom.metal.kernel.clock import has_passed, milliseconds, now_cycles

NO_CHUNK = (1 << 64) - 1


@struct
class ReadJob:
    """A read of a byte range into memory, in chunks that may finish in any order.

    Chunks are counted from 0. `finished` has a place for each chunk of the window that starts at
    `n_in_order`; `command_chunk` tells which chunk a command id stands for.
    """

    target: Slice[u8]
    start_byte: u64
    chunk_bytes: u64
    n_chunks: u64
    n_submitted: u64
    n_in_order: u64
    last_progress: u64
    command_chunk: Array[u64] = array(u64, IO_ENTRIES)
    finished: Array[u8] = array(u8, DEPTH)

    @fn
    def done(self) -> bool:
        """Tell whether every byte has arrived."""
        return self.n_in_order == self.n_chunks

    @fn
    def bytes_in_order(self) -> u64:
        """Return how many bytes from the start on are in memory."""
        return minimum(self.n_in_order * self.chunk_bytes, self.target.length)


@fn(phase="init")
def start_read(job: ReadJob, target: Slice[u8], start_byte: u64) -> NvmeStatus:
    """Begin to read `target.length` bytes from `start_byte` of the drive on.

    Both are multiples of 4 KiB, and the target is 4 KiB aligned physical memory.
    """
    assert target.length % PAGE_BYTES == 0, "a read is whole pages long"
    assert start_byte % PAGE_BYTES == 0, "a read starts at a page"
    assert address_of(target) % PAGE_BYTES == 0, "the target of a read is not page aligned"
    end = nvme.n_blocks * nvme.block_bytes
    if start_byte > end or target.length > end - start_byte:
        return NvmeStatus.OUT_OF_RANGE
    job.target = target
    job.start_byte = start_byte
    job.chunk_bytes = nvme.transfer_bytes
    job.n_chunks = (target.length + (job.chunk_bytes - 1)) // job.chunk_bytes
    job.n_submitted = u64(0)
    job.n_in_order = u64(0)
    job.last_progress = now_cycles()
    fill_zero(job.finished.all)
    for i in urange(IO_ENTRIES):
        job.command_chunk[i] = u64(NO_CHUNK)
    return NvmeStatus.OK


@fn(phase="init")
def _second_pointer(chunk: u64, address: u64, pages: u64) -> u64:
    """Return PRP entry 2: nothing, the second page, or a list of all pages but the first."""
    if pages == 1:
        return u64(0)
    if pages == 2:
        return address + PAGE_BYTES
    place = PRP_LISTS_OFFSET + chunk % DEPTH * PRP_LIST_BYTES
    pointers = reinterpret(u64, nvme.memory.part(place, PRP_LIST_BYTES))
    for i in urange(1, pages):
        pointers[i - 1] = address + i * PAGE_BYTES
    return address_of(pointers)


@fn(phase="init")
def _put_chunk(job: ReadJob) -> None:
    """Put the read of the next chunk into the queue."""
    chunk = job.n_submitted
    offset = chunk * job.chunk_bytes
    bytes = minimum(job.target.length - offset, job.chunk_bytes)
    address = address_of(job.target) + offset
    block = (job.start_byte + offset) // nvme.block_bytes
    entry = zeroed(SubmissionEntry)
    entry.opcode = u16(OPCODE_READ)
    entry.namespace_id = u32(FIRST_NAMESPACE)
    entry.prp1 = address
    entry.prp2 = _second_pointer(chunk, address, bytes // PAGE_BYTES)
    entry.dword10 = truncate(u32, block)
    entry.dword11 = truncate(u32, block >> 32)
    entry.dword12 = u32(bytes // nvme.block_bytes - 1)
    id = put_command(nvme.io, entry)
    job.command_chunk[id] = chunk
    job.n_submitted += 1


@fn(phase="init")
def _finish(job: ReadJob, answer: Completion) -> NvmeStatus:
    """Note that a chunk has arrived."""
    if answer.status != 0:
        return command_failed(u32(OPCODE_READ), answer.status)
    if answer.command_id >= IO_ENTRIES or job.command_chunk[answer.command_id] == NO_CHUNK:
        return NvmeStatus.WRONG_COMMAND_ID
    job.finished[job.command_chunk[answer.command_id] % DEPTH] = 1
    job.command_chunk[answer.command_id] = u64(NO_CHUNK)
    return NvmeStatus.OK


@fn(phase="init")
def poll_read(job: ReadJob) -> NvmeStatus:
    """Keep as many chunks in flight as the drive takes, and note those that have arrived."""
    before = job.n_submitted
    while job.n_submitted < job.n_chunks and job.n_submitted - job.n_in_order < nvme.depth:
        _put_chunk(job)
    if job.n_submitted != before:
        show_commands(nvme.io)
    answer = zeroed(Completion)
    progress = False
    while take_completion(nvme.io, answer):
        status = _finish(job, answer)
        if status != NvmeStatus.OK:
            return status
        progress = True
    if progress:
        acknowledge(nvme.io)
        job.last_progress = now_cycles()
        while job.n_in_order < job.n_submitted and job.finished[job.n_in_order % DEPTH] == 1:
            job.finished[job.n_in_order % DEPTH] = 0
            job.n_in_order += 1
    elif not job.done() and has_passed(job.last_progress, milliseconds(u64(COMMAND_TIMEOUT_MS))):
        return NvmeStatus.READ_TIMEOUT
    return NvmeStatus.OK
