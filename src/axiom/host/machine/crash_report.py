"""A kernel's crash, from its serial text or its crash record, as a Python traceback.

`parse_crash` finds a report in everything that a machine said; `crash_from_record` reads the record's
bytes; `render_crash` looks the addresses up in the image and writes what Python would have written, with
inlined functions as frames of their own. Read first: abi.crash.
"""

import linecache
from dataclasses import dataclass, field
from pathlib import Path

from axiom.abi.crash import (
    CRASH_AGAIN,
    CRASH_BEGIN,
    CRASH_END,
    CRASH_MAGIC,
    MAX_FRAMES,
    REGISTER_NAMES,
    CrashKind,
    CrashRecord,
)
from axiom.host.machine.symbolise import Place, symbolise
from axiom.lang import PanicReason, size_of, view_of
from axiom.lang.panic import REASON_TEXT

# Intel SDM volume 3, table 6-1.
_EXCEPTIONS = {
    0: "division by zero, or a quotient that does not fit",
    1: "debug trap",
    2: "non-maskable interrupt",
    3: "breakpoint",
    6: "invalid instruction",
    8: "double fault",
    10: "invalid task-state segment",
    11: "segment not present",
    12: "stack-segment fault",
    13: "general protection fault",
    14: "page fault",
    16: "x87 floating-point error",
    17: "misaligned access",
    18: "machine check",
    19: "vector floating-point error",
    21: "control protection fault",
}
_PAGE_FAULT = 14
_VALUES = {
    PanicReason.BOUNDS: "{first} of {second}",
    PanicReason.ALIGNMENT: "address {first:#x}",
}


@dataclass
class Crash:
    """What the kernel reported; `frames` are return addresses, the innermost first."""

    kind: CrashKind = CrashKind.NONE
    reason: int = 0
    first: int = 0
    second: int = 0
    vector: int = 0
    error_code: int = 0
    fault_address: int = 0
    instruction: int = 0
    stack_pointer: int = 0
    frames: list[int] = field(default_factory=list[int])
    registers: dict[str, int] = field(default_factory=dict[str, int])
    message: str = ""
    lane: int = 0
    stack_bytes: int = 0
    complete: bool = True


def parse_crash(text: str) -> Crash | None:
    """Return the crash that `text` reports, or None; what a cut-off report lacks is left out."""
    begin = text.find(CRASH_BEGIN)
    again = text.find(CRASH_AGAIN)
    if begin < 0 and again < 0:
        return None
    crash = Crash(complete=False)
    if begin >= 0:
        for line in text[begin:].splitlines()[1:]:
            if line.startswith(CRASH_END):
                crash.complete = True
                break
            if not _take_line(crash, line):
                break
    elif words := _hexadecimal(text[again + len(CRASH_AGAIN) :].partition("\n")[0].split()):
        crash.kind, crash.vector, crash.instruction = CrashKind.EXCEPTION, words[0], words[-1]
        crash.frames = [crash.instruction + 1]
    return crash


def _hexadecimal(words: list[str]) -> list[int]:
    try:
        return [int(word, 16) for word in words]
    except ValueError:
        return []


def _take_line(crash: Crash, line: str) -> bool:
    """Take one line of the report; False when it is not one."""
    name, _, rest = line.rstrip("\r").partition(" ")
    words = rest.split()
    numbers = _hexadecimal(words)
    match name, numbers:
        case "kind", [kind, reason, first, second] if kind in set(CrashKind):
            crash.kind, crash.reason, crash.first, crash.second = CrashKind(kind), reason, first, second
        case "lane", [lane]:
            crash.lane = lane
        case "fault", [vector, error_code, address]:
            crash.vector, crash.error_code, crash.fault_address = vector, error_code, address
        case "at", [instruction, stack_pointer]:
            crash.instruction, crash.stack_pointer = instruction, stack_pointer
        case "stack", [stack_bytes]:
            crash.stack_bytes = stack_bytes
        case "frame", [address]:
            crash.frames.append(address)
        case "register", _ if len(words) == 2 and words[0] in REGISTER_NAMES and _hexadecimal(words[1:]):
            crash.registers[words[0]] = int(words[1], 16)
        case "message", _:
            crash.message = rest
        case _:
            return False
    return True


def crash_from_record(data: bytes) -> Crash | None:
    """Return the crash in a crash record, or None when its page holds none."""
    if len(data) < size_of(CrashRecord):
        return None
    record = view_of(CrashRecord, bytearray(data))
    if record.magic != CRASH_MAGIC:
        return None
    n_frames = min(int(record.n_frames), MAX_FRAMES)
    registers = [int(word) for word in record.registers.all]
    message = bytes(int(byte) for byte in record.message.all)[: int(record.message_bytes)]
    return Crash(
        kind=record.kind,
        reason=int(record.reason),
        first=int(record.first),
        second=int(record.second),
        vector=int(record.vector),
        error_code=int(record.error_code),
        fault_address=int(record.fault_address),
        instruction=int(record.instruction),
        stack_pointer=int(record.stack_pointer),
        frames=[int(record.frames[i]) for i in range(n_frames)],
        registers=dict(zip(REGISTER_NAMES, registers, strict=True))
        if record.kind != CrashKind.PANIC
        else {},
        message=message.decode("utf-8", "replace"),
        lane=int(record.lane),
        stack_bytes=int(record.stack_bytes),
    )


def render_crash(crash: Crash, image: Path) -> str:
    """Return a crash of `image` as a Python traceback, the most recent call last."""
    lines: list[str] = []
    if crash.registers:
        known = {"rip": crash.instruction, "rsp": crash.stack_pointer, **crash.registers}
        lines.append("Registers: " + " ".join(f"{name}={value:#x}" for name, value in known.items()))
    if not crash.complete:
        lines.append("The report is cut off: reporting the crash failed too.")
    lines.append("Traceback (most recent call last):")
    for places in reversed(symbolise(image, [address - 1 for address in crash.frames])):
        for place in reversed(places):
            lines += _frame(place)
    place = f" (on lane {crash.lane})" if crash.lane else ""
    return "\n".join([*lines, _verdict(crash) + place])


def _frame(place: Place) -> list[str]:
    if not place.file:
        return []
    lines = [f'  File "{place.file}", line {place.line}, in {place.function}']
    source = linecache.getline(place.file, place.line).strip()
    return [*lines, f"    {source}"] if source else lines


def _verdict(crash: Crash) -> str:
    """Return the last line: what happened."""
    if crash.kind == CrashKind.STALLED:
        return "Stalled: the scheduler made no progress until the watchdog stopped it"
    if crash.kind == CrashKind.EXCEPTION:
        name = _EXCEPTIONS.get(crash.vector, f"exception {crash.vector}")
        detail = _page_fault(crash) if crash.vector == _PAGE_FAULT and crash.complete else ""
        return f"Exception: {name}{detail} at {crash.instruction:#x}"
    if crash.reason not in set(PanicReason):
        return f"Panic: unknown reason {crash.reason}"
    reason = PanicReason(crash.reason)
    if reason == PanicReason.EXPLICIT and crash.message:
        return f"Panic: {crash.message}"
    values = _VALUES.get(reason, "").format(first=crash.first, second=crash.second)
    return f"Panic: {': '.join(part for part in (REASON_TEXT[reason], values, crash.message) if part)}"


def _page_fault(crash: Crash) -> str:
    """Say what a page fault tried to do (Intel SDM volume 3, figure 4-12)."""
    action = "execution" if crash.error_code & 16 else "write" if crash.error_code & 2 else "read"
    why = "which is not permitted" if crash.error_code & 1 else "where nothing is mapped"
    return f": {action} of {crash.fault_address:#x}, {why},"
