"""Integer sums that are floats already: nothing has to be converted.

A sum that starts from the bits of 1.5 * 2^23 is, read as a float, as much more than that as the sum is more
than 0, up to 2^22 either way; a block's is below 2^21. What the start comes to is taken away by the fused
multiplication with a scale. The start times the scale is exact for a scale of up to 22 bits, an f16 or an
integer below 2^22, so that the product is rounded once, as that of the sum itself would be.
"""

from axiom.lang import Vec, bitcast, f32, fma, fn, i32, splat

FLOAT_START = 1.5 * 2.0**23
FLOAT_START_BITS = 0x4B400000


@fn(inline="always")
def start_of(scale: Vec[f32]) -> Vec[f32]:
    """Return what is added to the scale times a sum to take away what its start comes to."""
    return scale * splat(f32, 16, -FLOAT_START)


@fn(inline="always")
def scaled_sum(sums: Vec[i32], scale: Vec[f32]) -> Vec[f32]:
    """Return the scale times what has been added to the start."""
    return fma(bitcast(f32, sums), scale, start_of(scale))


@fn(inline="always")
def float_sum(sums: Vec[i32]) -> Vec[f32]:
    """Return what has been added to the start."""
    return bitcast(f32, sums) - splat(f32, 16, FLOAT_START)
