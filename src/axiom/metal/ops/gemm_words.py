"""Row groups times a tile of tokens where products of bytes are added in words first (AVX2).

By eight rows, half a row group: one register of unpacked weights is multiplied by every token of the tile,
so that the sums of all row groups and tokens stay in registers. See `sums_in_words` and `dots`.
"""

from axiom.lang import (
    Slice,
    Vec,
    array,
    bitcast,
    convert,
    f16,
    f32,
    fma,
    fn,
    i8,
    i16,
    i32,
    load_bytes,
    splat,
    static,
    u8,
    u64,
    urange,
    vload,
    vload_bytes,
    vstore,
)
from axiom.metal.arch.simd import signed_pairs, vpmaddubsw, vpmaddwd
from axiom.metal.ops.float_sums import FLOAT_START_BITS
from axiom.metal.ops.gemv_k import part_blocks
from axiom.metal.ops.matrix import BLOCK_COLUMNS, NIBBLE_BLOCKS, Matrix
from axiom.metal.ops.nibbles import nibble_start
from axiom.metal.ops.quantise import (
    BLOCK_BYTES,
    HALVES_AT,
    SCALE_AT,
    SUM_AT,
    TOTAL_AT,
)
from axiom.metal.ops.quants import has_minimum, largest_quant, steps_in_words
from axiom.metal.ops.unpack import (
    BLOCK_SCALES_BYTES,
    BLOCK_UNPACKED_BYTES,
    GROUP_UNPACKED_BYTES,
    MINIMUMS_AT,
    OFFSETS_AT,
    STARTS_AT,
)

# Steps of four columns in one round of a loop: with one, a ninth of the instructions would be the loop's.
STEPS_AT_A_TIME = 2


def eight_at(i: int) -> int:
    """Return the bytes from the first eight rows of several unpacked row groups to the i-th."""
    return i // 2 * GROUP_UNPACKED_BYTES + i % 2 * 32


def sums_at(i: int, t: int, tile: int) -> int:
    """Return where the sums of the i-th eight rows and token t are: 16 rows of a token lie together."""
    return 16 * (i // 2 * tile + t) + i % 2 * 8


@fn(inline="always")
def four_quants(rows: Slice[u8], at: u64) -> Vec[i8]:
    """Return the four quants at a byte, for eight rows of weights."""
    return bitcast(i8, splat(i32, 8, load_bytes(i32, rows, at)))


@fn(inline="always")
def eight_numbers(rows: Slice[u8], at: u64) -> Vec[f32]:
    """Return the number at a byte, for eight rows of weights."""
    return splat(f32, 8, load_bytes(f32, rows, at))


@fn(inline="always")
def tile_block_words(
    at_once: int,
    matrix: Matrix,
    quants: Slice[u8],
    scales: Slice[u8],
    rows: Slice[u8],
    sums: Slice[f32],
    row_bytes: int,
    tile: int,
) -> None:
    """Add one block of 32 columns of each token and row, in the order of `nibbles`."""
    dots = array(i32, 16 * tile * at_once)
    word_dots(matrix, at_once, quants, rows, dots.all, scales, row_bytes, tile, 8)
    for i in static(range(2 * at_once)):
        scale = vload_bytes(f32, 8, scales, eight_at(i))
        start = vload_bytes(f32, 8, scales, STARTS_AT + eight_at(i))
        for t in static(range(tile)):
            x = rows.part(t * row_bytes, BLOCK_BYTES)
            at = sums_at(i, t, tile)
            dot = bitcast(f32, vload(dots.all, at, 8) + block_start(matrix, x))
            known = fma(fma(dot, scale, start), eight_numbers(x, u64(SCALE_AT)), vload(sums, at, 8))
            if has_minimum(matrix):
                minimum = vload_bytes(f32, 8, scales, MINIMUMS_AT + eight_at(i))
                known = fma(minimum, eight_numbers(x, u64(SUM_AT)), known)
            vstore(sums, at, known)


@fn(inline="always")
def block_start(matrix: Matrix, x: Slice[u8]) -> Vec[i32]:
    """Return the start of a block's float sum, less what the offset of the unpacked weights comes to."""
    if matrix.layout in NIBBLE_BLOCKS:
        return splat(i32, 8, nibble_start(NIBBLE_BLOCKS[matrix.layout], x))
    return splat(i32, 8, FLOAT_START_BITS)


@fn(inline="always")
def tile_minimum_words(
    at_once: int,
    matrix: Matrix,
    groups: Slice[u8],
    quants: Slice[u8],
    scales: Slice[u8],
    rows: Slice[u8],
    sums: Slice[f32],
    row_bytes: int,
    tile: int,
) -> None:
    """Add one 4-bit or 5-bit super-block of each token and row, in the order of `gemv_k`."""
    totals = array(f32, 16 * tile * at_once)
    n_blocks = part_blocks(matrix)
    for first in urange(0, 8, n_blocks, rolled=True):
        parts = array(i32, 16 * tile * at_once)
        for b in urange(first, first + n_blocks, rolled=True):
            block = quants.part(
                b * BLOCK_UNPACKED_BYTES, (at_once - 1) * GROUP_UNPACKED_BYTES + BLOCK_UNPACKED_BYTES
            )
            x = rows.part(b * BLOCK_BYTES, (tile - 1) * row_bytes + BLOCK_BYTES)
            factors = scales.part(b * BLOCK_SCALES_BYTES, (at_once - 1) * GROUP_UNPACKED_BYTES + 64)
            word_dots(matrix, at_once, block, x, parts.all, factors, row_bytes, tile, 8)
        add_parts(tile * at_once, totals.all, parts.all)
    # Last: whoever comes first waits for the activations, unless there is much else to do.
    leasts = array(f32, 16 * tile * at_once)
    for b in urange(0, 8, rolled=True):
        for i in static(range(2 * at_once)):
            least = vload_bytes(f32, 8, scales, b * BLOCK_SCALES_BYTES + (64 + eight_at(i)))
            for t in static(range(tile)):
                number = eight_numbers(rows, b * BLOCK_BYTES + (t * row_bytes + TOTAL_AT))
                at = sums_at(i, t, tile)
                vstore(leasts.all, at, fma(least, number, vload(leasts.all, at, 8)))
    for i in static(range(2 * at_once)):
        w = groups.part(i // 2 * matrix.group_bytes + i % 2 * 16, 48)
        scale = convert(f32, vload_bytes(f16, 8, w, 0))
        minimum = convert(f32, vload_bytes(f16, 8, w, 32))
        for t in static(range(tile)):
            d = eight_numbers(rows, u64(t * row_bytes + SCALE_AT))
            at = sums_at(i, t, tile)
            scaled = fma(scale, vload(totals.all, at, 8) * d, vload(sums, at, 8))
            vstore(sums, at, fma(-minimum, vload(leasts.all, at, 8) * d, scaled))


@fn(inline="always")
def add_parts(count: int, totals: Slice[f32], parts: Slice[i32]) -> None:
    """Add `count` times sixteen numbers."""
    for at in static(range(0, 16 * count, 16)):
        vstore(totals, at, vload(totals, at, 16) + convert(f32, vload(parts, at, 16)))


@fn(inline="always")
def tile_q6_k_words(
    at_once: int,
    matrix: Matrix,
    groups: Slice[u8],
    quants: Slice[u8],
    scales: Slice[u8],
    rows: Slice[u8],
    sums: Slice[f32],
    row_bytes: int,
    tile: int,
) -> None:
    """Add one 6-bit super-block of each token and row, in the order of `gemv_k`."""
    totals = array(f32, 16 * tile * at_once)
    n_bytes = BLOCK_UNPACKED_BYTES // 2
    for first in urange(0, 8, part_blocks(matrix), rolled=True):
        parts = array(i32, 16 * tile * at_once)
        q6_k_starts(at_once, scales, rows, parts.all, row_bytes, tile, first)
        for half in urange(first * 2, first * 2 + 4, rolled=True):
            block = quants.part(half * n_bytes, (at_once - 1) * GROUP_UNPACKED_BYTES + n_bytes)
            x = rows.part(half // 2 * BLOCK_BYTES + half % 2 * 16, (tile - 1) * row_bytes + 16)
            factors = scales.part(half * 64, (at_once - 1) * GROUP_UNPACKED_BYTES + 64)
            word_dots(matrix, at_once, block, x, parts.all, factors, row_bytes, tile, 4)
        add_parts(tile * at_once, totals.all, parts.all)
    for i in static(range(2 * at_once)):
        w = groups.part(i // 2 * matrix.group_bytes + i % 2 * 16, 16)
        scale = convert(f32, vload_bytes(f16, 8, w, 0))
        for t in static(range(tile)):
            d = eight_numbers(rows, u64(t * row_bytes + SCALE_AT))
            at = sums_at(i, t, tile)
            vstore(sums, at, fma(scale, vload(totals.all, at, 8) * d, vload(sums, at, 8)))


@fn(inline="always")
def q6_k_starts(
    at_once: int,
    scales: Slice[u8],
    rows: Slice[u8],
    parts: Slice[i32],
    row_bytes: int,
    tile: int,
    first: u64,
) -> None:
    """Set the parts of blocks `first` and the next to what the weights' offset takes from them."""
    for i in static(range(2 * at_once)):
        offsets = scales.part(first * 64 + (OFFSETS_AT + eight_at(i)), 96)
        low = vload_bytes(i16, 16, offsets, 0)
        high = vload_bytes(i16, 16, offsets, 64)
        for t in static(range(tile)):
            at = first * BLOCK_BYTES + (t * row_bytes + HALVES_AT)
            first_halves = bitcast(i16, splat(i32, 8, load_bytes(i32, rows, at)))
            second_halves = bitcast(i16, splat(i32, 8, load_bytes(i32, rows, at + BLOCK_BYTES)))
            start = vpmaddwd(first_halves, low) + vpmaddwd(second_halves, high)
            vstore(parts, sums_at(i, t, tile), start << 5)


@fn(inline="always")
def word_dots(
    matrix: Matrix,
    at_once: int,
    quants: Slice[u8],
    rows: Slice[u8],
    dots: Slice[i32],
    factors: Slice[u8],
    row_bytes: int,
    tile: int,
    n_steps: int,
) -> None:
    """Add the products of the first 4-column steps of a block, or of half a block, to the integer sums.

    quants: the unpacked block of the first row group. rows: the block of the first token. factors: of
    super-blocks, what the sums of a row are multiplied by, which costs nothing: twice 16 bits for each row.
    Words take the sums of several steps: one widening for all of them. Quants of which a word cannot take
    two products are signed bytes (`unpack.unpacks_signed`).
    The loops stay loops: unrolled, they are reordered into one that keeps more than there are registers.
    """
    steps = steps_in_words(largest_quant(matrix))
    if steps == 0:
        for v in urange(0, n_steps, STEPS_AT_A_TIME, rolled=True):
            for n in static(range(STEPS_AT_A_TIME)):
                add_signed(2 * at_once, quants, rows, dots, row_bytes, tile, v + n)
    elif steps == 2:
        for v in urange(0, n_steps, 2, rolled=True):
            add_two_steps(2 * at_once, quants, rows, dots, factors, row_bytes, tile, v)
    else:
        run = min(steps, n_steps)
        for start in urange(0, n_steps, run, rolled=True):
            words = array(i16, 32 * tile * at_once)
            for n in static(range(STEPS_AT_A_TIME)):
                add_step(2 * at_once, quants, rows, words.all, row_bytes, tile, start, n)
            for v in urange(start + STEPS_AT_A_TIME, start + run, STEPS_AT_A_TIME, rolled=True):
                for n in static(range(STEPS_AT_A_TIME)):
                    add_step(2 * at_once, quants, rows, words.all, row_bytes, tile, v, n)
            widen(matrix, 2 * at_once, words.all, dots, factors, tile)


@fn(inline="always")
def add_signed(
    eights: int, quants: Slice[u8], rows: Slice[u8], dots: Slice[i32], row_bytes: int, tile: int, v: u64
) -> None:
    """Add a step of signed quants."""
    for i in static(range(eights)):
        w = vload_bytes(i8, 32, quants, v * 64 + eight_at(i))
        for t in static(range(tile)):
            pairs = signed_pairs(w, four_quants(rows, v * 4 + t * row_bytes))
            at = sums_at(i, t, tile)
            vstore(dots, at, vload(dots, at, 8) + vpmaddwd(pairs, splat(i16, 16, 1)))


@fn(inline="always")
def add_two_steps(
    eights: int,
    quants: Slice[u8],
    rows: Slice[u8],
    dots: Slice[i32],
    factors: Slice[u8],
    row_bytes: int,
    tile: int,
    v: u64,
) -> None:
    """Add two steps, of whose products a word takes no more."""
    for i in static(range(eights)):
        w0 = vload_bytes(u8, 32, quants, v * 64 + eight_at(i))
        w1 = vload_bytes(u8, 32, quants, v * 64 + (64 + eight_at(i)))
        factor = vload_bytes(i16, 16, factors, eight_at(i))
        for t in static(range(tile)):
            first = vpmaddubsw(w0, four_quants(rows, v * 4 + t * row_bytes))
            second = vpmaddubsw(w1, four_quants(rows, v * 4 + (4 + t * row_bytes)))
            at = sums_at(i, t, tile)
            vstore(dots, at, vload(dots, at, 8) + vpmaddwd(first + second, factor))


@fn(inline="always")
def add_step(
    eights: int,
    quants: Slice[u8],
    rows: Slice[u8],
    words: Slice[i16],
    row_bytes: int,
    tile: int,
    v: u64,
    n: int,
) -> None:
    """Add the n-th step from v on to the sums in words."""
    for i in static(range(eights)):
        w = vload_bytes(u8, 32, quants, v * 64 + (64 * n + eight_at(i)))
        for t in static(range(tile)):
            pairs = vpmaddubsw(w, four_quants(rows, v * 4 + (4 * n + t * row_bytes)))
            at = 2 * sums_at(i, t, tile)
            vstore(words, at, vload(words, at, 16) + pairs)


@fn(inline="always")
def widen(
    matrix: Matrix, eights: int, words: Slice[i16], dots: Slice[i32], factors: Slice[u8], tile: int
) -> None:
    """Add the sums in words to the integer sums."""
    for i in static(range(eights)):
        if matrix.unit_columns == BLOCK_COLUMNS:
            factor = splat(i16, 16, 1)
        else:
            factor = vload_bytes(i16, 16, factors, eight_at(i))
        for t in static(range(tile)):
            at = sums_at(i, t, tile)
            vstore(dots, at, vload(dots, at, 8) + vpmaddwd(vload(words, 2 * at, 16), factor))
