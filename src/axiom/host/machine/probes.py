"""Measurements of this computer in this process: how fast memory is read, how fast cores meet."""

import mmap
import time
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from axiom.compiler.hosted import load_hosted
from axiom.host.machine.host_processor import hosted_target
from axiom.host.machine.lane_threads import LaneCalls, LaneThreads, lane_functions
from axiom.lang import u64
from axiom.metal.boot.probe import make_probe

MEETINGS = 20_000


class MachineProbe:
    """Threads that read a gigabyte or so of huge pages. Lane 0 is the calling thread."""

    def __init__(self, n_threads: int, n_bytes: int = 1 << 30) -> None:
        probe = make_probe(hosted_target())
        self._probe = probe
        self._hosted = load_hosted([probe.read, probe.read_ahead, probe.meet, *lane_functions(probe.lanes)])
        self._threads = LaneThreads(LaneCalls.of(self._hosted, probe.lanes), n_threads)
        self.n_bytes = n_bytes
        self._memory = mmap.mmap(-1, n_bytes)
        self._memory.madvise(mmap.MADV_HUGEPAGE)
        ones = b"\x01" * mmap.PAGESIZE
        for start in range(0, n_bytes, mmap.PAGESIZE):
            self._memory[start : start + mmap.PAGESIZE] = ones

    def read_gb_s(self) -> float:
        """Read everything once; return 10^9 bytes a second, of all threads together."""
        return self.n_bytes / self.read_seconds(self.n_bytes) / 1e9

    def read_ahead_gb_s(self) -> float:
        """Return what `read_gb_s` does when memory is asked for ahead of the walk."""
        start = time.perf_counter()
        self._call(self._probe.read_ahead, self._bytes())
        return self.n_bytes / (time.perf_counter() - start) / 1e9

    def read_seconds(self, count: int) -> float:
        """Return how long a plain read of so many bytes takes; some are read again if there are fewer."""
        start = time.perf_counter()
        for left in range(count, 0, -self.n_bytes):
            self._call(self._probe.read, self._bytes()[:left])
        return time.perf_counter() - start

    def meeting_ns(self) -> float:
        """Return how long one operation without work takes: a store to each lane and a store back."""
        start = time.perf_counter()
        self._call(self._probe.meet, u64(MEETINGS))
        return (time.perf_counter() - start) / MEETINGS * 1e9

    def _bytes(self) -> NDArray[np.uint8]:
        return np.frombuffer(self._memory, np.uint8)

    def _call(self, function: Any, *arguments: Any) -> None:
        self._hosted(function, *arguments)

    def __enter__(self) -> Self:
        self._threads.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._hosted(self._probe.lanes.stop)
        self._threads.join()
        self._memory.close()
