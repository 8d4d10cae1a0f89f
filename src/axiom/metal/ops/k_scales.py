"""The scales and minimums of a super-block's blocks, for sixteen rows. Read `matrix` first."""

from axiom.lang import Slice, Vec, bitcast, convert, f32, fn, i8, i16, i32, u8, u64, vload_bytes


@fn(inline="always")
def k_scale(w: Slice[u8], b: u64) -> Vec[f32]:
    """Return the scale of block b in each row."""
    return convert(f32, convert(i32, vload_bytes(u8, 16, w, b * 16 + 64)))


@fn(inline="always")
def k_minimum(w: Slice[u8], b: u64) -> Vec[f32]:
    """Return the minimum of block b in each row."""
    return convert(f32, convert(i32, vload_bytes(u8, 16, w, b * 16 + 192)))


@fn(inline="always")
def k_factors(w: Slice[u8], b: u64) -> Vec[i16]:
    """Return the scale of block b in each row, twice."""
    scales = convert(i32, vload_bytes(u8, 16, w, b * 16 + 64))
    return bitcast(i16, scales | (scales << 16))


@fn(inline="always")
def q6_k_scale(w: Slice[u8], half: u64) -> Vec[f32]:
    """Return the scale of half a block in each row."""
    return convert(f32, convert(i32, vload_bytes(i8, 16, w, half * 16 + 32)))


@fn(inline="always")
def q6_k_factors(w: Slice[u8], half: u64) -> Vec[i16]:
    """Return the scale of half a block in each row, twice."""
    scales = convert(i32, vload_bytes(i8, 16, w, half * 16 + 32))
    return bitcast(i16, (scales & 0xFFFF) | (scales << 16))


@fn(inline="always")
def q6_k_offsets(w: Slice[u8], b: u64) -> Vec[i16]:
    """Return minus the scales of block b's halves in each row: what sums of activations count, 32 times."""
    first = -convert(i32, vload_bytes(i8, 16, w, b * 32 + 32))
    second = -convert(i32, vload_bytes(i8, 16, w, b * 32 + 48))
    return bitcast(i16, (first & 0xFFFF) | (second << 16))
