"""Sixteen weights of a float layout."""

from axiom.lang import Slice, Vec, bitcast, convert, f16, f32, fn, u8, u16, u32, vload_bytes
from axiom.metal.ops.matrix import Matrix


@fn(inline="always")
def floats_of(matrix: Matrix, w: Slice[u8], number: int) -> Vec[f32]:
    """Return the 16 rows of the column `number` of a part, as f32, exactly."""
    if matrix.layout == "f32x16":
        return vload_bytes(f32, 16, w, 64 * number)
    if matrix.layout == "f16x16":
        return convert(f32, vload_bytes(f16, 16, w, 32 * number))
    # bf16: the upper half of an f32.
    return bitcast(f32, convert(u32, vload_bytes(u16, 16, w, 32 * number)) << 16)
