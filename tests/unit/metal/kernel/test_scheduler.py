"""The loop over the static table of tasks."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from axiom.lang import Slice, fn, static_var, struct, u64, zeroed
from axiom.metal.kernel.scheduler import Task, TaskStatus, make_run, scheduler
from tests.support.targets import TARGETS, run

NO_BUDGET = 2**62


@struct
class Trace:
    """What the tasks did, as a number with one decimal digit for each step."""

    steps: u64


trace = static_var(zeroed(Trace))


@pytest.fixture(autouse=True)
def untouched() -> Iterator[None]:
    """Leave no trace in the static storage, which is compiled with its contents."""
    yield
    for place in (trace, scheduler):
        memory: Any = place
        memory.place_memory.data[:] = bytes(len(memory.place_memory.data))


def task(name: str, digit: int, stop_at: int, budget: int = NO_BUDGET) -> Task:
    @fn
    def step() -> TaskStatus:
        trace.steps = trace.steps * 10 + digit
        return TaskStatus.STOP if trace.steps >= stop_at else TaskStatus.WORKED

    return Task(name, step, budget)


def root_of(tasks: tuple[Task, ...]) -> Any:
    loop = make_run(tasks, False)

    @fn
    def root(out: Slice[u64]) -> None:
        trace.steps = u64(0)
        scheduler.rounds = u64(0)
        scheduler.task_overruns = u64(0)
        loop()
        out[0] = trace.steps
        out[1] = scheduler.rounds
        out[2] = scheduler.task_overruns

    return root


def result(target: str, tasks: tuple[Task, ...]) -> list[int]:
    out = np.zeros(3, np.uint64)
    run(target, root_of(tasks), out)
    return [int(word) for word in out]


@pytest.mark.parametrize("target", TARGETS)
def test_tasks_are_polled_in_order_until_one_stops(target: str) -> None:
    tasks = (task("first", 1, 10**9), task("second", 2, 10**5), task("third", 3, 10**9))
    steps, rounds, overruns = result(target, tasks)
    assert (steps, rounds, overruns) == (12312312, 2, 0)


@pytest.mark.parametrize("target", TARGETS)
def test_steps_longer_than_their_budget_are_counted(target: str) -> None:
    tasks = (task("slow", 1, 10**9, budget=0), task("free", 2, 1000))
    steps, _, overruns = result(target, tasks)
    assert (steps, overruns) == (1212, 2)
