"""The 16550 serial port, polled. Source: National Semiconductor PC16550D data sheet, section 8.

It sits in `arch` because the panic path needs it whatever else is broken. The transmitter's FIFO takes 16
bytes once it is empty, so the line status is read once per 16 bytes: each port access may cost
tens of microseconds in a virtual machine.
"""

from axiom.lang import Slice, fn, u8, u16, u64, urange
from axiom.metal.arch.ports import in8, out8
from axiom.metal.arch.processor import pause, read_cycles

COM1 = 0x3F8
COM2 = 0x2F8
LINE_STATUS = 5
HOLDING_EMPTY = 0x20
TRANSMITTER_EMPTY = 0x40
DATA_READY = 0x01
FIFO_BYTES = 16
GIVE_UP_CYCLES = 200_000_000


@fn
def uart_start(base: u16) -> None:
    """Set 115200 baud, 8 bits, no parity, one stop bit, FIFO on, no interrupts."""
    out8(base + 1, u8(0))
    out8(base + 3, u8(0x80))
    out8(base, u8(1))
    out8(base + 1, u8(0))
    out8(base + 3, u8(3))
    out8(base + 2, u8(0xC7))


@fn
def _wait(base: u16, status: u8) -> bool:
    start = read_cycles()
    while in8(base + LINE_STATUS) & status == 0:
        if read_cycles() - start > GIVE_UP_CYCLES:
            return False
        pause()
    return True


@fn
def uart_drain(base: u16) -> bool:
    """Wait until everything has left the port; False when it does not in time."""
    return _wait(base, u8(TRANSMITTER_EMPTY))


@fn
def uart_write(base: u16, data: Slice[u8]) -> bool:
    """Send bytes; False when the transmitter does not empty in time (the rest is dropped)."""
    sent = u64(0)
    while sent < data.length:
        if not _wait(base, u8(HOLDING_EMPTY)):
            return False
        count = data.length - sent
        if count > FIFO_BYTES:
            count = u64(FIFO_BYTES)
        for i in urange(count):
            out8(base, data[sent + i])
        sent += count
    return True


@fn
def uart_read(base: u16, data: Slice[u8]) -> u64:
    """Take the bytes that have arrived, at most as many as fit; never waits."""
    taken = u64(0)
    while taken < data.length and in8(base + LINE_STATUS) & DATA_READY != 0:
        data[taken] = in8(base)
        taken += 1
    return taken
