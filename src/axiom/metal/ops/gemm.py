"""Matrix times a batch of vectors: what `gemv` does, for several tokens at once.

Each token's sums are made in the order of `gemv`, so that a batch has the bits of one token at a time. The
columns are gone through in stretches: those of all tokens' activations stay in the second-level cache,
those of one or two row groups, unpacked once, in the first. So weights come from memory once. Tokens go by
tiles whose sums stay in registers; between stretches the sums wait in `out`.
"""

from axiom.lang import (
    Slice,
    Target,
    array,
    current_target,
    f32,
    fma,
    fn,
    load_bytes,
    minimum,
    prefetch,
    reinterpret,
    splat,
    static,
    u8,
    u64,
    urange,
    vload,
    vstore,
)
from axiom.metal.arch.simd import sums_in_words
from axiom.metal.arch.tiles import TILE_TOKENS
from axiom.metal.ops.floats import floats_of
from axiom.metal.ops.gemm_blocks import tile_blocks
from axiom.metal.ops.gemm_k import tile_q6_k, tile_with_minimums
from axiom.metal.ops.gemm_tiles import gemm_tiles
from axiom.metal.ops.gemm_words import tile_block_words, tile_minimum_words, tile_q6_k_words
from axiom.metal.ops.matrix import BLOCK_COLUMNS, ROWS, SUPER_COLUMNS, UNITS, Matrix, row_stride
from axiom.metal.ops.quantise import BLOCK_BYTES, quantised_stride
from axiom.metal.ops.quants import largest_quant, steps_in_words
from axiom.metal.ops.unpack import (
    GROUP_UNPACKED_BYTES,
    SCALES_AT,
    scales_bytes,
    stretch_units,
    unpack_stretch,
)

# How many tokens a matrix tile has to have on average to be worth it: measured.
LEAST_TILE_TOKENS = 11
# Tokens in a tile, by what fits the registers: of 32 with 16 lanes each a token takes two per row group of
# quantised weights and four of floats; of 16 with 8 lanes they take twice as many. With several row groups
# at once there are fewer loads of activations, which else are as many as the multiplications.
WIDE_TILES = (6, 4, 2, 1)
WIDE_FLOAT_TILES = (6, 2, 1)
PAIR_TILES = (2, 1)
NARROW_TILES = (4, 2, 1)


def groups_together(matrix: Matrix, target: Target) -> tuple[int, ...]:
    """Return how many row groups are multiplied at once, the most first: by what fits the registers."""
    if target.many_registers:
        return (2, 1)
    if not sums_in_words(target) or steps_in_words(largest_quant(matrix)) <= 2:
        return (1,)
    return (3, 1) if matrix.unit_columns == BLOCK_COLUMNS else (2, 1)


def most_together(target: Target) -> int:
    """Return the most row groups that are multiplied at once, whatever the layout."""
    return max(groups_together(Matrix(layout, ROWS, SUPER_COLUMNS), target)[0] for layout in UNITS)


def tiles_for(matrix: Matrix, at_once: int, target: Target) -> tuple[int, ...]:
    """Return the tiles, largest first, for so many row groups at once."""
    if target.many_registers:
        return WIDE_TILES if matrix.quantised else WIDE_FLOAT_TILES
    return NARROW_TILES if at_once == 1 else PAIR_TILES


def activation_row_bytes(matrix: Matrix) -> int:
    """Return the bytes from one token's activations to the next."""
    if matrix.quantised:
        return int(quantised_stride(u64(matrix.columns)))
    return row_stride(matrix.columns) * 4


@fn(inline="always")
def padded_tokens(n_tokens: u64) -> u64:
    """Return how many rows the quantised activations of a batch have: whole tiles."""
    return (n_tokens + (TILE_TOKENS - 1)) // TILE_TOKENS * TILE_TOKENS


@fn(inline="always")
def pays_in_tiles(n_tokens: u64) -> bool:
    """Tell whether matrix tiles, the last of them perhaps not full, are faster than dot products."""
    return n_tokens * TILE_TOKENS >= padded_tokens(n_tokens) * LEAST_TILE_TOKENS


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

    weights: the packed matrix. activations: n_tokens rows of `activation_row_bytes`, each as for `gemv`; of
    quantised ones as many as `padded_tokens` says, whatever those beyond n_tokens hold.
    out: n_tokens rows of out_stride numbers, at least the matrix's rows padded to a multiple of 16.
    """
    if matrix.quantised and current_target().has_tiles and pays_in_tiles(n_tokens):
        row_bytes = activation_row_bytes(matrix)
        gemm_tiles(
            matrix, weights, activations, out, first_group, last_group, n_tokens, row_bytes, out_stride
        )
    elif matrix.quantised:
        unpacked = array(u8, groups_together(matrix, current_target())[0] * GROUP_UNPACKED_BYTES)
        stretch = stretch_units(matrix)
        for number in urange(u64((matrix.n_units + stretch - 1) // stretch)):
            first = number * stretch
            n = minimum(u64(matrix.n_units) - first, u64(stretch))
            g = first_group
            for at_once in static(groups_together(matrix, current_target())):
                while g + at_once <= last_group:
                    groups = weights.part(g * matrix.group_bytes, at_once * matrix.group_bytes)
                    unpack_stretch(at_once, matrix, groups, first, n, unpacked.all)
                    quantised_stretch(
                        at_once,
                        matrix,
                        groups,
                        activations,
                        unpacked.all,
                        out,
                        g,
                        n_tokens,
                        first,
                        n,
                        out_stride,
                    )
                    g += at_once
    else:
        for g in urange(first_group, last_group):
            group = weights.part(g * matrix.group_bytes, matrix.group_bytes)
            float_group(matrix, group, activations, out, g, n_tokens, out_stride)


@fn(inline="always")
def quantised_stretch(
    at_once: int,
    matrix: Matrix,
    groups: Slice[u8],
    activations: Slice[u8],
    unpacked: Slice[u8],
    out: Slice[f32],
    g: u64,
    n_tokens: u64,
    first: u64,
    n_units: u64,
    out_stride: int,
) -> None:
    """Multiply a stretch of row groups by all tokens, in the largest tiles that there are tokens for."""
    token = u64(0)
    for tile in static(tiles_for(matrix, at_once, current_target())):
        while token + tile <= n_tokens:
            quantised_tile(
                at_once,
                matrix,
                groups,
                activations,
                unpacked,
                out,
                g,
                token,
                first,
                n_units,
                out_stride,
                tile,
            )
            token += tile


@fn(inline="always")
def quantised_tile(
    at_once: int,
    matrix: Matrix,
    groups: Slice[u8],
    activations: Slice[u8],
    unpacked: Slice[u8],
    out: Slice[f32],
    g: u64,
    token: u64,
    first: u64,
    n_units: u64,
    out_stride: int,
    tile: int,
) -> None:
    """Multiply n_units from `first` on by the tokens from `token` on.

    sums: of each group in turn, of each token, 16 rows.
    """
    row_bytes = activation_row_bytes(matrix)
    x_bytes = matrix.unit_columns // BLOCK_COLUMNS * BLOCK_BYTES
    rows = activations.part(token * row_bytes, tile * row_bytes)
    sums = array(f32, 16 * tile * at_once)
    for t in static(range(tile)):
        ask_for_sums(at_once, out, (token + (tile + t)) * out_stride + g * 16)
    if first > 0:
        for i in static(range(at_once)):
            for t in static(range(tile)):
                vstore(
                    sums.all, 16 * (i * tile + t), vload(out, (token + t) * out_stride + (g + i) * 16, 16)
                )
    for u in urange(n_units):
        if token == 0:
            ask_for_next(at_once, matrix, groups, first + u)
        w = groups.part(
            (first + u) * matrix.unit_bytes, (at_once - 1) * matrix.group_bytes + matrix.unit_bytes
        )
        x = rows.part((first + u) * x_bytes, (tile - 1) * row_bytes + x_bytes)
        at = u * 16 * matrix.unit_columns
        quants = unpacked.part(at, (at_once - 1) * GROUP_UNPACKED_BYTES + 16 * matrix.unit_columns)
        n_bytes = scales_bytes(matrix, current_target())
        scales = unpacked.part(u * n_bytes + SCALES_AT, (at_once - 1) * GROUP_UNPACKED_BYTES + n_bytes)
        if sums_in_words(current_target()):
            if matrix.unit_columns == BLOCK_COLUMNS:
                tile_block_words(at_once, matrix, quants, scales, x, sums.all, row_bytes, tile)
            elif matrix.layout == "q6_kx16":
                tile_q6_k_words(at_once, matrix, w, quants, scales, x, sums.all, row_bytes, tile)
            else:
                tile_minimum_words(at_once, matrix, w, quants, scales, x, sums.all, row_bytes, tile)
        elif matrix.unit_columns == BLOCK_COLUMNS:
            tile_blocks(at_once, matrix, w, quants, x, sums.all, row_bytes, tile)
        elif matrix.layout == "q6_kx16":
            tile_q6_k(at_once, matrix, w, quants, x, sums.all, row_bytes, tile)
        else:
            tile_with_minimums(at_once, matrix, w, quants, scales, x, sums.all, row_bytes, tile)
    for i in static(range(at_once)):
        for t in static(range(tile)):
            vstore(out, (token + t) * out_stride + (g + i) * 16, vload(sums.all, 16 * (i * tile + t), 16))


@fn(inline="always")
def ask_for_sums(at_once: int, out: Slice[f32], at: u64) -> None:
    """Ask for the sums of one token's row groups, which the tile after this one goes on with."""
    for i in static(range(at_once)):
        prefetch(reinterpret(u8, out), at * 4 + 64 * i)


@fn(inline="always")
def ask_for_next(at_once: int, matrix: Matrix, groups: Slice[u8], unit: u64) -> None:
    """Ask for the same unit of the row groups that come next."""
    for i in static(range(at_once)):
        for line in static(range(0, matrix.unit_bytes, 64)):
            at = (at_once + i) * matrix.group_bytes + line
            prefetch(groups.part(unit * matrix.unit_bytes, 0), at)


@fn(inline="always")
def float_group(
    matrix: Matrix,
    group: Slice[u8],
    activations: Slice[u8],
    out: Slice[f32],
    g: u64,
    n_tokens: u64,
    out_stride: int,
) -> None:
    """Multiply one row group of a float layout by all tokens."""
    token = u64(0)
    for tile in static(tiles_for(matrix, 1, current_target())):
        while token + tile <= n_tokens:
            tile_float(matrix, group, activations, out, g, token, out_stride, tile)
            token += tile


@fn(inline="always")
def tile_float(
    matrix: Matrix,
    group: Slice[u8],
    activations: Slice[u8],
    out: Slice[f32],
    g: u64,
    token: u64,
    out_stride: int,
    tile: int,
) -> None:
    """Multiply weights in f16, bf16 or f32 by the tokens from `token` on."""
    row_bytes = activation_row_bytes(matrix)
    rows = activations.part(token * row_bytes, tile * row_bytes)
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
        vstore(out, (token + t) * out_stride + g * 16, a01 + a23)
