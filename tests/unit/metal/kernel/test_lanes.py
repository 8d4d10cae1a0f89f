"""Lanes as threads of this process: nothing is lost between them, however often they hand over."""

import os
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import pytest

from axiom.abi.boot import MAX_LANES
from axiom.compiler.hosted import Hosted, HostedPanic, load_hosted
from axiom.host.machine.lane_threads import LaneCalls, LaneThreads, lane_functions
from axiom.lang import array, fn, panic, static_var, u32, u64, urange, volatile_load, volatile_store
from axiom.metal.arch.processor import pause, read_cycles
from axiom.metal.kernel.lanes import PARK_CYCLES, Lanes, make_lanes
from tests.support.lane_stress import expected_checksum, make_stress

N_OPERATIONS = 100_000
N_OPERATIONS_CROWDED = 3_000
IDLE_SECONDS = 0.5
SLEEP_SECONDS = 10.0


@contextmanager
def keep_processors() -> Generator[None]:
    """Let this thread run again where it could before."""
    before = os.sched_getaffinity(0)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def run_lanes(lanes: Lanes, main: Any, n_lanes: int, *arguments: Any) -> tuple[Any, LaneThreads]:
    """Run `main` as lane 0 until all lanes have ended; return its result and the threads."""
    hosted = load_hosted([main, *lane_functions(lanes)])
    threads = LaneThreads(LaneCalls.of(hosted, lanes), n_lanes)
    with keep_processors():
        threads.start()
        result = threads.run_main(lambda: hosted(main, *arguments))
    assert threads.join(), "a lane did not end"
    return result, threads


@pytest.mark.parametrize("n_lanes", [1, 2, 3, 4])
def test_what_one_lane_writes_the_others_read_in_the_next_operation(n_lanes: int) -> None:
    lanes, stress = make_stress(hosted=True)
    count = N_OPERATIONS if n_lanes <= len(os.sched_getaffinity(0)) else N_OPERATIONS_CROWDED
    result, threads = run_lanes(lanes, stress, n_lanes, count)
    assert threads.panic is None
    assert int(result) == expected_checksum(count)


def make_bystander() -> tuple[Lanes, Any, Any]:
    """Return lanes whose shares do nothing, the function that runs one operation, and one that waits.

    The second runs `count` operations, each after `cycles` in which the others have nothing to do.
    """

    @fn
    def share(lane: u32, n_lanes: u32) -> None:
        pause()

    lanes = make_lanes(share, hosted=True)

    @fn
    def once() -> None:
        lanes.run()

    @fn
    def with_pauses(count: u64, cycles: u64) -> u64:
        for _ in urange(count):
            start = read_cycles()
            while read_cycles() - start < cycles:
                pause()
            lanes.run()
        return count

    return lanes, once, with_pauses


def test_a_lane_without_work_sleeps_and_wakes_for_the_next_operation() -> None:
    lanes, once, _ = make_bystander()
    hosted: Hosted = load_hosted([once, *lane_functions(lanes)])
    threads = LaneThreads(LaneCalls.of(hosted, lanes), 3)
    threads.start()
    hosted(once)
    deadline = time.monotonic() + SLEEP_SECONDS
    used = 1.0
    while used > 0.02 and time.monotonic() < deadline:
        before = time.process_time()
        time.sleep(IDLE_SECONDS)
        used = time.process_time() - before
    assert used <= 0.02, "the lanes use the processor although there is nothing to do"
    for _ in range(20):
        hosted(once)
    hosted(lanes.stop)
    assert threads.join()


@pytest.mark.parametrize("after", [-PARK_CYCLES // 2, -10_000, 0, 20_000])
def test_no_operation_is_lost_on_a_lane_that_is_falling_asleep(after: int) -> None:
    lanes, _, with_pauses = make_bystander()
    result, threads = run_lanes(lanes, with_pauses, 2, 100, PARK_CYCLES + after)
    assert threads.panic is None
    assert int(result) == 100


def make_pairs() -> tuple[Lanes, Any]:
    """Return lanes whose shares do nothing, and a function that runs two operations after each pause."""

    @fn
    def share(lane: u32, n_lanes: u32) -> None:
        pause()

    lanes = make_lanes(share, True, 500_000_000)

    @fn
    def in_pairs(count: u64, cycles: u64) -> u64:
        for _ in urange(count):
            start = read_cycles()
            while read_cycles() - start < cycles:
                pause()
            lanes.run()
            lanes.run()
        return count

    return lanes, in_pairs


def test_no_operation_is_lost_when_lane_0_loses_its_processor_at_a_ticket() -> None:
    """On one processor, given to a lane first, which answers and falls asleep before lane 0 goes on."""
    lanes, in_pairs = make_pairs()
    results: list[Any] = []
    with keep_processors():
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        hosted = load_hosted([in_pairs, *lane_functions(lanes)])
        threads = LaneThreads(LaneCalls.of(hosted, lanes), 2)
        threads.start()

        def idly() -> None:
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
            results.append(threads.run_main(lambda: hosted(in_pairs, 50, 2 * PARK_CYCLES)))

        main = threading.Thread(target=idly)
        main.start()
        main.join()
    assert threads.join(), "a lane did not end"
    assert threads.panic is None
    assert [int(result) for result in results] == [50]


def make_failing(fail: Callable[[], None], failing_lane: int, deadline_cycles: int) -> tuple[Lanes, Any]:
    """Return lanes of which one fails in the third operation, and the function that runs ten."""
    step = static_var(array(u64, 1))

    @fn
    def share(lane: u32, n_lanes: u32) -> None:
        if lane == failing_lane and step[0] == 3:
            fail()

    lanes = make_lanes(share, True, deadline_cycles)

    @fn
    def main() -> None:
        for i in urange(u64(10)):
            step[0] = i
            lanes.run()

    return lanes, main


@fn
def break_down() -> None:
    panic("this share cannot be done")


@pytest.mark.parametrize("failing_lane", [0, 1, 2])
def test_a_panic_on_any_lane_ends_all_and_is_the_one_reported(failing_lane: int) -> None:
    lanes, main = make_failing(break_down, failing_lane, 1 << 50)
    _, threads = run_lanes(lanes, main, 3)
    assert isinstance(threads.panic, HostedPanic)
    assert "this share cannot be done" in str(threads.panic)
    assert threads.panic_lane == failing_lane
    assert "break_down" in threads.panic.traceback()


hurdle = static_var(array(u64, 8), align=64)


@fn
def wait_at_hurdle() -> None:
    while volatile_load(hurdle.all, 0) == 0:
        pause()


@fn
def lift_hurdle() -> None:
    volatile_store(hurdle.all, 0, u64(1))


def test_a_lane_that_does_not_answer_is_named() -> None:
    lanes, main = make_failing(wait_at_hurdle, 2, 200_000_000)
    hosted = load_hosted([main, lift_hurdle, *lane_functions(lanes)])
    threads = LaneThreads(LaneCalls.of(hosted, lanes), 3)
    with keep_processors():
        threads.start()
        threads.run_main(lambda: hosted(main))
    hosted(lift_hurdle)
    assert threads.join()
    assert str(threads.panic) == "panic: lane 2 did not finish its share"


@pytest.mark.parametrize(("n_lanes", "why"), [(0, "at least one"), (MAX_LANES + 1, "at most 64")])
def test_a_number_of_lanes_that_cannot_be_is_refused(n_lanes: int, why: str) -> None:
    lanes, _ = make_stress(hosted=True)
    hosted = load_hosted([lanes.set_count])
    with pytest.raises(HostedPanic, match=why):
        hosted(lanes.set_count, n_lanes)
