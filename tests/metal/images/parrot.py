"""An image that answers over the link: it repeats the prompt of START as logits and counts its frames.

`make_parrot(serial)` gives its functions; the link region lies at a fixed place of the boot map.
"""

from typing import Any

from axiom.abi.boot import BootReport, Counters, ExitCode
from axiom.abi.link import (
    LINK_BYTES,
    ErrorCode,
    LogitsMessage,
    MessageType,
    StartMessage,
)
from axiom.lang import bytes_of, fn, size_of, slice_at, u8, u16, u32, u64, unsafe, zeroed
from axiom.metal.arch.power import power_off
from axiom.metal.arch.uart import COM1, COM2, uart_start
from axiom.metal.kernel.clock import start_clock
from axiom.metal.kernel.link import link, payload, poll_frame, send_error, send_frame, start_link
from axiom.metal.kernel.serial_link import serial_link_step

LINK_ADDRESS = 16 << 20


def make_parrot(serial: bool) -> list[Any]:
    """Return the image's functions, for a link in memory or over COM2."""
    start_bytes = size_of(StartMessage)

    @fn
    def carry() -> None:
        """Over a serial port, move what there is to move."""
        if serial:
            serial_link_step()

    @fn
    def send_report() -> None:
        report = zeroed(BootReport)
        report.vector_bytes = u32(123)
        assert send_frame(MessageType.BOOT, bytes_of(report), link.memory.part(0, 0)), "no room"

    @fn
    def send_counters() -> None:
        counters = zeroed(Counters)
        counters.frames_received = link.received
        counters.frames_bad = link.bad
        while not send_frame(MessageType.COUNTERS, bytes_of(counters), link.memory.part(0, 0)):
            carry()

    @fn
    def repeat() -> None:
        data = payload()
        prompt = data.part(start_bytes, data.length - start_bytes)
        message = LogitsMessage(
            sequence_id=u32(1), index=u32(0), first=u32(0), count=u32(prompt.length // 4)
        )
        while not send_frame(MessageType.LOGITS, bytes_of(message), prompt):
            carry()

    @fn
    def answer() -> None:
        if link.kind == MessageType.START.value:
            repeat()
        elif link.kind == MessageType.STATISTICS.value:
            send_counters()
        else:
            send_error(ErrorCode.UNKNOWN_MESSAGE, u32(0), u64(link.kind))

    @fn(export="axiom_main")
    def main(start_info: u64) -> None:
        uart_start(u16(COM1))
        uart_start(u16(COM2))
        assert start_clock(), "no clock"
        # SAFETY: the address is RAM that nothing else uses.
        with unsafe:
            start_link(slice_at(u8, u64(LINK_ADDRESS), LINK_BYTES))
        send_report()
        while link.kind != MessageType.SHUTDOWN.value:
            carry()
            if poll_frame() and link.kind != MessageType.SHUTDOWN.value:
                answer()
        if serial:
            while serial_link_step():
                pass
        power_off(ExitCode.OK)

    @fn(export="axiom_run")
    def run() -> None:
        power_off(ExitCode.OK)

    return [main, run]
