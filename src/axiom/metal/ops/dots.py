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
from axiom.metal.arch.simd import add_pairs, add_words, dot4, dot4_small, sums_in_words
from axiom.metal.ops.matrix import Matrix
from axiom.metal.ops.quantise import BLOCK_BYTES
from axiom.metal.ops.quants import largest_quant, quants_at
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
        return unit_word_dots(matrix, w, x, b, s, halves, start)
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
    matrix: Matrix, w: Slice[u8], x: Slice[u8], b: u64, s: int, halves: tuple[int, ...], start: Vec[i32]
) -> Vec[i32]:
    """Do what `unit_dots` does, as `word_dots` does it."""
    largest = largest_quant(matrix)
    parts = parts_of(largest)
    steps = steps_in_words(largest)
    sums = array(i32, 16)
    vstore(sums.all, 0, start)
    words = array(i16, 32 * 2 * parts)
    for v in urange(0, 4, 2, rolled=True):
        for h in static(halves):
            quants = quants_at(matrix, w, b, s, h, v)
            more = quants_at(matrix, w, b, s, h, v + 1)
            numbers = activations_at(x, b * BLOCK_BYTES + v * 4 + 16 * h)
            others = activations_at(x, b * BLOCK_BYTES + v * 4 + (16 * h + 4))
            for part in static(range(parts)):
                place = 32 * (parts * h + part)
                known = vload(words.all, place, 32) if steps > 2 else splat(i16, 32, 0)
                known = add_pairs(known, part_of(largest, part, quants), numbers)
                known = add_pairs(known, part_of(largest, part, more), others)
                if steps > 2:
                    vstore(words.all, place, known)
                else:
                    vstore(sums.all, 0, add_words(vload(sums.all, 0, 16), known, 1))
    if steps > 2:
        for part in static(range(parts)):
            for h in static(halves):
                known = vload(words.all, 32 * (parts * h + part), 32)
                vstore(sums.all, 0, add_words(vload(sums.all, 0, 16), known, 16 if part == 1 else 1))
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
    if sums_in_words(current_target()):
        word_dots(largest, at_once, quants, rows, dots, row_bytes, tile, first, last)
    else:
        for v in static(range(first, last)):
            for t in static(range(tile)):
                x = activations_at(rows, u64(t * row_bytes + 4 * v))
                for i in static(range(at_once)):
                    at = 16 * (i * tile + t)
                    w = vload_bytes(u8, 64, quants, i * GROUP_UNPACKED_BYTES + 64 * v)
                    dot = vload(dots, at, 16)
                    vstore(dots, at, dot4_small(dot, w, x) if largest <= 127 else dot4(dot, w, x))


def parts_of(largest: int) -> int:
    """Return in how many parts quants up to `largest` are multiplied: a word must take two products."""
    return 1 if largest <= 63 else 2


def steps_in_words(largest: int) -> int:
    """Return how many times a word can take two products of such a part with signed bytes."""
    return 32767 // (2 * 128 * (largest if parts_of(largest) == 1 else 15))


@fn(inline="always")
def part_of(largest: int, part: int, quants: Vec[u8]) -> Vec[u8]:
    """Return the part of the quants that is multiplied: all of small ones, else their low or high half."""
    if parts_of(largest) == 1:
        return quants
    return quants & 15 if part == 0 else quants >> 4


@fn(inline="always")
def word_dots(
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
    """Do what `block_dots` does, the sums of several steps in words: one widening for all of them.

    The loops stay loops: unrolled, they are reordered into one that keeps more than there are registers.
    """
    steps = steps_in_words(largest)
    for part in static(range(parts_of(largest))):
        for start in static(range(first, last, max(steps, 4))):
            words = array(i16, 32 * tile * at_once)
            for v in urange(start, min(start + max(steps, 4), last), 2, rolled=True):
                for i in static(range(at_once)):
                    line = v * 64 + i * GROUP_UNPACKED_BYTES
                    w = part_of(largest, part, vload_bytes(u8, 64, quants, line))
                    more = part_of(largest, part, vload_bytes(u8, 64, quants, line + 64))
                    for t in static(range(tile)):
                        place = 16 * (i * tile + t)
                        known = vload(words.all, 2 * place, 32) if steps > 2 else splat(i16, 32, 0)
                        known = add_pairs(known, w, activations_at(rows, v * 4 + t * row_bytes))
                        known = add_pairs(known, more, activations_at(rows, v * 4 + (t * row_bytes + 4)))
                        if steps > 2:
                            vstore(words.all, 2 * place, known)
                        else:
                            vstore(dots, place, add_words(vload(dots, place, 16), known, 1))
            if steps > 2:
                for at in static(range(0, 16 * tile * at_once, 16)):
                    known = vload(words.all, 2 * at, 32)
                    vstore(dots, at, add_words(vload(dots, at, 16), known, 16 if part == 1 else 1))
