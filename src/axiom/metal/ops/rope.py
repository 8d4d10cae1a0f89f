"""Rotary position embedding of interleaved pairs: (x[2i], x[2i+1]) turns by position * frequency[i].

The tables hold two numbers per pair, ready for the two lanes: cosines c, c and sines -s, +s.
"""

from axiom.lang import (
    Slice,
    convert,
    equal,
    f32,
    f64,
    fma,
    fn,
    i32,
    lane_numbers,
    select,
    shuffle,
    splat,
    static,
    u64,
    urange,
    vload,
    vstore,
)
from axiom.metal.ops.vector_math import cosine, sine

TWICE = (0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7)
SWAPPED = (1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14)


@fn
def rope_tables(frequencies: Slice[f64], position: u64, cosines: Slice[f32], sines: Slice[f32]) -> None:
    """Compute the tables of one position.

    frequencies: head_dim / 2 inverse frequencies, padded to a multiple of 8. cosines, sines: twice
    as many numbers. The angle is the f64 product, sine and cosine are rounded once to f32.
    """
    at = splat(f64, 8, f64(position))
    odd = lane_numbers(i32, 16) & 1
    for i in urange(0, frequencies.length, 8):
        angles = vload(frequencies, i, 8) * at
        c = shuffle(convert(f32, cosine(angles)), TWICE)
        s = shuffle(convert(f32, sine(angles)), TWICE)
        vstore(cosines, i * 2, c)
        vstore(sines, i * 2, select(equal(odd, splat(i32, 16, 0)), -s, s))


@fn
def rope(x: Slice[f32], cosines: Slice[f32], sines: Slice[f32], n_heads: int, head_dim: int) -> None:
    """Turn n_heads vectors of head_dim numbers in place: x = fma(x, cosine, swapped(x) * sine)."""
    for head in urange(n_heads):
        numbers = x.part(head * head_dim, head_dim)
        for i in urange(0, head_dim // 16 * 16, 16):
            pairs = vload(numbers, i, 16)
            turned = shuffle(pairs, SWAPPED) * vload(sines, i, 16)
            vstore(numbers, i, fma(pairs, vload(cosines, i, 16), turned))
        for i in static(range(head_dim // 16 * 16, head_dim, 2)):
            even = numbers[i]
            odd = numbers[i + 1]
            numbers[i] = fma(even, cosines[i], odd * sines[i])
            numbers[i + 1] = fma(odd, cosines[i + 1], even * sines[i + 1])
