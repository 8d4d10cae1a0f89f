"""The boot report while start-up fills it in, and how start-up ends early."""

from axiom.abi.boot import BootFailure, BootReport, BootStage, ExitCode, RegionKind
from axiom.abi.link import LINK_BYTES, MessageType
from axiom.lang import bytes_of, fn, static_var, u32, zeroed
from axiom.metal.arch.power import power_off
from axiom.metal.kernel.clock import now_cycles
from axiom.metal.kernel.frames import memory_of, regions
from axiom.metal.kernel.link import link, send_frame, start_link
from axiom.metal.kernel.refusal import write_refusal

report = static_var(zeroed(BootReport), align=64)


@fn
def reached(stage: BootStage) -> None:
    """Note when a stage was reached."""
    report.stage_cycles[u32(stage)] = now_cycles()


@fn
def refuse(failure: BootFailure, detail: u32) -> None:
    """Say why the kernel does not start, on the serial line and, where there is one, the link; leave."""
    report.failure = failure
    report.failure_detail = detail
    write_refusal(failure, detail)
    rings = memory_of(RegionKind.LINK)
    if rings.length >= LINK_BYTES:
        start_link(rings)
        send_report()
    power_off(ExitCode.REFUSED)


@fn
def send_report() -> None:
    """Send the report over the link, which has been started."""
    report.regions = regions
    send_frame(MessageType.BOOT, bytes_of(report), link.memory.part(0, 0))
