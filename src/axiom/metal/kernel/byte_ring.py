"""A ring of bytes in memory that two agents share: one writes, one reads, neither waits for a lock.

HEAD counts the bytes ever written and belongs to the writer; TAIL counts the bytes ever read and belongs to
the reader. The writer fills bytes, then a release fence, then HEAD; the reader reads HEAD, then an
acquire fence, then bytes, then TAIL. On x86 stores are seen in order and so the fences only hold
the compiler. Counters that the other side has scribbled over cannot lead outside of the ring: the
length is checked against its size before anything is touched.
"""

from axiom.abi.link import RingControl
from axiom.lang import (
    Slice,
    acquire_fence,
    copy,
    fn,
    release_fence,
    u8,
    u32,
    u64,
    wrapping_add,
    wrapping_sub,
)


@fn
def ring_used(control: RingControl, size: u64) -> u64:
    """Return how many bytes wait to be read; 0 when the counters contradict each other."""
    used = u64(wrapping_sub(control.HEAD, control.TAIL))
    if used > size:
        return u64(0)
    return used


@fn
def ring_write(data: Slice[u8], position: u32, source: Slice[u8]) -> u32:
    """Copy bytes in from a position, without showing them yet; return the position behind them."""
    size = data.length
    start = u64(position) & (size - 1)
    first = source.length
    if first > size - start:
        first = size - start
    copy(data.part(start, first), source.part(0, first))
    copy(data.part(0, source.length - first), source.part(first, source.length - first))
    return wrapping_add(position, u32(source.length))


@fn
def ring_publish(control: RingControl, position: u32) -> None:
    """Show the reader everything up to a position."""
    release_fence()
    control.HEAD = position


@fn
def ring_read(control: RingControl, data: Slice[u8], target: Slice[u8]) -> None:
    """Copy waiting bytes out without taking them; the caller has checked that there are enough."""
    acquire_fence()
    size = data.length
    start = u64(control.TAIL) & (size - 1)
    first = target.length
    if first > size - start:
        first = size - start
    copy(target.part(0, first), data.part(start, first))
    copy(target.part(first, target.length - first), data.part(0, target.length - first))


@fn
def ring_take(control: RingControl, count: u64) -> None:
    """Give bytes that were read back to the writer."""
    release_fence()
    control.TAIL = wrapping_add(control.TAIL, u32(count))
