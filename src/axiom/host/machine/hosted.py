"""The kernel's service compiled into this process: the same tasks, engine and link, on threads.

Light to import, as the first token waits for it: the compiler is not needed for what was compiled before.
"""

import ctypes
import mmap
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from axiom.abi.link import LINK_BYTES
from axiom.compiler.loaded_object import CodePanic, LoadedObject
from axiom.compiler.object_cache import StoredObject
from axiom.host.errors import CrashError, MachineError
from axiom.host.machine.carriers import RingCarrier
from axiom.host.machine.held_file import HeldFile
from axiom.host.machine.hosted_launch import HostedLaunch
from axiom.host.machine.lane_threads import LaneCalls, LaneThreads
from axiom.host.machine.ready_memory import ReadyMemory

CALIBRATION_SECONDS = 0.02
STOP_SECONDS = 5.0


class HostedMachine:
    """One model served on threads of this process, one per lane, from `start` on.

    began, launched: when it was begun to be made and when it was made, of time.monotonic().
    """

    def __init__(self, launch: HostedLaunch, stored: StoredObject) -> None:
        """Load the code and map the model. Raises MachineError when that is not there."""
        self.began = time.monotonic()
        self.launch = launch
        self.stored, self._loaded = stored, LoadedObject(stored.data)
        self._counter = _Counter(self)
        self._rings = mmap.mmap(-1, LINK_BYTES)
        with ExitStack() as stack:
            self._model = HeldFile(self.model_path())
            stack.callback(self._model.close)
            if self._model.place is None:
                raise MachineError(f"{launch.model} cannot be mapped into memory.")
            self._kv_cache = ReadyMemory(launch.kv_cache_bytes)
            stack.callback(self._kv_cache.close)
            self._activations = ReadyMemory(launch.activation_bytes)
            stack.callback(self._activations.close)
            self._memory = stack.pop_all()
        self.carrier = RingCarrier(memoryview(self._rings))
        calls = LaneCalls(
            set_count=lambda count: self.call(launch.set_count, count),
            lane_loop=lambda lane: self.call(launch.lane_loop, lane),
            stop=lambda: self.call(launch.stop),
            leave=lambda lane: self.call(launch.leave, lane),
        )
        self._lanes = LaneThreads(calls, launch.n_lanes)
        self._thread = threading.Thread(target=self._run, name="axiom-hosted", daemon=True)
        self.launched = time.monotonic()

    def release(self) -> None:
        """Do nothing: no lane polls before `start`."""

    def model_path(self) -> Path:
        """Return the packed model that is served."""
        return Path(self.launch.model)

    def call(self, symbol: str, *words: int) -> int:
        """Call a function of the object; return its result as a number. Raises HostedPanic."""
        try:
            return int.from_bytes(self._loaded.call(symbol, words)[:8], "little")
        except CodePanic as panic:
            from axiom.compiler.hosted import hosted_panic

            raise hosted_panic(self.stored, self._loaded, panic) from None

    def start(self) -> None:
        """Start the lanes."""
        self._tsc_hz = self._counter.frequency_hz()
        self._thread.start()

    def join(self) -> None:
        """Wait until the service has ended, after it was told to shut down."""
        self._thread.join(STOP_SECONDS)
        self._lanes.join()

    def _run(self) -> None:
        launch = self.launch
        rings = ctypes.addressof(ctypes.c_char.from_buffer(self._rings)), LINK_BYTES
        assert self._model.place is not None
        weights = self._model.place[0] + launch.weights_offset, launch.weights_bytes
        words = (*rings, *weights, *self._kv_cache.place, *self._activations.place, self._tsc_hz)
        self._lanes.start()
        self._lanes.run_main(lambda: self.call(launch.serve, *words))

    def check_alive(self) -> None:
        """Raise CrashError or MachineError when the service has ended."""
        panic = self._lanes.panic
        if panic is not None:
            from axiom.compiler.hosted import HostedPanic

            places = f"{panic.traceback()}\n" if isinstance(panic, HostedPanic) else ""
            raise CrashError(f"{places}Panic: {panic}")
        if not self._thread.is_alive():
            raise MachineError("the service has shut down")

    def close(self) -> None:
        """Let the model go; lanes that were not told to end keep it, and die with the process."""
        if not self._thread.is_alive() and not self._lanes.are_alive():
            self._memory.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class _Counter:
    """The cycle counter, compared with the clock of the process from when this is made."""

    def __init__(self, machine: HostedMachine) -> None:
        self._machine = machine
        self._first, self._start = self._cycles(), time.monotonic()

    def frequency_hz(self) -> int:
        """Return it; waits until the comparison is long enough."""
        while time.monotonic() - self._start < CALIBRATION_SECONDS:
            pass
        return round((self._cycles() - self._first) / (time.monotonic() - self._start))

    def _cycles(self) -> int:
        return self._machine.call(self._machine.launch.read_cycles)
