"""The end of a kernel: panics and exceptions become a crash record, a report, and an exit.

`axiom_panic` is what every compiled check calls; `axiom_exception` is where the stubs of ring 0 go on in
ring 3. Both walk the chain of frame pointers, fill the record and print it in the form of abi.crash.
Nothing here allocates or calls anything that might fail in the same way again. When several processors
crash, the first one reports and the others stop.
"""

from axiom.abi.boot import LANE_STACK_BYTES, LANE_STACK_STRIDE, MAX_LANES, ExitCode
from axiom.abi.crash import (
    CRASH_BEGIN,
    CRASH_END,
    CRASH_MAGIC,
    MAX_FRAMES,
    MESSAGE_BYTES,
    N_REGISTERS,
    REGISTER_NAMES,
    CrashKind,
    CrashRecord,
)
from axiom.lang import (
    Array,
    Slice,
    address_of,
    array,
    bytes_of,
    fill_zero,
    fn,
    reinterpret,
    static,
    static_var,
    struct,
    struct_in,
    u8,
    u16,
    u32,
    u64,
    urange,
    utf8,
    wrapping_add,
    write_to,
    zeroed,
)
from axiom.metal.arch.exception_frame import RBP, ExceptionFrame, exception_frame
from axiom.metal.arch.gates import halt
from axiom.metal.arch.power import power_off
from axiom.metal.arch.processor import caller_frame_pointer, claim, frame_pointer, return_address
from axiom.metal.arch.stacks import WORD_BYTES, boot_stack, exception_stack, saved_frame, used_bytes
from axiom.metal.arch.statistics import beat
from axiom.metal.arch.uart import COM1, uart_write
from axiom.metal.arch.vectors import WATCHDOG_VECTOR
from axiom.metal.kernel.log import log

LANE_STACK_WORDS = LANE_STACK_BYTES // WORD_BYTES


@struct
class CrashState:
    """Where the record goes, and which memory is stacks; all empty until `set_crash_place`.

    record: the page for it. stack: lane 0's. lane_stacks: the region of the other lanes', guards included.
    lanes: by processor, the number of its lane; 0 while it has none.
    """

    record: Slice[u8]
    stack: Slice[u64]
    lane_stacks: Slice[u64]
    lanes: Array[u32] = array(u32, MAX_LANES)


crash_state = static_var(zeroed(CrashState))
# The number of the processor that reports, plus one; 0: nobody yet.
_reporter = static_var(array(u64, 1))
_early_record = static_var(zeroed(CrashRecord))


@fn
def set_crash_place(record: Slice[u8], stack: Slice[u8]) -> None:
    """Say which page is for the record, and which stack the kernel runs on from now."""
    crash_state.record = record
    crash_state.stack = reinterpret(u64, stack)


@fn
def set_lane_stacks(stacks: Slice[u8]) -> None:
    """Say which region is for the other lanes' stacks."""
    crash_state.lane_stacks = reinterpret(u64, stacks)


@fn
def set_lane(core: u32, lane: u32) -> None:
    """Say which lane a processor is, for its crash report."""
    crash_state.lanes[core] = lane


@fn
def _lane_of(core: u64) -> u64:
    lane = u64(crash_state.lanes[core])
    return lane if lane != 0 else core


@fn
def core_of_stack(address: u64) -> u64:
    """Return the number of the processor on whose stack, or guard page, an address is."""
    start = address_of(crash_state.lane_stacks)
    if address < start or address - start >= crash_state.lane_stacks.length * WORD_BYTES:
        return u64(0)
    return (address - start) // LANE_STACK_STRIDE + 1


@fn
def _take_report(core: u64) -> bool:
    """Become the one who reports; False when this processor is already. Stops when another is."""
    before = claim(_reporter.all, core + 1)
    if before != 0 and before != core + 1:
        halt()
    return before == 0


@fn
def _record_place() -> Slice[u8]:
    if crash_state.record.length != 0:
        return crash_state.record
    return bytes_of(_early_record)


@fn
def _stack_of(core: u64) -> Slice[u64]:
    """Return the stack that a processor runs on, without guards."""
    if core != 0:
        end = core * (LANE_STACK_STRIDE // WORD_BYTES)
        return crash_state.lane_stacks.part(end - LANE_STACK_WORDS, LANE_STACK_WORDS)
    if crash_state.stack.length != 0:
        return crash_state.stack
    return boot_stack()


@fn(inline="always")
def _walk(record: CrashRecord, base: u64, first: u64) -> None:
    """Follow saved frame pointers from `base`; stop at the first that is not plausible."""
    record.frames[0] = first
    record.n_frames = u64(1)
    frame = base
    stack = _stack_of(core_of_stack(base))
    while record.n_frames < MAX_FRAMES:
        words = saved_frame(stack, frame)
        if words.length == 0 or words[1] == 0:
            return
        record.frames[record.n_frames] = words[1]
        record.n_frames += 1
        if words[0] <= frame:
            return
        frame = words[0]


@fn
def _print(record: CrashRecord) -> None:
    log.used = u64(0)
    log.end()
    write_to(log, f"{CRASH_BEGIN}")
    log.end()
    write_to(log, f"kind {record.kind:x} {record.reason:x} {record.first:x} {record.second:x}")
    log.end()
    write_to(log, f"lane {record.lane:x}")
    log.end()
    write_to(log, f"fault {record.vector:x} {record.error_code:x} {record.fault_address:x}")
    log.end()
    write_to(log, f"at {record.instruction:x} {record.stack_pointer:x}")
    log.end()
    for i in urange(record.n_frames):
        write_to(log, f"frame {record.frames[i]:x}")
        log.end()
    if record.kind != CrashKind.PANIC:
        for number in static(range(N_REGISTERS)):
            write_to(log, f"register {REGISTER_NAMES[number]} {record.registers[number]:x}")
            log.end()
    log.text("message ")
    log.bytes(record.message.all.part(0, record.message_bytes))
    log.end()
    if record.kind != CrashKind.PANIC:
        # Nothing that is still to come goes deeper than what has been printed.
        record.stack_bytes = used_bytes(exception_stack())
        write_to(log, f"stack {record.stack_bytes:x}")
        log.end()
    write_to(log, f"{CRASH_END}")
    log.end()


@fn
def _leave(record: CrashRecord) -> None:
    record.magic = u64(CRASH_MAGIC)
    _print(record)
    power_off(ExitCode.CRASH)


@fn
def _fill_panic(record: CrashRecord, reason: u32, first: u64, second: u64, message: Slice[u8]) -> None:
    record.kind = CrashKind.PANIC
    record.reason = reason
    record.first = first
    record.second = second
    count = message.length
    if count > MESSAGE_BYTES:
        count = u64(MESSAGE_BYTES)
    for i in urange(count):
        record.message[i] = message[i]
    record.message_bytes = count


@fn(export="axiom_panic", inline="never")
def panic_handler(reason: u32, first: u64, second: u64, message: Slice[u8]) -> None:
    """Report a panic and leave; called by every check that fails. Never returns."""
    core = core_of_stack(frame_pointer())
    if not _take_report(core):
        uart_write(u16(COM1), utf8("\r\naxiom: a panic while reporting a crash\r\n"))
        power_off(ExitCode.CRASH)
    beat()
    record = struct_in(CrashRecord, _record_place(), 0)
    fill_zero(bytes_of(record))
    record.lane = _lane_of(core)
    _fill_panic(record, reason, first, second, message)
    _walk(record, caller_frame_pointer(), return_address())
    _leave(record)


@fn
def _fill_exception(record: CrashRecord, frame: ExceptionFrame) -> None:
    record.kind = CrashKind.STALLED if frame.vector == WATCHDOG_VECTOR else CrashKind.EXCEPTION
    record.vector = frame.vector
    record.error_code = frame.error_code
    record.instruction = frame.instruction
    record.stack_pointer = frame.stack_pointer
    record.fault_address = frame.fault_address
    for i in urange(N_REGISTERS):
        record.registers[i] = frame.registers[i]


@fn(export="axiom_exception", inline="never")
def exception_handler() -> None:
    """Report an exception, or a stalled scheduler, and leave. Never returns."""
    frame = exception_frame()
    record = struct_in(CrashRecord, _record_place(), 0)
    _take_report(frame.core)
    fill_zero(bytes_of(record))
    record.lane = _lane_of(frame.core)
    _fill_exception(record, frame)
    _walk(record, frame.registers[RBP], wrapping_add(frame.instruction, u64(1)))
    _leave(record)
