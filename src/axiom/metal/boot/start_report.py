"""The boot report while start-up fills it in, and how start-up ends early."""

from axiom.abi.boot import BootFailure, BootReport, BootStage, ExitCode, RegionKind
from axiom.abi.link import LINK_BYTES, MessageType
from axiom.lang import Slice, bytes_of, fn, slice_at, static_var, u8, u32, unsafe, zeroed
from axiom.metal.arch.power import power_off
from axiom.metal.kernel.clock import now_cycles
from axiom.metal.kernel.frames import region
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
    rings = region(report.regions, RegionKind.LINK)
    if rings.bytes >= LINK_BYTES:
        # SAFETY: the region was carved for the link.
        with unsafe:
            start_link(slice_at(u8, rings.address, LINK_BYTES))
        send_report()
    power_off(ExitCode.REFUSED)


@fn
def send_report() -> None:
    """Send the report over the link, which has been started."""
    send_frame(MessageType.BOOT, bytes_of(report), link.memory.part(0, 0))


@fn
def memory_of(kind: RegionKind) -> Slice[u8]:
    """Return a region's memory."""
    record = region(report.regions, kind)
    # SAFETY: the region was carved for this, is mapped, and is handed out once by kind.
    with unsafe:
        return slice_at(u8, record.address, record.bytes)
