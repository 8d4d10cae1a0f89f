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
    slice_at,
    static,
    static_var,
    struct,
    struct_at,
    u8,
    u16,
    u32,
    u64,
    unsafe,
    urange,
    utf8,
    wrapping_add,
    write_to,
    zeroed,
)
from axiom.metal.arch.exception_frame import RBP, ExceptionFrame
from axiom.metal.arch.gates import halt
from axiom.metal.arch.power import power_off
from axiom.metal.arch.processor import claim, frame_pointer
from axiom.metal.arch.stacks import exception_stack, used_bytes
from axiom.metal.arch.statistics import beat
from axiom.metal.arch.uart import COM1, uart_write
from axiom.metal.arch.vectors import WATCHDOG_VECTOR
from axiom.metal.kernel.log import log


@struct
class CrashState:
    """Where the record goes (0: the static one), and which addresses a stack frame may have.

    stack_low, stack_high: of lane 0's stack. lanes_low, lanes_high: of the region of the other lanes'.
    lanes: by processor, the number of its lane; 0 while it has none.
    """

    record_address: u64
    stack_low: u64
    stack_high: u64
    lanes_low: u64
    lanes_high: u64
    lanes: Array[u32] = array(u32, MAX_LANES)


crash_state = static_var(
    CrashState(
        record_address=u64(0),
        stack_low=u64(0x1000),
        stack_high=u64(0x1_0000_0000),
        lanes_low=u64(0),
        lanes_high=u64(0),
    )
)
# The number of the processor that reports, plus one; 0: nobody yet.
_reporter = static_var(array(u64, 1))
_early_record = static_var(zeroed(CrashRecord))


@fn
def set_crash_place(record_address: u64, stack_low: u64, stack_high: u64) -> None:
    """Say where the record lies and which stack the kernel runs on from now."""
    crash_state.record_address = record_address
    crash_state.stack_low = stack_low
    crash_state.stack_high = stack_high


@fn
def set_lane_stacks(low: u64, high: u64) -> None:
    """Say where the region of the other lanes' stacks is."""
    crash_state.lanes_low = low
    crash_state.lanes_high = high


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
    if address < crash_state.lanes_low or address >= crash_state.lanes_high:
        return u64(0)
    return (address - crash_state.lanes_low) // LANE_STACK_STRIDE + 1


@fn
def _take_report(core: u64) -> bool:
    """Become the one who reports; False when this processor is already. Stops when another is."""
    # SAFETY: only the address is taken; nothing else writes the word.
    with unsafe:
        word = address_of(_reporter)
    before = claim(word, core + 1)
    if before != 0 and before != core + 1:
        halt()
    return before == 0


@fn
def _record() -> u64:
    if crash_state.record_address != 0:
        return crash_state.record_address
    # SAFETY: only the address is taken.
    with unsafe:
        return address_of(_early_record)


@fn(inline="always")
def _walk(record: CrashRecord, base: u64, first: u64) -> None:
    """Follow saved frame pointers from `base`; stop at the first that is not plausible."""
    record.frames[0] = first
    record.n_frames = u64(1)
    frame = base
    low = crash_state.stack_low
    high = crash_state.stack_high
    core = core_of_stack(base)
    if core != 0:
        high = crash_state.lanes_low + core * LANE_STACK_STRIDE
        low = high - LANE_STACK_BYTES
    while record.n_frames < MAX_FRAMES:
        if frame < low or frame >= high - 16 or frame % 8 != 0:
            return
        # SAFETY: the frame lies within the stack, which is mapped.
        with unsafe:
            words = slice_at(u64, frame, 2)
        if words[1] == 0:
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
def panic_handler(reason: u32, first: u64, second: u64, message_address: u64, message_bytes: u64) -> None:
    """Report a panic and leave; called by every check that fails. Never returns."""
    core = core_of_stack(frame_pointer())
    if not _take_report(core):
        uart_write(u16(COM1), utf8("\r\naxiom: a panic while reporting a crash\r\n"))
        power_off(ExitCode.CRASH)
    beat()
    # SAFETY: the message is a literal of the image; the frame is our own; the page was given to crash
    # records by the plan, or is the static one.
    with unsafe:
        message = slice_at(u8, message_address, message_bytes)
        own = slice_at(u64, frame_pointer(), 2)
        record = struct_at(CrashRecord, _record())
    fill_zero(bytes_of(record))
    record.lane = _lane_of(core)
    _fill_panic(record, reason, first, second, message)
    _walk(record, own[0], own[1])
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
def exception_handler(frame_address: u64) -> None:
    """Report an exception, or a stalled scheduler, and leave. Never returns."""
    # SAFETY: the stubs filled the frame; the page was given to crash records by the plan, or is the
    # static one.
    with unsafe:
        frame = struct_at(ExceptionFrame, frame_address)
        record = struct_at(CrashRecord, _record())
    _take_report(frame.core)
    fill_zero(bytes_of(record))
    record.lane = _lane_of(frame.core)
    _fill_exception(record, frame)
    _walk(record, frame.registers[RBP], wrapping_add(frame.instruction, u64(1)))
    _leave(record)
