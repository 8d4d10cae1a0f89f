"""Lanes as processors of a machine: they start, hand over without loss, and say so when they fail."""

import inspect
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from axiom.abi.boot import LANE_STACK_BYTES, LANE_STACK_STRIDE, ExitCode, RegionKind
from axiom.abi.crash import CRASH_BEGIN, CrashKind
from axiom.host.machine.crash_report import Crash, parse_crash, render_crash
from axiom.lang import (
    Slice,
    array,
    asm,
    fn,
    panic,
    slice_at,
    u8,
    u32,
    u64,
    unsafe,
    volatile_store,
    write_to,
)
from axiom.metal.arch.processor import pause
from axiom.metal.arch.vectors import STALLED_TICKS
from axiom.metal.kernel.clock import has_passed, milliseconds, now_cycles
from axiom.metal.kernel.frames import region
from axiom.metal.kernel.lanes import DEADLINE_CYCLES, make_lanes
from axiom.metal.kernel.log import log
from axiom.metal.kernel.watchdog import TICKS_PER_SECOND
from tests.support.boot_image import MACHINES, Outcome, boot
from tests.support.lane_stress import expected_checksum, make_stress
from tests.support.mapped_kernel import lane_counts, make_kernel, regions
from tests.support.metal import build_image

N_OPERATIONS = 100_000
N_OPERATIONS_CROWDED = 200
STRESS_DEADLINE_S = 300.0
NO_SUCH_PROCESSOR = 77
PAGE_FAULT = 14
UNMAPPED_ADDRESS = 64 << 20


def run_stress(
    machine: str, place: Path, cores: int, wanted: int, count: int, extra_processors: tuple[int, ...] = ()
) -> Outcome:
    """Boot a machine that does `count` operations and prints its number of lanes and the checksum."""
    lanes, stress = make_stress(hosted=False)

    @fn
    def body() -> None:
        write_to(log, f"{lane_counts[0]} {stress(u64(count))}")
        log.end()

    functions = make_kernel(body, lanes=lanes, wanted=wanted, extra_processors=extra_processors)
    image = build_image(place / "image.elf", functions)
    return boot(machine, image, cores=cores, deadline_s=STRESS_DEADLINE_S)


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("n_lanes", [1, 2, 3, 4])
def test_what_one_lane_writes_the_others_read_in_the_next_operation(
    machine: str, n_lanes: int, tmp_path: Path
) -> None:
    count = N_OPERATIONS if n_lanes <= len(os.sched_getaffinity(0)) else N_OPERATIONS_CROWDED
    outcome = run_stress(machine, tmp_path, n_lanes, n_lanes, count)
    assert outcome.code == ExitCode.OK, outcome.text
    assert outcome.text.split() == [str(n_lanes), str(expected_checksum(count))]


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(("cores", "wanted"), [(1, 2), (2, 4), (2, 1)])
def test_there_are_as_many_lanes_as_are_wanted_and_there_are_processors(
    machine: str, cores: int, wanted: int, tmp_path: Path
) -> None:
    outcome = run_stress(machine, tmp_path, cores, wanted, 100)
    assert outcome.code == ExitCode.OK, outcome.text
    assert outcome.text.split() == [str(min(cores, wanted)), str(expected_checksum(100))]


@pytest.mark.parametrize("machine", MACHINES)
def test_a_processor_that_does_not_start_costs_only_its_lane(machine: str, tmp_path: Path) -> None:
    outcome = run_stress(machine, tmp_path, 2, 3, 100, extra_processors=(NO_SUCH_PROCESSOR,))
    assert outcome.code == ExitCode.OK, outcome.text
    assert outcome.text.split() == ["2", str(expected_checksum(100))]


def crash_on_lane(
    machine: str,
    place: Path,
    fail: Callable[[], None],
    first: int,
    last: int,
    deadline: int = DEADLINE_CYCLES,
) -> tuple[Crash, str, str]:
    """Boot a machine of two lanes of which those from `first` to `last` fail.

    Returns the crash, how it reads, and all that was said.
    """

    @fn
    def share(lane: u32, n_lanes: u32) -> None:
        if lane >= first and lane <= last:
            fail()

    lanes = make_lanes(share, False, deadline)

    @fn
    def body() -> None:
        lanes.run()

    image = build_image(place / "image.elf", make_kernel(body, lanes=lanes, wanted=2))
    outcome = boot(machine, image, cores=2)
    assert outcome.code == ExitCode.CRASH, outcome.text
    crash = parse_crash(outcome.text)
    assert crash is not None
    assert crash.complete
    return crash, render_crash(crash, image), outcome.text


@fn
def break_down() -> None:
    panic("this share cannot be done")


@fn
def read_nowhere() -> None:
    # SAFETY: faults on purpose.
    with unsafe:
        place = slice_at(u8, u64(UNMAPPED_ADDRESS), 1)
    volatile_store(place, 0, u8(1))


@pytest.mark.parametrize("machine", MACHINES)
def test_a_panic_on_another_lane_is_a_traceback_that_names_it(machine: str, tmp_path: Path) -> None:
    crash, rendered, _ = crash_on_lane(machine, tmp_path, break_down, 1, 1)
    assert (crash.kind, crash.lane) == (CrashKind.PANIC, 1)
    lines = rendered.splitlines()
    assert [line.rsplit(" in ", 1)[1] for line in lines if line.startswith("  File")] == [
        "enter_lane",
        "lane_loop",
        "share",
        "break_down",
    ]
    assert lines[-2:] == [
        '    panic("this share cannot be done")',
        "Panic: this share cannot be done (on lane 1)",
    ]


@pytest.mark.parametrize("machine", MACHINES)
def test_a_fault_on_another_lane_is_a_traceback_that_names_it(machine: str, tmp_path: Path) -> None:
    crash, rendered, _ = crash_on_lane(machine, tmp_path, read_nowhere, 1, 1)
    assert (crash.kind, crash.vector, crash.lane) == (CrashKind.EXCEPTION, PAGE_FAULT, 1)
    assert crash.fault_address == UNMAPPED_ADDRESS
    assert ", in read_nowhere" in rendered
    assert ", in lane_loop" in rendered
    assert rendered.endswith(" (on lane 1)")


@fn(inline="never")
def fill_first(part: Slice[u8]) -> None:
    volatile_store(part, 0, u8(1))


@fn(inline="never")
def dive() -> None:
    """Use more stack than is left."""
    local = array(u8, 2048)
    fill_first(local.all)


@fn
def overflow_stack() -> None:
    stacks = region(regions, RegionKind.LANE_STACKS)
    low = stacks.address + (LANE_STACK_STRIDE - LANE_STACK_BYTES)
    # SAFETY: moves the stack to its lower end on purpose; never returns from there.
    with unsafe:
        asm("movq $0, %rsp", "r,~{memory}", low + 64)
    dive()


@pytest.mark.parametrize("machine", MACHINES)
def test_a_stack_overflow_on_another_lane_meets_its_guard_page(machine: str, tmp_path: Path) -> None:
    crash, _, _ = crash_on_lane(machine, tmp_path, overflow_stack, 1, 1)
    assert (crash.vector, crash.lane) == (PAGE_FAULT, 1)
    assert 0 < crash.stack_pointer - crash.fault_address + 4096 < 8192


@fn
def linger() -> None:
    while True:
        pause()


@pytest.mark.parametrize("machine", MACHINES)
def test_a_lane_that_does_not_answer_is_named(machine: str, tmp_path: Path) -> None:
    crash, rendered, _ = crash_on_lane(machine, tmp_path, linger, 1, 1, deadline=1_000_000_000)
    assert (crash.kind, crash.lane) == (CrashKind.PANIC, 0)
    assert rendered.splitlines()[-1] == "Panic: lane 1 did not finish its share"


def test_lane_0_may_wait_for_longer_than_the_watchdog_does(tmp_path: Path) -> None:
    limit_ms = 1000 * (STALLED_TICKS + 5) // TICKS_PER_SECOND

    @fn
    def share(lane: u32, n_lanes: u32) -> None:
        start = now_cycles()
        while lane == 1 and not has_passed(start, milliseconds(u64(limit_ms))):
            pause()

    lanes = make_lanes(share, False)

    @fn
    def body() -> None:
        lanes.run()

    functions = make_kernel(body, lanes=lanes, wanted=2)
    outcome = boot("tcg", build_image(tmp_path / "image.elf", functions), cores=2)
    assert outcome.code == ExitCode.OK, outcome.text


@fn
def fail_together() -> None:
    panic("both at once")


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("fail", [fail_together, read_nowhere], ids=["panic", "fault"])
def test_of_two_lanes_that_crash_at_once_one_reports(
    machine: str, fail: Callable[[], None], tmp_path: Path
) -> None:
    crash, rendered, text = crash_on_lane(machine, tmp_path, fail, 0, 1)
    assert crash.lane in (0, 1)
    assert text.count(CRASH_BEGIN) == 1
    assert f", in {inspect.unwrap(fail).__name__}" in rendered
