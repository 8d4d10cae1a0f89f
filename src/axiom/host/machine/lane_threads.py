"""The lanes of a hosted kernel: threads of this process, each on a processor of its own.

Compiled code runs without Python's lock, so that the lanes run at the same time. A panic on any lane ends
all of them: `panic` is the first one's, with its lane's number.
"""

import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

from axiom.lang.panic import Panic

if TYPE_CHECKING:
    from axiom.compiler.hosted import Hosted
    from axiom.metal.kernel.lanes import Lanes

STOP_SECONDS = 5.0


def processors() -> list[int]:
    """Return the processors that this process may run on."""
    return sorted(os.sched_getaffinity(0))


class LaneCalls:
    """The compiled functions of `metal.kernel.lanes.Lanes`, as Python calls them."""

    def __init__(
        self,
        set_count: Callable[[int], Any],
        lane_loop: Callable[[int], Any],
        stop: Callable[[], Any],
        leave: Callable[[int], Any],
    ) -> None:
        self.set_count, self.lane_loop, self.stop, self.leave = set_count, lane_loop, stop, leave

    @classmethod
    def of(cls, hosted: "Hosted", lanes: "Lanes") -> Self:
        """Return those of lanes that were loaded with `lane_functions(lanes)`."""
        return cls(
            set_count=lambda count: hosted(lanes.set_count, count),
            lane_loop=lambda lane: hosted(lanes.lane_loop, lane),
            stop=lambda: hosted(lanes.stop),
            leave=lambda lane: hosted(lanes.leave, lane),
        )


def lane_functions(lanes: "Lanes") -> list[Any]:
    """Return what is to be loaded beside lane 0's function."""
    return [lanes.set_count, lanes.lane_loop, lanes.stop, lanes.leave]


class LaneThreads:
    """Threads for lanes 1 and up; lane 0 is the thread that calls `run_main`.

    With fewer processors than lanes some lanes share one, which is slow and gives the same results.
    """

    def __init__(self, calls: LaneCalls, n_lanes: int) -> None:
        self._calls = calls
        self._places = processors()
        self._lock = threading.Lock()
        self.panic: Panic | None = None
        self.panic_lane = 0
        calls.set_count(n_lanes)
        self._threads = [
            threading.Thread(target=self._loop, args=(lane,), name=f"axiom-lane-{lane}", daemon=True)
            for lane in range(1, n_lanes)
        ]

    def start(self) -> None:
        """Start the lanes."""
        for thread in self._threads:
            thread.start()

    def run_main(self, main: Callable[[], Any]) -> Any:
        """Be lane 0: return what `main` does, or None after a panic; then tell the other lanes to end."""
        self._pin(0)
        try:
            return main()
        except Panic as panic:
            self._note(0, panic)
            return None
        finally:
            self._calls.stop()

    def join(self) -> bool:
        """Wait for the lanes to end, once lane 0 has; False when one does not in time."""
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(STOP_SECONDS)
        return not self.are_alive()

    def are_alive(self) -> bool:
        """Tell whether one of the threads runs."""
        return any(thread.is_alive() for thread in self._threads)

    def _pin(self, lane: int) -> None:
        """Keep the calling thread on one processor, where there is one for each lane."""
        if len(self._threads) < len(self._places):
            os.sched_setaffinity(0, {self._places[lane]})

    def _note(self, lane: int, panic: Panic) -> None:
        with self._lock:
            if self.panic is None:
                self.panic, self.panic_lane = panic, lane

    def _loop(self, lane: int) -> None:
        self._pin(lane)
        try:
            self._calls.lane_loop(lane)
        except Panic as panic:
            self._note(lane, panic)
            self._calls.leave(lane)
