"""Matrix times a batch of vectors: what `gemv` does, for several tokens at once.

Each token's sums are made in the order of `gemv`, so that a batch has the bits of one token at a time. A
row group is multiplied by a tile of tokens before the next one: its weights come from memory once, are
unpacked once per tile, and then stay in a cache. The sums of a tile stay in registers.
"""

from axiom.lang import (
    Slice,
    array,
    bitcast,
    convert,
    current_target,
    f16,
    f32,
    fma,
    fn,
    i8,
    i32,
    load_bytes,
    minimum,
    splat,
    static,
    u8,
    u64,
    urange,
    vload,
    vload_bytes,
    vstore,
)
from axiom.metal.arch.simd import dot4, dot4_small
from axiom.metal.ops.floats import floats_of
from axiom.metal.ops.gemm_k import tile_q6_k, tile_with_minimums
from axiom.metal.ops.matrix import (
    BLOCK_COLUMNS,
    NIBBLE_BLOCKS,
    Q8_BLOCK_BYTES,
    Matrix,
    NibbleBlock,
    round_up,
)
from axiom.metal.ops.nibbles import nibble_quants, nibble_start, nibble_sum
from axiom.metal.ops.quantise import BLOCK_BYTES, OFFSET_128_AT, SCALE_AT

# Tokens in a tile, by what fits the registers: of 32 with 16 lanes each a token of quantised weights takes
# two, one of super-blocks three and one of floats four; of 16 with 8 lanes they take twice as many.
WIDE_TILES = (12, 4, 1)
WIDE_FLOAT_TILES = (6, 2, 1)
WIDE_SUPER_TILES = (8, 4, 1)
NARROW_TILES = (2, 1)


def tiles_for(matrix: Matrix, wide: bool) -> tuple[int, ...]:
    """Return the tiles, largest first, for a processor with wide registers or without."""
    if not wide:
        return NARROW_TILES
    if not matrix.quantised:
        return WIDE_FLOAT_TILES
    return WIDE_TILES if matrix.unit_columns == BLOCK_COLUMNS else WIDE_SUPER_TILES


def activation_row_bytes(matrix: Matrix) -> int:
    """Return the bytes from one token's activations to the next."""
    if matrix.quantised:
        return matrix.n_blocks * BLOCK_BYTES
    return round_up(matrix.columns, 16) * 4


@fn
def gemm(
    matrix: Matrix,
    weights: Slice[u8],
    activations: Slice[u8],
    out: Slice[f32],
    first_group: u64,
    last_group: u64,
    n_tokens: u64,
    out_stride: int,
) -> None:
    """Compute out[t * out_stride + row] for row groups [first_group, last_group) and all tokens.

    weights: the packed matrix. activations: n_tokens rows of `activation_row_bytes`, each as for `gemv`.
    out: n_tokens rows of out_stride numbers, at least the matrix's rows padded to a multiple of 16.
    """
    for g in urange(first_group, last_group):
        group = weights.part(g * matrix.group_bytes, matrix.group_bytes)
        if current_target().many_registers:
            gemm_group(tiles_for(matrix, True), matrix, group, activations, out, g, n_tokens, out_stride)
        else:
            gemm_group(tiles_for(matrix, False), matrix, group, activations, out, g, n_tokens, out_stride)


@fn(inline="always")
def gemm_group(
    tiles: tuple[int, ...],
    matrix: Matrix,
    group: Slice[u8],
    activations: Slice[u8],
    out: Slice[f32],
    g: u64,
    n_tokens: u64,
    out_stride: int,
) -> None:
    """Multiply one row group by all tokens, in the largest tiles that are no more than the tokens.

    What is left over is done once more together with tokens before it: that costs less than small tiles.
    """
    token = u64(0)
    for tile in static(tiles):
        if n_tokens >= tile:
            while token < n_tokens:
                first = minimum(token, n_tokens - tile)
                gemm_tile(matrix, group, activations, out, g, first, out_stride, tile)
                token = first + tile


@fn(inline="always")
def gemm_tile(
    matrix: Matrix,
    group: Slice[u8],
    activations: Slice[u8],
    out: Slice[f32],
    g: u64,
    token: u64,
    out_stride: int,
    tile: int,
) -> None:
    """Multiply one row group by the tokens from `token` on."""
    row_bytes = activation_row_bytes(matrix)
    rows = activations.part(token * row_bytes, tile * row_bytes)
    sums = array(f32, 16 * tile)
    if matrix.layout == "q8_0x16":
        tile_q8_0x16(matrix, group, rows, sums.all, row_bytes, tile)
    elif matrix.layout in NIBBLE_BLOCKS:
        tile_nibbles(NIBBLE_BLOCKS[matrix.layout], matrix, group, rows, sums.all, row_bytes, tile)
    elif matrix.layout == "q6_kx16":
        tile_q6_k(matrix, group, rows, sums.all, row_bytes, tile)
    elif matrix.quantised:
        tile_with_minimums(matrix, group, rows, sums.all, row_bytes, tile)
    else:
        tile_float(matrix, group, rows, sums.all, row_bytes, tile)
    for t in static(range(tile)):
        vstore(out, (token + t) * out_stride + g * 16, vload(sums.all, 16 * t, 16))


@fn(inline="always")
def scale_dots(block: Slice[u8], row: Slice[u8], dots: Slice[i32], sums: Slice[f32], at: int) -> None:
    """Add a block's exact integer sums, times both scales, to the sums of one token."""
    scale = convert(f32, vload_bytes(f16, 16, block, 0)) * splat(f32, 16, load_bytes(f32, row, SCALE_AT))
    vstore(sums, at, fma(convert(f32, vload(dots, at, 16)), scale, vload(sums, at, 16)))


@fn(inline="always")
def tile_q8_0x16(
    matrix: Matrix, group: Slice[u8], rows: Slice[u8], sums: Slice[f32], row_bytes: int, tile: int
) -> None:
    """Multiply by 8-bit weights."""
    dots = array(i32, 16 * tile)
    for b in urange(matrix.n_blocks):
        w = group.part(b * Q8_BLOCK_BYTES, Q8_BLOCK_BYTES)
        for t in static(range(tile)):
            x = rows.part(b * BLOCK_BYTES + t * row_bytes, BLOCK_BYTES)
            vstore(dots.all, 16 * t, splat(i32, 16, load_bytes(i32, x, OFFSET_128_AT)))
        for v in static(range(8)):
            weights = vload_bytes(u8, 64, w, 32 + 64 * v)
            for t in static(range(tile)):
                x = rows.part(b * BLOCK_BYTES + t * row_bytes, BLOCK_BYTES)
                quants = bitcast(i8, splat(i32, 16, load_bytes(i32, x, 4 * v)))
                vstore(dots.all, 16 * t, dot4(vload(dots.all, 16 * t, 16), weights, quants))
        for t in static(range(tile)):
            x = rows.part(b * BLOCK_BYTES + t * row_bytes, BLOCK_BYTES)
            scale_dots(w, x, dots.all, sums, 16 * t)


@fn(inline="always")
def tile_nibbles(
    form: NibbleBlock,
    matrix: Matrix,
    group: Slice[u8],
    rows: Slice[u8],
    sums: Slice[f32],
    row_bytes: int,
    tile: int,
) -> None:
    """Multiply by weights in nibbles, with a fifth bit or without."""
    dots = array(i32, 16 * tile)
    for b in urange(matrix.n_blocks):
        w = group.part(b * form.bytes, form.bytes)
        for t in static(range(tile)):
            x = rows.part(b * BLOCK_BYTES + t * row_bytes, BLOCK_BYTES)
            vstore(dots.all, 16 * t, nibble_start(form, x))
        for v in static((0, 4, 1, 5, 2, 6, 3, 7)):
            weights = nibble_quants(form, w, v)
            for t in static(range(tile)):
                x = rows.part(b * BLOCK_BYTES + t * row_bytes, BLOCK_BYTES)
                quants = bitcast(i8, splat(i32, 16, load_bytes(i32, x, 4 * v)))
                vstore(dots.all, 16 * t, dot4_small(vload(dots.all, 16 * t, 16), weights, quants))
        for t in static(range(tile)):
            x = rows.part(b * BLOCK_BYTES + t * row_bytes, BLOCK_BYTES)
            acc = nibble_sum(form, w, x, vload(dots.all, 16 * t, 16), vload(sums, 16 * t, 16))
            vstore(sums, 16 * t, acc)


@fn(inline="always")
def tile_float(
    matrix: Matrix,
    group: Slice[u8],
    rows: Slice[u8],
    sums: Slice[f32],
    row_bytes: int,
    tile: int,
) -> None:
    """Multiply by weights in f16, bf16 or f32."""
    parts = array(f32, 64 * tile)
    for k in urange(matrix.padded_columns // 4):
        w = group.part(k * (64 * matrix.float_bytes), 64 * matrix.float_bytes)
        for e in static(range(4)):
            weights = floats_of(matrix, w, e)
            for t in static(range(tile)):
                x = rows.part(k * 16 + t * row_bytes, 16)
                number = splat(f32, 16, load_bytes(f32, x, 4 * e))
                at = 64 * t + 16 * e
                vstore(parts.all, at, fma(weights, number, vload(parts.all, at, 16)))
    for t in static(range(tile)):
        a01 = vload(parts.all, 64 * t, 16) + vload(parts.all, 64 * t + 16, 16)
        a23 = vload(parts.all, 64 * t + 32, 16) + vload(parts.all, 64 * t + 48, 16)
        vstore(sums, 16 * t, a01 + a23)
