"""The scheduler: a static table of tasks, polled in order for good, on one core.

A task is a function of no arguments that does a bounded piece of work and says whether there was any. The
table is fixed when the image is built and the loop is unrolled, so that nothing is looked up or called
through a pointer. Each task declares how many cycles a step may take; longer steps are counted.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

from axiom.lang import fn, static, static_var, struct, u64, zeroed
from axiom.metal.arch.processor import pause, read_cycles
from axiom.metal.arch.statistics import beat


class TaskStatus(IntEnum):
    """What a step did."""

    IDLE = 0
    WORKED = 1
    STOP = 2


@dataclass(frozen=True)
class Task:
    """A name for reports, the step, and its budget in cycles."""

    name: str
    step: Callable[[], TaskStatus]
    budget_cycles: int


@struct
class SchedulerState:
    """What the scheduler noticed."""

    rounds: u64
    task_overruns: u64
    longest_step_cycles: u64


scheduler = static_var(zeroed(SchedulerState))


@fn
def _account(start: u64, budget: u64) -> None:
    cycles = read_cycles() - start
    if cycles > scheduler.longest_step_cycles:
        scheduler.longest_step_cycles = cycles
    if cycles > budget:
        scheduler.task_overruns += 1


def make_run(tasks: tuple[Task, ...], heartbeat: bool) -> Callable[[], None]:
    """Return the loop over `tasks`; it ends when a task says STOP. Without a watchdog, no heartbeat."""

    @fn(phase="run")
    def run() -> None:
        while True:
            worked = False
            if heartbeat:
                beat()
            for task in static(tasks):
                start = read_cycles()
                status = task.step()
                _account(start, u64(task.budget_cycles))
                if status == TaskStatus.STOP:
                    return
                if status == TaskStatus.WORKED:
                    worked = True
            scheduler.rounds += 1
            if not worked:
                pause()

    return run
