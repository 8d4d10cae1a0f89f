"""The kernel's service compiled into this process: the same tasks, engine and link, on threads."""

import mmap
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from axiom.abi.link import LINK_BYTES
from axiom.compiler.diagnostics import CompileError
from axiom.compiler.hosted import HostedPanic, load_hosted
from axiom.host.errors import CrashError, MachineError, ProgramError
from axiom.host.machine.carriers import RingCarrier
from axiom.host.machine.lane_threads import LaneThreads
from axiom.host.machine.tile_permission import ask_for_tiles
from axiom.host.model.packed_file import PackedModel
from axiom.lang import X86_64_V3, X86_64_V4_AMX, X86_64_V4_VNNI, Target
from axiom.metal.boot.hosted import make_hosted
from axiom.metal.engine.activations import activation_bytes
from axiom.metal.engine.kv_cache import kv_cache_bytes
from axiom.metal.engine.spec import EngineSpec
from axiom.metal.kernel.clock import now_cycles

WIDE_FLAGS = {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl", "avx512_vnni"}
TILE_FLAGS = {"amx_tile", "amx_int8"}
NEEDED_FLAGS = {"avx2", "bmi2", "f16c", "fma"}
CALIBRATION_SECONDS = 0.02


def processor_flags() -> set[str]:
    """Return the feature names that Linux gives for this processor."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("flags"):
            return set(line.split(":", 1)[1].split())
    return set()


def hosted_target() -> Target:
    """Return the best target that this processor runs. Raises MachineError when it runs none."""
    flags = processor_flags()
    missing = NEEDED_FLAGS - flags
    if missing:
        raise MachineError(f"this processor lacks {', '.join(sorted(missing))}; x86-64-v3 is needed.")
    if not flags >= WIDE_FLAGS:
        return X86_64_V3
    return X86_64_V4_AMX if flags >= TILE_FLAGS and ask_for_tiles() else X86_64_V4_VNNI


def _memory(count: int) -> mmap.mmap:
    return mmap.mmap(-1, max(count, mmap.PAGESIZE))


def bytes_of_memory(memory: mmap.mmap) -> NDArray[np.uint8]:
    """Return mapped memory as an array, which compiled functions take as a slice."""
    return np.frombuffer(memory, np.uint8)


class HostedMachine:
    """One model served on threads of this process, one per lane."""

    def __init__(self, spec: EngineSpec, model: PackedModel) -> None:
        start = time.monotonic()
        counter = _Counter()
        kernel = make_hosted(spec, hosted_target())
        self._serve = kernel.serve
        try:
            hosted = load_hosted([kernel.serve, *LaneThreads.functions(kernel.lanes)])
        except CompileError as error:
            raise ProgramError(str(error)) from None
        self._lanes = LaneThreads(hosted, kernel.lanes, spec.n_lanes)
        compiled = time.monotonic()
        with model.path.open("rb") as file:
            whole = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        rings = _memory(LINK_BYTES)
        weights = bytes_of_memory(whole)[model.weights_offset :][: model.weights_bytes]
        kv_cache, activations = _memory(kv_cache_bytes(spec)), _memory(activation_bytes(spec))
        self._memory = [bytes_of_memory(rings), weights, *map(bytes_of_memory, (kv_cache, activations))]
        self._tsc_hz = counter.frequency_hz()
        self.stages_ms = {"build": (compiled - start) * 1e3, "map": (time.monotonic() - compiled) * 1e3}
        self.carrier = RingCarrier(memoryview(rings))
        self._thread = threading.Thread(target=self._run, name="axiom-hosted", daemon=True)

    def _run(self) -> None:
        self._lanes.start()
        self._lanes.run_main(self._serve, *self._memory, self._tsc_hz)

    def check_alive(self) -> None:
        """Raise CrashError or MachineError when the service has ended."""
        panic = self._lanes.panic
        if panic is not None:
            places = f"{panic.traceback()}\n" if isinstance(panic, HostedPanic) else ""
            raise CrashError(f"{places}Panic: {panic}")
        if not self._thread.is_alive():
            raise MachineError("the service has shut down")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """The thread ends when it is told to shut down; one that is not dies with the process."""
        if error is None:
            self._thread.join(5.0)
            self._lanes.join()


class _Counter:
    """The cycle counter, compared with the clock of the process from when this is made."""

    def __init__(self) -> None:
        self._hosted = load_hosted([now_cycles])
        self._first, self._start = self._cycles(), time.monotonic()

    def frequency_hz(self) -> int:
        """Return it; waits until the comparison is long enough."""
        while time.monotonic() - self._start < CALIBRATION_SECONDS:
            pass
        return round((self._cycles() - self._first) / (time.monotonic() - self._start))

    def _cycles(self) -> int:
        return int(self._hosted(now_cycles))
