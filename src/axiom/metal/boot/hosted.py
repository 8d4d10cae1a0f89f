"""The kernel's service inside a Linux process: the control arm, and the target for fast tests.

The same tasks, engine and link as on metal; the memory comes from the process instead of from firmware.
"""

from collections.abc import Callable
from dataclasses import dataclass

from axiom.abi.boot import BootReport, Counters
from axiom.abi.link import LINK_BYTES, MessageType
from axiom.lang import Target, bytes_of, fn, slice_at, struct, u8, u32, u64, unsafe, zeroed
from axiom.metal.boot.service import make_service
from axiom.metal.engine.engine import make_engine
from axiom.metal.engine.spec import EngineSpec
from axiom.metal.kernel.lanes import Lanes
from axiom.metal.kernel.link import link, send_frame, start_link
from axiom.metal.kernel.scheduler import make_run


@struct
class HostedMemory:
    """Addresses and lengths of what the process gives, and how fast its cycle counter runs."""

    link: u64
    weights: u64
    weights_bytes: u64
    kv_cache: u64
    kv_cache_bytes: u64
    activations: u64
    activations_bytes: u64
    tsc_hz: u64


@fn
def no_hardware_counters(counters: Counters) -> None:
    """A process is interrupted as its kernel pleases; nothing here counts that."""
    counters.timer_interrupts = u64(0)


@dataclass(frozen=True)
class HostedKernel:
    """serve(memory) serves one model until it is told to shut down; `lanes` do its work."""

    serve: Callable[[HostedMemory], None]
    lanes: Lanes


def make_hosted(spec: EngineSpec, target: Target) -> HostedKernel:
    """Return the kernel of one model for a Linux process. Lane 0 calls `serve`."""
    engine = make_engine(spec)
    service = make_service(engine, (target,), no_hardware_counters, hosted=True)
    run = make_run(service.tasks, heartbeat=False)
    state = service.state
    vector_bytes = target.vector_bytes

    @fn
    def serve(memory: HostedMemory) -> None:
        # SAFETY: the host maps these ranges and keeps them until this function returns.
        with unsafe:
            rings = slice_at(u8, memory.link, LINK_BYTES)
            weights = slice_at(u8, memory.weights, memory.weights_bytes)
            kv_cache = slice_at(u8, memory.kv_cache, memory.kv_cache_bytes)
            activations = slice_at(u8, memory.activations, memory.activations_bytes)
        engine.bind(state, weights, kv_cache, activations)
        report = zeroed(BootReport)
        report.tsc_hz = memory.tsc_hz
        report.vector_bytes = u32(vector_bytes)
        start_link(rings)
        send_frame(MessageType.BOOT, bytes_of(report), link.memory.part(0, 0))
        run()

    return HostedKernel(serve, service.lanes)
