"""Matrix times a batch of vectors on a processor with matrix tiles: the sums of `gemm`, in its order.

The columns are gone through in stretches. Of each stretch and row group the weights are unpacked once, as
signed bytes; then, for 16 tokens at a time, the tiles make the integer sums of a block while those of the
block before are scaled and added, in registers. A last tile of fewer tokens is done whole, and what it
makes of the others is left out.
"""

from axiom.lang import (
    Slice,
    array,
    f32,
    fma,
    fn,
    i32,
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
from axiom.metal.arch.tiles import (
    BLOCK,
    HALF_BLOCK,
    TILE_TOKENS,
    multiply_tile,
    start_tiles,
    stop_tiles,
)
from axiom.metal.ops.float_sums import FLOAT_START_BITS, float_sum, scaled_sum
from axiom.metal.ops.gemm_blocks import block_sum
from axiom.metal.ops.gemm_k import add_all
from axiom.metal.ops.gemv_k import (
    k_sum,
    number_of,
    part_blocks,
    q6_k_sum,
)
from axiom.metal.ops.k_scales import k_minimum, k_scale, q6_k_scale
from axiom.metal.ops.matrix import BLOCK_COLUMNS, ROWS, Matrix
from axiom.metal.ops.quantise import BLOCK_BYTES, SCALE_AT, TOTAL_AT
from axiom.metal.ops.unpack import BLOCK_UNPACKED_BYTES, unpack_signed

HALF_UNPACKED_BYTES = BLOCK_UNPACKED_BYTES // 2
TILE_SUMS = ROWS * TILE_TOKENS
SUPER_X_BYTES = 8 * BLOCK_BYTES
TILE_STRETCH_COLUMNS = 256
STRETCH_BLOCKS = TILE_STRETCH_COLUMNS // BLOCK_COLUMNS
GROUPS_AT_ONCE = 4
AHEAD = 2
DOTS_PER_BLOCK = 2 * TILE_SUMS
# Behind the integer sums: a row of what they start from.
STARTS_AT = 2 * AHEAD * DOTS_PER_BLOCK


@fn
def gemm_tiles(
    matrix: Matrix,
    weights: Slice[u8],
    activations: Slice[u8],
    out: Slice[f32],
    first_group: u64,
    last_group: u64,
    n_tokens: u64,
    row_bytes: int,
    out_stride: int,
) -> None:
    """Do what `gemm` does for a quantised layout; read that for the arguments.

    activations: of whole tiles of tokens, whatever those beyond n_tokens hold.
    """
    unpacked = array(u8, GROUPS_AT_ONCE * ROWS * TILE_STRETCH_COLUMNS)
    dots = array(i32, 2 * AHEAD * DOTS_PER_BLOCK + ROWS)
    vstore(dots.all, STARTS_AT, splat(i32, 16, FLOAT_START_BITS))
    stretch = TILE_STRETCH_COLUMNS // matrix.unit_columns
    start_tiles()
    for number in urange(u64((matrix.n_units + stretch - 1) // stretch)):
        first = number * stretch
        n = minimum(u64(matrix.n_units) - first, u64(stretch))
        g = first_group
        while g < last_group:
            n_groups = minimum(last_group - g, u64(GROUPS_AT_ONCE))
            for i in urange(n_groups):
                at = (g + i) * matrix.group_bytes + first * matrix.unit_bytes
                unpack_group(matrix, weights.part(at, n * matrix.unit_bytes), n, group_of(unpacked.all, i))
            for tile in urange((n_tokens + (TILE_TOKENS - 1)) // TILE_TOKENS):
                token = tile * TILE_TOKENS
                x = activations.part(token * row_bytes, TILE_TOKENS * row_bytes)
                first_block = first * (matrix.unit_columns // BLOCK_COLUMNS)
                columns = x.part(first_block * BLOCK_BYTES, x.length - first_block * BLOCK_BYTES)
                count = minimum(n_tokens - token, u64(TILE_TOKENS))
                for i in urange(n_groups):
                    at = (g + i) * matrix.group_bytes + first * matrix.unit_bytes
                    w = weights.part(at, n * matrix.unit_bytes)
                    target = out.part(token * out_stride + (g + i) * 16, (count - 1) * out_stride + 16)
                    add_stretch(
                        matrix,
                        w,
                        n,
                        first,
                        columns,
                        row_bytes,
                        group_of(unpacked.all, i),
                        dots.all,
                        target,
                        count,
                        out_stride,
                    )
            g += n_groups
    stop_tiles()


@fn(inline="always")
def group_of(unpacked: Slice[u8], i: u64) -> Slice[u8]:
    """Return the unpacked stretch of one of the groups that are done at once."""
    return unpacked.part(i * (ROWS * TILE_STRETCH_COLUMNS), ROWS * TILE_STRETCH_COLUMNS)


@fn(inline="always")
def unpack_group(matrix: Matrix, w: Slice[u8], n_units: u64, out: Slice[u8]) -> None:
    """Unpack a stretch of a row group, and ask for the next group's."""
    unit_unpacked = ROWS * matrix.unit_columns
    for u in urange(n_units):
        part = w.part(u * matrix.unit_bytes, matrix.unit_bytes)
        unpack_signed(matrix, part, out.part(u * unit_unpacked, unit_unpacked))
        for line in static(range(0, matrix.unit_bytes, 64)):
            prefetch(part, GROUPS_AT_ONCE * matrix.group_bytes + line)


@fn(inline="always")
def add_stretch(
    matrix: Matrix,
    w: Slice[u8],
    n_units: u64,
    first: u64,
    x: Slice[u8],
    row_bytes: int,
    unpacked: Slice[u8],
    dots: Slice[i32],
    out: Slice[f32],
    n_tokens: u64,
    out_stride: int,
) -> None:
    """Add a stretch of a row group to what `out` has of a tile of tokens, or begin with it."""
    n_blocks = n_units * (matrix.unit_columns // BLOCK_COLUMNS)
    for block in static(range(AHEAD)):
        if block < n_blocks:
            multiply_block(matrix, u64(block), x, row_bytes, unpacked, dots)
    sums = array(f32, TILE_SUMS)
    for t in static(range(TILE_TOKENS)):
        prefetch(reinterpret(u8, out), u64(TILE_TOKENS + t) * (4 * out_stride))
    if first > 0:
        for t in static(range(TILE_TOKENS)):
            if t < n_tokens:
                vstore(sums.all, 16 * t, vload(out, t * out_stride, 16))
    for u in urange(n_units):
        part = w.part(u * matrix.unit_bytes, matrix.unit_bytes)
        if matrix.unit_columns == BLOCK_COLUMNS:
            if u + AHEAD < n_blocks:
                multiply_block(matrix, u + AHEAD, x, row_bytes, unpacked, dots)
            made = dots_of(matrix, u, dots)
            rows = x.part(u * BLOCK_BYTES, (TILE_TOKENS - 1) * row_bytes + BLOCK_BYTES)
            for t in static(range(TILE_TOKENS)):
                y = rows.part(t * row_bytes, BLOCK_BYTES)
                acc = vload(sums.all, 16 * t, 16)
                vstore(sums.all, 16 * t, block_sum(matrix, part, y, vload(made, 16 * t, 16), acc))
        elif matrix.layout == "q6_kx16":
            add_q6_k(matrix, part, u * 8, n_blocks, x, row_bytes, unpacked, dots, sums.all)
        else:
            add_with_minimums(matrix, part, u * 8, n_blocks, x, row_bytes, unpacked, dots, sums.all)
    for t in static(range(TILE_TOKENS)):
        if t < n_tokens:
            vstore(out, t * out_stride, vload(sums.all, 16 * t, 16))


@fn(inline="always")
def dots_of(matrix: Matrix, block: u64, dots: Slice[i32]) -> Slice[i32]:
    """Return where the integer sums of a block are."""
    n_sums = 2 * TILE_SUMS if matrix.layout == "q6_kx16" else TILE_SUMS
    return dots.part(block % (2 * AHEAD) * n_sums, n_sums)


@fn(inline="always")
def multiply_block(
    matrix: Matrix, block: u64, x: Slice[u8], row_bytes: int, unpacked: Slice[u8], dots: Slice[i32]
) -> None:
    """Make the integer sums of a block, or of its two halves."""
    made = dots_of(matrix, block, dots)
    start = dots.part(STARTS_AT, ROWS)
    w = unpacked.part(block * BLOCK_UNPACKED_BYTES, BLOCK_UNPACKED_BYTES)
    y = x.part(block * BLOCK_BYTES, (TILE_TOKENS - 1) * row_bytes + BLOCK_BYTES)
    if matrix.layout == "q6_kx16":
        multiply_tile(HALF_BLOCK, y, row_bytes, w, start, made)
        second = w.part(HALF_UNPACKED_BYTES, HALF_UNPACKED_BYTES)
        rest = y.part(16, y.length - 16)
        multiply_tile(HALF_BLOCK, rest, row_bytes, second, start, made.part(TILE_SUMS, TILE_SUMS))
    else:
        multiply_tile(BLOCK, y, row_bytes, w, start, made)


@fn(inline="always")
def add_with_minimums(
    matrix: Matrix,
    w: Slice[u8],
    first: u64,
    n_blocks: u64,
    x: Slice[u8],
    row_bytes: int,
    unpacked: Slice[u8],
    dots: Slice[i32],
    sums: Slice[f32],
) -> None:
    """Add a super-block of Q4_K or Q5_K, whose blocks start with `first`, to the sums of a tile."""
    rows = x.part(first * BLOCK_BYTES, (TILE_TOKENS - 1) * row_bytes + SUPER_X_BYTES)
    leasts = array(f32, TILE_SUMS)
    for b in static(range(8)):
        least = k_minimum(w, u64(b))
        for t in static(range(TILE_TOKENS)):
            number = number_of(rows.part(t * row_bytes, SUPER_X_BYTES), u64(b), TOTAL_AT)
            vstore(leasts.all, 16 * t, fma(least, number, vload(leasts.all, 16 * t, 16)))
    totals = array(f32, TILE_SUMS)
    half = part_blocks(matrix) // 2
    for part in static(range(0, 8, 2 * half)):
        parts = array(f32, TILE_SUMS)
        for start in static((part, part + half)):
            halves = array(f32, TILE_SUMS)
            for b in static(range(start, start + half)):
                if first + (b + AHEAD) < n_blocks:
                    multiply_block(matrix, first + (b + AHEAD), x, row_bytes, unpacked, dots)
                made = dots_of(matrix, first + b, dots)
                scale = k_scale(w, u64(b))
                for t in static(range(TILE_TOKENS)):
                    known = vload(halves.all, 16 * t, 16)
                    vstore(halves.all, 16 * t, fma(float_sum(vload(made, 16 * t, 16)), scale, known))
            add_all(TILE_TOKENS, parts.all, halves.all)
        add_all(TILE_TOKENS, totals.all, parts.all)
    for t in static(range(TILE_TOKENS)):
        factor = number_of(rows.part(t * row_bytes, SUPER_X_BYTES), u64(0), SCALE_AT)
        total = vload(totals.all, 16 * t, 16)
        least = vload(leasts.all, 16 * t, 16)
        vstore(sums, 16 * t, k_sum(w, factor, total, least, vload(sums, 16 * t, 16)))


@fn(inline="always")
def add_q6_k(
    matrix: Matrix,
    w: Slice[u8],
    first: u64,
    n_blocks: u64,
    x: Slice[u8],
    row_bytes: int,
    unpacked: Slice[u8],
    dots: Slice[i32],
    sums: Slice[f32],
) -> None:
    """Add a super-block of Q6_K, whose blocks start with `first`, to the sums of a tile."""
    rows = x.part(first * BLOCK_BYTES, (TILE_TOKENS - 1) * row_bytes + SUPER_X_BYTES)
    totals = array(f32, TILE_SUMS)
    for part in static(range(0, 8, 2)):
        parts = array(f32, TILE_SUMS)
        for b in static((part, part + 1)):
            if first + (b + AHEAD) < n_blocks:
                multiply_block(matrix, first + (b + AHEAD), x, row_bytes, unpacked, dots)
            made = dots_of(matrix, first + b, dots)
            for t in static(range(TILE_TOKENS)):
                number = float_sum(vload(made, 16 * t, 16))
                other = scaled_sum(vload(made, TILE_SUMS + 16 * t, 16), q6_k_scale(w, u64(2 * b + 1)))
                half = fma(number, q6_k_scale(w, u64(2 * b)), other)
                vstore(parts.all, 16 * t, vload(parts.all, 16 * t, 16) + half)
        add_all(TILE_TOKENS, totals.all, parts.all)
    for t in static(range(TILE_TOKENS)):
        factor = number_of(rows.part(t * row_bytes, SUPER_X_BYTES), u64(0), SCALE_AT)
        total = vload(totals.all, 16 * t, 16)
        vstore(sums, 16 * t, q6_k_sum(w, factor, total, vload(sums, 16 * t, 16)))
