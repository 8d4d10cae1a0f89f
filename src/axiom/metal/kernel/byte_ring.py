"""A ring of bytes in memory that two agents share: one writes, one reads, neither waits for a lock.

HEAD counts the bytes ever written and belongs to the writer; TAIL counts the bytes ever read and belongs to
the reader; both modulo 2**32. The order that makes it right:

- the writer fills bytes, then a release fence, then stores HEAD: who sees the new HEAD sees the bytes;
- the reader loads HEAD, then an acquire fence, then bytes: it reads none that were not yet written;
- the reader is done with bytes, then a release fence, then stores TAIL; the writer loads TAIL, then an
  acquire fence, then overwrites: no byte is overwritten before it was read.

x86 keeps stores in order, and loads in order, so there the fences only hold the compiler. Counters
that the other side has scribbled over cannot lead outside of the ring: every position is taken modulo
its size, and a count beyond the size is `CONTRADICTION`.
"""

from axiom.abi.link import RingControl
from axiom.lang import (
    Slice,
    acquire_fence,
    copy,
    fn,
    minimum,
    release_fence,
    u8,
    u32,
    u64,
    wrapping_add,
    wrapping_sub,
)

CONTRADICTION = (1 << 64) - 1


@fn
def ring_used(control: RingControl, size: u64) -> u64:
    """Return how many bytes wait to be read; CONTRADICTION when the counters cannot be true."""
    used = u64(wrapping_sub(control.HEAD, control.TAIL))
    acquire_fence()
    return u64(CONTRADICTION) if used > size else used


@fn
def ring_free(control: RingControl, size: u64) -> u64:
    """Return how many bytes may be written; 0 when the counters contradict each other."""
    used = ring_used(control, size)
    return u64(0) if used > size else size - used


@fn
def ring_write(data: Slice[u8], position: u32, source: Slice[u8]) -> u32:
    """Copy bytes in from a position, without showing them yet; return the position behind them.

    The caller has checked that so many bytes are free.
    """
    start = u64(position) & (data.length - 1)
    first = minimum(source.length, data.length - start)
    rest = source.length - first
    copy(data.part(start, first), source.part(0, first))
    copy(data.part(0, rest), source.part(first, rest))
    return wrapping_add(position, u32(source.length))


@fn
def ring_publish(control: RingControl, position: u32) -> None:
    """Show the reader everything up to a position."""
    release_fence()
    control.HEAD = position


@fn
def ring_read(control: RingControl, data: Slice[u8], target: Slice[u8]) -> None:
    """Copy waiting bytes out without taking them; the caller has checked that there are enough."""
    start = u64(control.TAIL) & (data.length - 1)
    first = minimum(target.length, data.length - start)
    rest = target.length - first
    copy(target.part(0, first), data.part(start, first))
    copy(target.part(first, rest), data.part(0, rest))


@fn
def ring_take(control: RingControl, count: u64) -> None:
    """Give bytes that were read back to the writer."""
    release_fence()
    control.TAIL = wrapping_add(control.TAIL, u32(count))


@fn
def ring_drop_all(control: RingControl) -> None:
    """Take everything, whatever the counters say."""
    control.TAIL = control.HEAD
