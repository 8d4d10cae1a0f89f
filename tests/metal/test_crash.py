"""Panics, exceptions and a stuck scheduler: each ends in the right Python traceback."""

import inspect
from pathlib import Path
from typing import Any

import pytest

from axiom.abi.boot import PAGE_BYTES, ExitCode
from axiom.abi.crash import CRASH_AGAIN, CrashKind
from axiom.host.machine.crash_report import crash_from_record, parse_crash, render_crash
from axiom.lang import (
    Slice,
    address_of,
    array,
    asm,
    asm_value,
    fn,
    slice_at,
    static_var,
    u16,
    u64,
    unsafe,
    write_to,
)
from axiom.metal.arch.statistics import beat, hardware_counters
from axiom.metal.arch.uart import COM1, uart_start
from axiom.metal.kernel.log import log
from axiom.metal.kernel.panic import crash_state
from axiom.metal.kernel.scheduler import Task, TaskStatus, make_run
from tests.support.boot_image import MACHINES, boot
from tests.support.mapped_kernel import make_kernel
from tests.support.metal import build_image

numbers = static_var(array(u64, 4))


def crash_of(machine: str, functions: list[Any], place: Path) -> tuple[Any, list[str]]:
    """Boot an image that crashes; return the crash and its rendered lines."""
    image = build_image(place / "image.elf", functions)
    outcome = boot(machine, image)
    crash = parse_crash(outcome.text)
    assert outcome.code == ExitCode.CRASH, outcome.text
    assert crash is not None
    assert crash.complete
    return crash, render_crash(crash, image).splitlines()


def line_of(function: Any, text: str) -> int:
    """Return the number of the line of `function` that contains `text`."""
    lines, first = inspect.getsourcelines(function.python)
    return next(first + i for i, line in enumerate(lines) if text in line)


def frames_of(lines: list[str]) -> list[tuple[str, int]]:
    """Return (function, line) of each frame of a rendered traceback."""
    found = [line.strip().split(", ") for line in lines if line.startswith('  File "')]
    return [(name.removeprefix("in "), int(number.removeprefix("line "))) for _, number, name in found]


@fn(inline="always")
def pick(values: Slice[u64], at: u64) -> u64:
    return values[at]


@fn(inline="never")
def look_up(values: Slice[u64], at: u64) -> u64:
    return pick(values, at) + 1


@fn
def index_out_of_bounds() -> None:
    numbers[0] = look_up(numbers.all, numbers[1] + 7)


@pytest.mark.parametrize("machine", MACHINES)
def test_a_panic_shows_every_frame_with_inlined_ones_and_the_values(machine: str, tmp_path: Path) -> None:
    _, lines = crash_of(machine, make_kernel(index_out_of_bounds), tmp_path)
    assert lines[0] == "Traceback (most recent call last):"
    assert frames_of(lines)[-3:] == [
        ("index_out_of_bounds", line_of(index_out_of_bounds, "look_up(")),
        ("look_up", line_of(look_up, "pick(")),
        ("pick", line_of(pick, "values[at]")),
    ]
    assert lines[-2:] == ["    return values[at]", "Panic: index out of bounds: 7 of 4"]


@fn
def failed_assertion() -> None:
    assert numbers[1] == 5, "five was expected"


@fn
def overflowing_sum() -> None:
    numbers[0] = numbers[1] - 1


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(
    ("function", "text", "verdict"),
    [
        (failed_assertion, "== 5", "Panic: assertion failed: five was expected"),
        (overflowing_sum, "- 1", "Panic: integer overflow"),
    ],
)
def test_a_failed_check_names_its_line(
    machine: str, function: Any, text: str, verdict: str, tmp_path: Path
) -> None:
    crash, lines = crash_of(machine, make_kernel(function), tmp_path)
    assert crash.kind == CrashKind.PANIC
    assert frames_of(lines)[-1] == (function.__name__, line_of(function, text))
    assert lines[-1] == verdict


@fn
def failure_with_a_note_of_the_record() -> None:
    write_to(log, f"record {address_of(crash_state.record)}")
    log.end()
    numbers[0] = look_up(numbers.all, numbers[1] + 9)


@pytest.mark.parametrize("machine", MACHINES)
def test_the_record_in_memory_says_what_the_serial_line_says(machine: str, tmp_path: Path) -> None:
    image = build_image(tmp_path / "image.elf", make_kernel(failure_with_a_note_of_the_record))
    memory = tmp_path / "memory"
    outcome = boot(machine, image, ram=str(memory))
    with memory.open("rb") as file:
        file.seek(int(outcome.text.splitlines()[0].split()[1]))
        page = file.read(PAGE_BYTES)
    memory.unlink()
    crash = crash_from_record(page)
    assert crash is not None
    assert (crash.kind, crash.first) == (CrashKind.PANIC, 9)
    assert crash == parse_crash(outcome.text)


@fn(export="axiom_main")
def panic_early(start_info: u64) -> None:
    uart_start(u16(COM1))
    numbers[0] = numbers[start_info]


@pytest.mark.parametrize("machine", MACHINES)
def test_a_panic_before_the_address_map_exists_is_reported(machine: str, tmp_path: Path) -> None:
    _, lines = crash_of(machine, [panic_early], tmp_path)
    assert frames_of(lines) == [("panic_early", line_of(panic_early, "numbers[start_info]"))]
    assert lines[-1].endswith(" of 4")


@fn(inline="never")
def divide(dividend: u64, divisor: u64) -> u64:
    # SAFETY: faults on purpose: the language itself would check first.
    with unsafe:
        return asm_value(u64, "xorl %edx, %edx; divq $2", "={rax},{rax},r,~{rdx},~{cc}", dividend, divisor)


@fn
def division_by_zero() -> None:
    numbers[0] = divide(u64(1), numbers[1])


@pytest.mark.parametrize("machine", MACHINES)
def test_a_divide_error_shows_registers_and_the_callers(machine: str, tmp_path: Path) -> None:
    crash, lines = crash_of(machine, make_kernel(division_by_zero), tmp_path)
    assert (crash.kind, crash.vector, crash.registers["rax"]) == (CrashKind.EXCEPTION, 0, 1)
    assert lines[0].startswith(f"Registers: rip={crash.instruction:#x} ")
    assert [name for name, _ in frames_of(lines)][-2:] == ["division_by_zero", "divide"]
    assert lines[-1].startswith("Exception: division by zero")


@fn
def fault_while_reporting() -> None:
    # SAFETY: faults on purpose: the report walks this stack, which is not mapped.
    with unsafe:
        crash_state.stack = slice_at(u64, u64(1) << 40, 1 << 20)
        asm("movabsq $$0x10000000000, %rbp; ud2", "~{memory}")


@pytest.mark.parametrize("machine", MACHINES)
def test_an_exception_while_one_is_reported_ends_in_a_raw_line(machine: str, tmp_path: Path) -> None:
    image = build_image(tmp_path / "image.elf", make_kernel(fault_while_reporting))
    outcome = boot(machine, image)
    assert outcome.code == ExitCode.CRASH
    assert outcome.text.count(CRASH_AGAIN) == 1
    crash = parse_crash(outcome.text)
    assert crash is not None
    assert (crash.vector, crash.complete) == (14, False)
    rendered = render_crash(crash, image)
    assert "exception_handler" in rendered
    assert "reporting the crash failed too" in rendered


@fn
def step_that_hangs() -> TaskStatus:
    while True:
        numbers[2] = numbers[2] ^ 1


run_stuck = make_run((Task("hangs", step_that_hangs, 1_000_000),), True)


@pytest.mark.parametrize("machine", MACHINES)
def test_the_watchdog_stops_a_task_that_hangs_and_names_it(machine: str, tmp_path: Path) -> None:
    crash, lines = crash_of(machine, make_kernel(run_stuck), tmp_path)
    assert crash.kind == CrashKind.STALLED
    assert "step_that_hangs" in [name for name, _ in frames_of(lines)]
    assert lines[-1].startswith("Stalled: ")


@fn
def step_until_40_ticks() -> TaskStatus:
    beat()
    return TaskStatus.STOP if hardware_counters().ticks > 40 else TaskStatus.WORKED


run_on = make_run((Task("counts", step_until_40_ticks, 1_000_000_000),), True)


@pytest.mark.parametrize("machine", MACHINES)
def test_the_watchdog_leaves_a_kernel_that_makes_progress_alone(machine: str, tmp_path: Path) -> None:
    outcome = boot(machine, build_image(tmp_path / "image.elf", make_kernel(run_on)))
    assert (outcome.code, outcome.text) == (ExitCode.OK, "")
