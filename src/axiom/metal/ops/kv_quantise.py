"""Keys and values as blocks of at most 32 signed bytes with one f16 scale.

The scale d is amax / 127, at most 65504, rounded to f16; q = round_to_even(x * (1 / d)) within -127 and
127; where d is zero, so are all q. The rounded scale is what the numbers are divided by: then they are as
near as bytes allow even where f16 has few digits left. A NaN is stored as 0. Nothing depends on an order.
"""

from axiom.lang import (
    Slice,
    absolute,
    array,
    convert,
    f16,
    f32,
    fn,
    i8,
    i32,
    load_bytes,
    maximum,
    minimum,
    reduce_max,
    round_even,
    select,
    splat,
    static,
    store_bytes,
    u8,
    u64,
    vload,
    vload_bytes,
    vstore,
    vstore_bytes,
)
from axiom.metal.ops.matrix import round_up

LARGEST_F16 = 65504.0


@fn(inline="always")
def read_block(numbers: Slice[f32], first: int, count: int, out: Slice[f32]) -> None:
    """Copy `count` numbers into 32 that are zero; a NaN becomes zero."""
    for i in static(range(0, count // 16 * 16, 16)):
        part = vload(numbers, first + i, 16)
        number = absolute(part) <= splat(f32, 16, float("inf"))
        vstore(out, i, select(number, part, splat(f32, 16, 0.0)))
    for i in static(range(count // 16 * 16, count)):
        if absolute(numbers[first + i]) <= float("inf"):
            out[i] = numbers[first + i]


@fn(inline="always")
def quantise_block(numbers: Slice[f32], quants: Slice[u8]) -> f16:
    """Set the 32 signed bytes of 32 numbers, and return their scale."""
    first = vload(numbers, 0, 16)
    second = vload(numbers, 16, 16)
    amax = reduce_max(maximum(absolute(first), absolute(second)))
    scale = f16(minimum(amax / 127.0, f32(LARGEST_F16)))
    inverse = f32(0.0)
    if f32(scale) > 0.0:
        inverse = f32(1.0) / f32(scale)
    factor = splat(f32, 16, inverse)
    low = splat(f32, 16, -127.0)
    high = splat(f32, 16, 127.0)
    for i in static(range(2)):
        scaled = round_even(vload(numbers, 16 * i, 16) * factor)
        vstore_bytes(quants, 16 * i, convert(i8, convert(i32, minimum(maximum(scaled, low), high))))
    return scale


@fn
def store_key_q8(head_dim: int, tile: Slice[u8], place: u64, key: Slice[f32]) -> None:
    """Store a key at its place in a tile (see `kv_layout`)."""
    for start in static(range(0, head_dim, 32)):
        count = min(32, head_dim - start)
        numbers = array(f32, 32)
        quants = array(u8, 32)
        read_block(key, start, count, numbers.all)
        scale = quantise_block(numbers.all, quants.all)
        block = tile.part(start // 32 * 544, 32 + round_up(count, 4) * 16)
        store_bytes(block, place * 2, scale)
        for i in static(range(2)):
            vstore_bytes(quants.all, 16 * i, vload_bytes(u8, 16, quants.all, 16 * i) ^ 128)
        for v in static(range(round_up(count, 4) // 4)):
            store_bytes(block, place * 4 + (32 + 64 * v), load_bytes(i32, quants.all, 4 * v))


@fn
def store_value_q8(head_dim: int, tile: Slice[u8], place: u64, value: Slice[f32]) -> None:
    """Store a value at its place in a tile (see `kv_layout`)."""
    for start in static(range(0, head_dim, 32)):
        count = min(32, head_dim - start)
        columns = round_up(count, 16)
        numbers = array(f32, 32)
        quants = array(u8, 32)
        read_block(value, start, count, numbers.all)
        scale = quantise_block(numbers.all, quants.all)
        block = tile.part(start // 32 * 544, 32 + columns * 16)
        store_bytes(block, place * 2, scale)
        for i in static(range(0, columns, 16)):
            vstore_bytes(block, place * columns + (32 + i), vload_bytes(u8, 16, quants.all, i))
