"""The exact integer sums of a block: weights in bytes times quantised activations, for sixteen rows.

For one token from the packed weights, for a tile of tokens from unpacked ones. Where the processor adds
products of bytes to 32-bit sums itself, that is what is done. Where it multiplies them to words (AVX2),
words are added as long as they cannot overflow, which saves most of the widening. Integers are exact in any
order.
"""

from axiom.lang import (
    Slice,
    Vec,
    array,
    bitcast,
    current_target,
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
from axiom.metal.arch.simd import (
    add_pairs,
    add_words,
    dot4,
    dot4_small,
    signed_dot4,
    sums_in_words,
)
from axiom.metal.ops.matrix import Matrix
from axiom.metal.ops.quantise import BLOCK_BYTES
from axiom.metal.ops.quants import added, largest_quant, quants_at, steps_in_words
from axiom.metal.ops.unpack import GROUP_UNPACKED_BYTES


@fn(inline="always")
def activations_at(rows: Slice[u8], at: u64) -> Vec[i8]:
    """Return the four quants at a byte, for every row of weights."""
    return bitcast(i8, splat(i32, 16, load_bytes(i32, rows, at)))


@fn(inline="always")
def unit_dots(
    matrix: Matrix, w: Slice[u8], x: Slice[u8], b: u64, s: int, halves: tuple[int, ...], start: Vec[i32]
) -> Vec[i32]:
    """Return `start` plus the products of halves of block b of a unit with one token.

    w: the unit, packed. x: the token's activations of the unit. s: as in `quants_at`. halves: 0 is columns
    0 to 15, 1 the others.
    """
    if sums_in_words(current_target()):
        return unit_word_dots(matrix, w, x, b, s, halves, start, splat(i16, 32, 1))
    # One chain of a few steps is no longer than another sum would make it.
    if len(halves) == 1:
        return chain(matrix, start, w, x, b, s, halves, 0, 1)
    even = chain(matrix, start, w, x, b, s, halves, 0, 2)
    return even + chain(matrix, splat(i32, 16, 0), w, x, b, s, halves, 1, 2)


@fn(inline="always")
def chain(
    matrix: Matrix,
    start: Vec[i32],
    w: Slice[u8],
    x: Slice[u8],
    b: u64,
    s: int,
    halves: tuple[int, ...],
    first: int,
    by: int,
) -> Vec[i32]:
    """Add the products of every `by`-th step."""
    sums = start
    for h in static(halves):
        for v in static(range(first, 4, by)):
            quants = quants_at(matrix, w, b, s, h, u64(v))
            numbers = activations_at(x, b * BLOCK_BYTES + (16 * h + 4 * v))
            if largest_quant(matrix) <= 127:
                sums = dot4_small(sums, quants, numbers)
            else:
                sums = dot4(sums, quants, numbers)
    return sums


@fn(inline="always")
def unit_word_dots(
    matrix: Matrix,
    w: Slice[u8],
    x: Slice[u8],
    b: u64,
    s: int,
    halves: tuple[int, ...],
    start: Vec[i32],
    factors: Vec[i16],
) -> Vec[i32]:
    """Do what `unit_dots` does, as `word_dots` does it.

    factors: what the sums of a row are multiplied by, which costs nothing, twice for each row; 1 where
    `steps_in_words` is none.
    """
    steps = steps_in_words(largest_quant(matrix))
    sums = array(i32, 16)
    vstore(sums.all, 0, start)
    words = array(i16, 64)
    for v in urange(0, 4, 2, rolled=True):
        for h in static(halves):
            known = vload(words.all, 32 * h, 32) if steps > 2 else splat(i16, 32, 0)
            for n in static(range(2)):
                quants = quants_at(matrix, w, b, s, h, v + n)
                numbers = activations_at(x, b * BLOCK_BYTES + v * 4 + (16 * h + 4 * n))
                if steps == 0:
                    signed = bitcast(i8, quants ^ added(matrix))
                    vstore(sums.all, 0, signed_dot4(vload(sums.all, 0, 16), signed, numbers))
                else:
                    known = add_pairs(known, quants, numbers)
            if steps > 2:
                vstore(words.all, 32 * h, known)
            elif steps == 2:
                vstore(sums.all, 0, add_words(vload(sums.all, 0, 16), known, factors))
    if steps >= 8:
        both = vload(words.all, 0, 32) + vload(words.all, 32, 32)
        vstore(sums.all, 0, add_words(vload(sums.all, 0, 16), both, factors))
    elif steps > 2:
        for h in static(halves):
            vstore(sums.all, 0, add_words(vload(sums.all, 0, 16), vload(words.all, 32 * h, 32), factors))
    return vload(sums.all, 0, 16)


@fn(inline="always")
def block_dots(
    largest: int,
    at_once: int,
    quants: Slice[u8],
    rows: Slice[u8],
    dots: Slice[i32],
    row_bytes: int,
    tile: int,
    first: int,
    last: int,
) -> None:
    """Add the products of 4-column steps [first, last) of a block to the integer sums.

    quants: the unpacked block of the first row group. rows: the block of the first token. largest: what no
    unpacked weight is above.
    """
    for v in static(range(first, last)):
        for t in static(range(tile)):
            x = activations_at(rows, u64(t * row_bytes + 4 * v))
            for i in static(range(at_once)):
                at = 16 * (i * tile + t)
                w = vload_bytes(u8, 64, quants, i * GROUP_UNPACKED_BYTES + 64 * v)
                dot = vload(dots, at, 16)
                vstore(dots, at, dot4_small(dot, w, x) if largest <= 127 else dot4(dot, w, x))
