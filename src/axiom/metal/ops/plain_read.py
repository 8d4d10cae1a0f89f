"""Read memory and do next to nothing with it: what the bandwidth of everything else is measured against."""

from axiom.lang import Slice, fn, i32, prefetch, reduce_add, splat, static, u8, u64, urange, vload_bytes
from axiom.metal.ops.ahead import SUPER_AHEAD_BYTES

BLOCK_BYTES = 256


@fn
def plain_read(memory: Slice[u8]) -> i32:
    """Return the wrapping sum of all 32-bit words. A multiple of 256 bytes is read, the rest is left."""
    return sum_words(memory, 0)


@fn
def read_ahead(memory: Slice[u8]) -> i32:
    """Return what `plain_read` does; memory is asked for ahead of the walk, as `gemv` does it."""
    return sum_words(memory, SUPER_AHEAD_BYTES)


@fn(inline="always")
def sum_words(memory: Slice[u8], ahead_bytes: int) -> i32:
    """Read all. ahead_bytes: how far ahead of the walk memory is asked for; 0: not at all."""
    a0 = splat(i32, 16, 0)
    a1 = splat(i32, 16, 0)
    a2 = splat(i32, 16, 0)
    a3 = splat(i32, 16, 0)
    for block in urange(u64(0), memory.length // BLOCK_BYTES):
        part = memory.part(block * BLOCK_BYTES, BLOCK_BYTES)
        if ahead_bytes > 0:
            for line in static(range(0, BLOCK_BYTES, 64)):
                prefetch(part, ahead_bytes + line)
        a0 = a0 + vload_bytes(i32, 16, part, 0)
        a1 = a1 + vload_bytes(i32, 16, part, 64)
        a2 = a2 + vload_bytes(i32, 16, part, 128)
        a3 = a3 + vload_bytes(i32, 16, part, 192)
    return reduce_add((a0 + a1) + (a2 + a3))
