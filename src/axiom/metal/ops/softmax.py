"""Softmax over numbers whose padding is minus infinity."""

from axiom.lang import Slice, f32, fn, maximum, reduce_add, reduce_max, splat, urange, vload, vstore
from axiom.metal.ops.vector_math import exp

MINUS_INFINITY = float("-inf")


@fn
def softmax_numerators(x: Slice[f32]) -> f32:
    """Set x[i] = exp(x[i] - max(x)) and return their sum, the denominator.

    x is a multiple of 16 numbers; those that do not count are minus infinity and become 0. Lane l
    sums x[l], x[l + 16], ... in order; the lanes are added pairwise.
    """
    largest = splat(f32, 16, MINUS_INFINITY)
    for i in urange(0, x.length, 16):
        largest = maximum(vload(x, i, 16), largest)
    shift = splat(f32, 16, reduce_max(largest))
    total = splat(f32, 16, 0.0)
    for i in urange(0, x.length, 16):
        numerators = exp(vload(x, i, 16) - shift)
        vstore(x, i, numerators)
        total = total + numerators
    return reduce_add(total)
