"""The link over a serial port, where host and kernel share no memory.

The rings of the link region stay as they are: this task plays the host's part in them and moves the bytes
to and from the port, a few at a time, never waiting. A serial line loses and damages bytes; `link` finds
the next good frame by itself. The port is two functions given when the image is built, so that tests
can put another carrier in its place.
"""

from collections.abc import Callable

from axiom.abi.link import (
    REPLY_BYTES,
    REPLY_CONTROL_OFFSET,
    REPLY_OFFSET,
    REQUEST_BYTES,
    REQUEST_CONTROL_OFFSET,
    REQUEST_OFFSET,
    RingControl,
)
from axiom.lang import Slice, fn, minimum, struct_in, u8, u16, u32, u64, urange, wrapping_add
from axiom.metal.arch.ports import in8, out8
from axiom.metal.arch.uart import COM2, FIFO_BYTES, HOLDING_EMPTY, LINE_STATUS, uart_read
from axiom.metal.kernel.byte_ring import ring_free, ring_publish, ring_take, ring_used
from axiom.metal.kernel.link import link

MOVE_BYTES = 64


@fn
def com2_receive(target: Slice[u8]) -> u64:
    """Take bytes that COM2 has received; return how many."""
    return uart_read(u16(COM2), target)


@fn
def com2_transmit(source: Slice[u8]) -> u64:
    """Give COM2 as many bytes as its FIFO takes now; return how many."""
    port = u16(COM2)
    if in8(port + LINE_STATUS) & HOLDING_EMPTY == 0:
        return u64(0)
    count = minimum(source.length, u64(FIFO_BYTES))
    for i in urange(count):
        out8(port, source[i])
    return count


def make_serial_link(
    receive: Callable[[Slice[u8]], u64], transmit: Callable[[Slice[u8]], u64]
) -> Callable[[], bool]:
    """Return the task's step for a port: it tells whether it moved a byte.

    receive(target) takes bytes that have arrived, transmit(source) gives bytes away; both return how
    many and never wait.
    """

    @fn
    def move_in() -> bool:
        control = struct_in(RingControl, link.memory, REQUEST_CONTROL_OFFSET)
        ring = link.memory.part(REQUEST_OFFSET, REQUEST_BYTES)
        start = u64(control.HEAD) & (REQUEST_BYTES - 1)
        room = minimum(ring_free(control, u64(REQUEST_BYTES)), REQUEST_BYTES - start)
        count = receive(ring.part(start, minimum(room, u64(MOVE_BYTES))))
        if count == 0:
            return False
        ring_publish(control, wrapping_add(control.HEAD, u32(count)))
        return True

    @fn
    def move_out() -> bool:
        control = struct_in(RingControl, link.memory, REPLY_CONTROL_OFFSET)
        ring = link.memory.part(REPLY_OFFSET, REPLY_BYTES)
        start = u64(control.TAIL) & (REPLY_BYTES - 1)
        waiting = minimum(ring_used(control, u64(REPLY_BYTES)), REPLY_BYTES - start)
        if waiting == 0:
            return False
        count = transmit(ring.part(start, minimum(waiting, u64(MOVE_BYTES))))
        ring_take(control, count)
        return count > 0

    @fn
    def move() -> bool:
        moved_in = move_in()
        moved_out = move_out()
        return moved_in or moved_out

    return move


serial_link_step = make_serial_link(com2_receive, com2_transmit)
