"""An NVMe controller, polled: start it, identify it, make one I/O queue pair, stop it.

Guarantees: every wait has a deadline; nothing interrupts; the controller writes only to memory that the
caller named. It never writes to the drive. Read first: `nvme_registers`, `nvme_queue`; next: `nvme_read`.
Source: NVM Express Base Specification 2.0c, section 3.5.1 (initialisation over PCIe).
"""

from axiom.lang import (
    Slice,
    address_of,
    fn,
    load_bytes,
    minimum,
    slice_at,
    static_var,
    struct,
    struct_in,
    u8,
    u16,
    u32,
    u64,
    unsafe,
    zeroed,
)
from axiom.metal.arch.processor import pause
from axiom.metal.drivers.nvme_queue import (
    Completion,
    QueuePair,
    acknowledge,
    doorbell,
    put_command,
    show_commands,
    start_queue,
    take_completion,
)
from axiom.metal.drivers.nvme_registers import (
    ABSENT,
    ADMIN_COMPLETION_OFFSET,
    ADMIN_ENTRIES,
    ADMIN_SUBMISSION_OFFSET,
    CAP_CSS_NVM_SHIFT,
    CAP_DSTRD_SHIFT,
    CAP_MPSMIN_SHIFT,
    CAP_MQES_MASK,
    CAP_TO_SHIFT,
    CC_ENABLE,
    CC_ENTRY_SIZES,
    COMPLETION_BYTES,
    CSTS_FATAL,
    CSTS_READY,
    DEPTH,
    DEVICE_QUEUE_BYTES,
    DOORBELLS_OFFSET,
    FIRST_NAMESPACE,
    IDENTIFY_CONTROLLER,
    IDENTIFY_FLBAS,
    IDENTIFY_LBA_FORMATS,
    IDENTIFY_MDTS,
    IDENTIFY_NAMESPACE,
    IDENTIFY_OFFSET,
    IO_COMPLETION_OFFSET,
    IO_ENTRIES,
    IO_SUBMISSION_OFFSET,
    OPCODE_CREATE_COMPLETION,
    OPCODE_CREATE_SUBMISSION,
    OPCODE_IDENTIFY,
    QUEUE_CONTIGUOUS,
    SUBMISSION_BYTES,
    TIMEOUT_UNIT_MS,
    NvmeRegisters,
    NvmeStatus,
    SubmissionEntry,
)
from axiom.metal.kernel.clock import has_passed, milliseconds, now_cycles

COMMAND_TIMEOUT_MS = 5000
MAX_TRANSFER_BYTES = 2 << 20
PAGE_BYTES = 4096
MAX_BLOCKS = 1 << 48


@struct
class NvmeController:
    """One controller and its first namespace. The `failed_` fields say more about COMMAND_FAILED:
    the opcode, and the status field of the completion without its phase tag.
    """

    registers: Slice[u8]
    memory: Slice[u8]
    doorbell_stride: u64
    timeout_ms: u64
    max_entries: u64
    transfer_bytes: u64
    depth: u64
    block_bytes: u64
    n_blocks: u64
    failed_opcode: u32
    failed_status: u32
    admin: QueuePair
    io: QueuePair


nvme = static_var(zeroed(NvmeController))


@fn(phase="init")
def _wait_ready(wanted: u32, timeout: NvmeStatus) -> NvmeStatus:
    """Wait until CSTS.RDY is `wanted`, no longer than CAP.TO."""
    registers = struct_in(NvmeRegisters, nvme.registers, 0)
    start = now_cycles()
    wait = milliseconds(nvme.timeout_ms)
    while True:
        status = registers.CSTS
        if status == ABSENT:
            return NvmeStatus.REGISTERS_ABSENT
        if wanted == status & CSTS_READY:
            return NvmeStatus.OK
        if wanted == CSTS_READY and status & CSTS_FATAL != 0:
            return NvmeStatus.CSTS_FATAL
        if has_passed(start, wait):
            return timeout
        pause()


@fn(phase="init")
def _admin(entry: SubmissionEntry, timeout: NvmeStatus) -> NvmeStatus:
    """Run one admin command to its end."""
    id = put_command(nvme.admin, entry)
    show_commands(nvme.admin)
    answer = zeroed(Completion)
    start = now_cycles()
    wait = milliseconds(u64(COMMAND_TIMEOUT_MS))
    while not take_completion(nvme.admin, answer):
        if has_passed(start, wait):
            return timeout
        pause()
    acknowledge(nvme.admin)
    if answer.command_id != id:
        return NvmeStatus.WRONG_COMMAND_ID
    if answer.status != 0:
        return command_failed(u32(entry.opcode), answer.status)
    return NvmeStatus.OK


@fn
def command_failed(opcode: u32, status: u32) -> NvmeStatus:
    """Note which command failed, and how."""
    nvme.failed_opcode = opcode
    nvme.failed_status = status
    return NvmeStatus.COMMAND_FAILED


@fn(phase="init")
def start_nvme(registers_address: u64, registers_bytes: u64, memory: Slice[u8]) -> NvmeStatus:
    """Reset and enable the controller, identify it, and make the I/O queues.

    registers_address: the BAR, mapped uncached. memory: DEVICE_QUEUE_BYTES of 4 KiB aligned memory
    whose address is its physical address.
    """
    assert memory.length >= DEVICE_QUEUE_BYTES, "the device queue region is too short"
    assert address_of(memory) % PAGE_BYTES == 0, "the device queue region is not page aligned"
    # SAFETY: the BAR was sized by `pci` and the caller has mapped it.
    with unsafe:
        nvme.registers = slice_at(u8, registers_address, registers_bytes)
    nvme.memory = memory
    if registers_bytes < DOORBELLS_OFFSET:
        return NvmeStatus.REGISTERS_TOO_SHORT
    status = _reset()
    if status == NvmeStatus.OK:
        status = _enable()
    if status == NvmeStatus.OK:
        status = _identify_controller()
    if status == NvmeStatus.OK:
        status = _identify_namespace()
    if status == NvmeStatus.OK:
        status = _create_io_queues()
    return status


@fn(phase="init")
def stop_nvme() -> NvmeStatus:
    """Disable the controller: once it is no longer ready it touches no memory. Section 3.7.2."""
    struct_in(NvmeRegisters, nvme.registers, 0).CC = u32(0)
    return _wait_ready(u32(0), NvmeStatus.CSTS_STAYED_READY)


@fn(phase="init")
def _reset() -> NvmeStatus:
    """Read CAP and disable the controller, whatever state firmware left it in."""
    registers = struct_in(NvmeRegisters, nvme.registers, 0)
    if registers.CSTS == ABSENT:
        return NvmeStatus.REGISTERS_ABSENT
    capabilities = registers.CAP
    nvme.timeout_ms = ((capabilities >> CAP_TO_SHIFT & 0xFF) + 1) * TIMEOUT_UNIT_MS
    nvme.doorbell_stride = u64(4) << (capabilities >> CAP_DSTRD_SHIFT & 15)
    nvme.max_entries = (capabilities & CAP_MQES_MASK) + 1
    if DOORBELLS_OFFSET + 4 * nvme.doorbell_stride > nvme.registers.length:
        return NvmeStatus.REGISTERS_TOO_SHORT
    if capabilities >> CAP_MPSMIN_SHIFT & 15 != 0:
        return NvmeStatus.PAGE_SIZE_NOT_OFFERED
    if capabilities >> CAP_CSS_NVM_SHIFT & 1 == 0:
        return NvmeStatus.COMMAND_SET_NOT_OFFERED
    return stop_nvme()


@fn(phase="init")
def _enable() -> NvmeStatus:
    start_queue(
        nvme.admin,
        nvme.memory.part(ADMIN_SUBMISSION_OFFSET, ADMIN_ENTRIES * SUBMISSION_BYTES),
        nvme.memory.part(ADMIN_COMPLETION_OFFSET, ADMIN_ENTRIES * COMPLETION_BYTES),
        u32(ADMIN_ENTRIES),
    )
    nvme.admin.submission_doorbell = doorbell(nvme.registers, u64(0), nvme.doorbell_stride)
    nvme.admin.completion_doorbell = doorbell(nvme.registers, u64(1), nvme.doorbell_stride)
    registers = struct_in(NvmeRegisters, nvme.registers, 0)
    registers.INTMS = u32(0xFFFFFFFF)
    registers.AQA = u32((ADMIN_ENTRIES - 1) << 16 | (ADMIN_ENTRIES - 1))
    registers.ASQ = address_of(nvme.admin.submissions)
    registers.ACQ = address_of(nvme.admin.completions)
    registers.CC = u32(CC_ENTRY_SIZES | CC_ENABLE)
    return _wait_ready(u32(CSTS_READY), NvmeStatus.CSTS_NOT_READY)


@fn(phase="init")
def _identify(namespace: u32, what: u32, timeout: NvmeStatus) -> NvmeStatus:
    entry = zeroed(SubmissionEntry)
    entry.opcode = u16(OPCODE_IDENTIFY)
    entry.namespace_id = namespace
    entry.prp1 = address_of(nvme.memory.part(IDENTIFY_OFFSET, PAGE_BYTES))
    entry.dword10 = what
    return _admin(entry, timeout)


@fn(phase="init")
def _identify_controller() -> NvmeStatus:
    """Learn the largest transfer: MDTS, in powers of two of 4 KiB. Section 5.17.2.1."""
    status = _identify(u32(0), u32(IDENTIFY_CONTROLLER), NvmeStatus.IDENTIFY_CONTROLLER_TIMEOUT)
    exponent = nvme.memory[IDENTIFY_OFFSET + IDENTIFY_MDTS]
    nvme.transfer_bytes = u64(MAX_TRANSFER_BYTES)
    if exponent != 0 and exponent < 9:
        nvme.transfer_bytes = u64(PAGE_BYTES) << u64(exponent)
    return status


@fn(phase="init")
def _identify_namespace() -> NvmeStatus:
    """Learn how many blocks of what size there are. NVM Command Set Specification 1.0c, 4.1.5.1."""
    status = _identify(u32(FIRST_NAMESPACE), u32(IDENTIFY_NAMESPACE), NvmeStatus.IDENTIFY_NAMESPACE_TIMEOUT)
    if status != NvmeStatus.OK:
        return status
    page = nvme.memory.part(IDENTIFY_OFFSET, PAGE_BYTES)
    nvme.n_blocks = load_bytes(u64, page, 0)
    if nvme.n_blocks == 0 or nvme.n_blocks > MAX_BLOCKS:
        return NvmeStatus.NO_NAMESPACE
    block_format = load_bytes(u32, page, IDENTIFY_LBA_FORMATS + 4 * u64(page[IDENTIFY_FLBAS] & 15))
    metadata_bytes = block_format & 0xFFFF
    shift = block_format >> 16 & 0xFF
    if metadata_bytes != 0 or shift < 9 or shift > 12:
        return NvmeStatus.UNKNOWN_BLOCK_SIZE
    nvme.block_bytes = u64(1) << u64(shift)
    return NvmeStatus.OK


@fn(phase="init")
def _create_io_queues() -> NvmeStatus:
    entries = minimum(u64(IO_ENTRIES), nvme.max_entries)
    nvme.depth = minimum(u64(DEPTH), entries - 1)
    start_queue(
        nvme.io,
        nvme.memory.part(IO_SUBMISSION_OFFSET, IO_ENTRIES * SUBMISSION_BYTES),
        nvme.memory.part(IO_COMPLETION_OFFSET, IO_ENTRIES * COMPLETION_BYTES),
        u32(entries),
    )
    nvme.io.submission_doorbell = doorbell(nvme.registers, u64(2), nvme.doorbell_stride)
    nvme.io.completion_doorbell = doorbell(nvme.registers, u64(3), nvme.doorbell_stride)
    entry = zeroed(SubmissionEntry)
    entry.opcode = u16(OPCODE_CREATE_COMPLETION)
    entry.prp1 = address_of(nvme.io.completions)
    entry.dword10 = (u32(entries) - 1) << 16 | 1
    entry.dword11 = u32(QUEUE_CONTIGUOUS)
    status = _admin(entry, NvmeStatus.CREATE_COMPLETION_QUEUE_TIMEOUT)
    if status != NvmeStatus.OK:
        return status
    entry.opcode = u16(OPCODE_CREATE_SUBMISSION)
    entry.prp1 = address_of(nvme.io.submissions)
    entry.dword11 = u32(1 << 16 | QUEUE_CONTIGUOUS)
    return _admin(entry, NvmeStatus.CREATE_SUBMISSION_QUEUE_TIMEOUT)
