"""The largest of many numbers."""

from axiom.lang import (
    Slice,
    equal,
    f32,
    fn,
    i32,
    lane_numbers,
    maximum,
    reduce_max,
    select,
    splat,
    u32,
    u64,
    urange,
    vload,
)
from axiom.metal.ops.softmax import MINUS_INFINITY

LOWEST_I32 = -(2**31)


@fn
def argmax(x: Slice[f32]) -> u32:
    """Return the index of the largest number, the lowest one of equals; NaN is never the largest.

    0 when there is none. Fewer than 2**31 numbers; no padding is looked at.
    """
    whole = x.length // 16 * 16
    best = splat(f32, 16, MINUS_INFINITY)
    where = lane_numbers(i32, 16)
    for i in urange(u64(0), whole, 16):
        here = vload(x, i, 16)
        where = select(here > best, lane_numbers(i32, 16) + splat(i32, 16, i32(i)), where)
        best = maximum(here, best)
    largest = reduce_max(best)
    # The lowest index is the largest negated one; lanes that hold less take no part.
    candidates = select(equal(best, splat(f32, 16, largest)), -where, splat(i32, 16, LOWEST_I32))
    found = -reduce_max(candidates)
    for i in urange(whole, x.length):
        if x[i] > largest:
            largest = x[i]
            found = i32(i)
    return u32(found)
