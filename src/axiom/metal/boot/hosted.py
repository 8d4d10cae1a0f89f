"""The kernel's service inside a Linux process: the control arm, and the target for fast tests.

The same tasks, engine and link as on metal; the memory comes from the process instead of from firmware.
"""

from collections.abc import Callable
from dataclasses import dataclass

from axiom.abi.boot import BootReport, Counters
from axiom.abi.link import MessageType
from axiom.lang import Slice, Target, bytes_of, fn, u8, u32, u64, zeroed
from axiom.metal.boot.service import make_service
from axiom.metal.engine.engine import make_engine
from axiom.metal.engine.spec import EngineSpec
from axiom.metal.kernel.lanes import Lanes
from axiom.metal.kernel.link import link, send_frame, start_link
from axiom.metal.kernel.scheduler import make_run


@fn
def no_hardware_counters(counters: Counters) -> None:
    """A process is interrupted as its kernel pleases; nothing here counts that."""
    counters.timer_interrupts = u64(0)


@dataclass(frozen=True)
class HostedKernel:
    """serve(rings, weights, kv_cache, activations, tsc_hz) serves one model until it is told to shut down.

    `lanes` do its work. The process keeps the four ranges, which do not overlap, until `serve` has ended;
    tsc_hz: how fast its cycle counter runs.
    """

    serve: Callable[[Slice[u8], Slice[u8], Slice[u8], Slice[u8], u64], None]
    lanes: Lanes


def make_hosted(spec: EngineSpec, target: Target) -> HostedKernel:
    """Return the kernel of one model for a Linux process. Lane 0 calls `serve`."""
    engine = make_engine(spec)
    service = make_service(engine, (target,), no_hardware_counters, hosted=True)
    run = make_run(service.tasks, heartbeat=False)
    state = service.state
    vector_bytes, n_lanes = target.vector_bytes, spec.n_lanes

    @fn
    def serve(
        rings: Slice[u8], weights: Slice[u8], kv_cache: Slice[u8], activations: Slice[u8], tsc_hz: u64
    ) -> None:
        engine.bind(state, weights, kv_cache, activations)
        report = zeroed(BootReport)
        report.tsc_hz = tsc_hz
        report.vector_bytes = u32(vector_bytes)
        report.n_lanes = u32(n_lanes)
        start_link(rings)
        send_frame(MessageType.BOOT, bytes_of(report), link.memory.part(0, 0))
        run()

    return HostedKernel(serve, service.lanes)
