"""Read memory and do next to nothing with it: what the bandwidth of everything else is measured against."""

from axiom.lang import Slice, fn, i32, reduce_add, splat, u8, u64, urange, vload_bytes


@fn
def plain_read(memory: Slice[u8]) -> i32:
    """Return the wrapping sum of all 32-bit words. A multiple of 256 bytes is read, the rest is left."""
    a0 = splat(i32, 16, 0)
    a1 = splat(i32, 16, 0)
    a2 = splat(i32, 16, 0)
    a3 = splat(i32, 16, 0)
    for block in urange(u64(0), memory.length // 256):
        part = memory.part(block * 256, 256)
        a0 = a0 + vload_bytes(i32, 16, part, 0)
        a1 = a1 + vload_bytes(i32, 16, part, 64)
        a2 = a2 + vload_bytes(i32, 16, part, 128)
        a3 = a3 + vload_bytes(i32, 16, part, 192)
    return reduce_add((a0 + a1) + (a2 + a3))
