"""Gather one row of a packed matrix: the embedding of a token."""

from axiom.lang import (
    Slice,
    f16,
    f32,
    fn,
    i32,
    load_bytes,
    size_of,
    static,
    u8,
    u64,
    urange,
)
from axiom.metal.ops.matrix import Q4_BLOCK_BYTES, Q8_BLOCK_BYTES, Matrix


@fn
def embed_row(matrix: Matrix, weights: Slice[u8], row: u64, out: Slice[f32]) -> None:
    """Write the `columns` numbers of one row to out, each f32(d) * f32(q) or converted to f32."""
    group = weights.part(row // 16 * matrix.group_bytes, matrix.group_bytes)
    if matrix.layout == "q8_0x16":
        embed_q8_0x16(matrix, group, row % 16, out)
    elif matrix.layout == "q4_0x16":
        embed_q4_0x16(matrix, group, row % 16, out)
    elif matrix.layout == "f16x16":
        embed_float(f16, matrix, group, row % 16, out)
    else:
        embed_float(f32, matrix, group, row % 16, out)


@fn
def embed_q8_0x16(matrix: Matrix, group: Slice[u8], lane: u64, out: Slice[f32]) -> None:
    """Gather a row of 8-bit weights; `lane` is the row within the group."""
    for b in urange(matrix.n_blocks):
        block = group.part(b * Q8_BLOCK_BYTES, Q8_BLOCK_BYTES)
        target = out.part(b * 32, 32)
        scale = f32(load_bytes(f16, block, lane * 2))
        for v in urange(8):
            quants = block.part(v * 64 + lane * 4 + 32, 4)
            for e in static(range(4)):
                target[v * 4 + e] = f32(i32(quants[e]) - 128) * scale


@fn
def embed_q4_0x16(matrix: Matrix, group: Slice[u8], lane: u64, out: Slice[f32]) -> None:
    """Gather a row of 4-bit weights; `lane` is the row within the group."""
    for b in urange(matrix.n_blocks):
        block = group.part(b * Q4_BLOCK_BYTES, Q4_BLOCK_BYTES)
        target = out.part(b * 32, 32)
        scale = f32(load_bytes(f16, block, lane * 2))
        for v in urange(4):
            quants = block.part(v * 64 + lane * 4 + 32, 4)
            for e in static(range(4)):
                target[v * 4 + e] = f32(i32(quants[e] & 15) - 8) * scale
                target[v * 4 + (16 + e)] = f32(i32(quants[e] >> 4) - 8) * scale


@fn
def embed_float(
    element: type[f16] | type[f32], matrix: Matrix, group: Slice[u8], lane: u64, out: Slice[f32]
) -> None:
    """Gather a row in f16 or f32; `lane` is the row within the group."""
    for k in urange(matrix.columns):
        out[k] = f32(load_bytes(element, group, (k * 16 + lane) * size_of(element)))
