"""One tile of attention over keys and values in q8_0 (see `kv_layout`).

The query is quantised as activations are (see `quantise`), so that a block's products are summed as
integers, exactly; a score is summed block by block, acc = fma(sum * d_key, d_query, acc). A
value's weight is multiplied by the value's scale, once per block, and then by its bytes as numbers. For the
sum of values see `attention`.
"""

from axiom.lang import (
    Slice,
    array,
    bitcast,
    convert,
    f16,
    f32,
    fma,
    fn,
    i8,
    i32,
    lane_numbers,
    load_bytes,
    prefetch,
    select,
    splat,
    static,
    u8,
    u64,
    urange,
    vload,
    vload_bytes,
    vstore,
)
from axiom.metal.arch.simd import dot4
from axiom.metal.ops.float_sums import scaled_sum
from axiom.metal.ops.kv_layout import BLOCK, SCALES_BYTES, TILE, KvForm
from axiom.metal.ops.kv_quantise import read_block
from axiom.metal.ops.matrix import round_up
from axiom.metal.ops.quantise import BLOCK_BYTES, SCALE_AT, START_128_AT, quantise

PREFETCH_BYTES = 4096
WHOLE_BLOCK_BYTES = SCALES_BYTES + BLOCK * TILE


def query_bytes_q8(form: KvForm) -> int:
    """Return the bytes of a quantised query."""
    return form.n_blocks * BLOCK_BYTES


@fn
def quantise_query(form: KvForm, query: Slice[f32], out: Slice[u8]) -> None:
    """Quantise a query in blocks, the last one filled up with zeros."""
    for block in static(range(form.n_blocks)):
        numbers = array(f32, BLOCK)
        read_block(query, block * BLOCK, min(BLOCK, form.head_dim - block * BLOCK), numbers.all)
        quantise(numbers.all, out.part(block * BLOCK_BYTES, BLOCK_BYTES))


@fn(inline="always")
def prefetch_block(block: Slice[u8], n_bytes: int) -> None:
    """Ask for as many bytes as a block has, `PREFETCH_BYTES` ahead of it."""
    for line in static(range(0, n_bytes, 64)):
        prefetch(block, PREFETCH_BYTES + line)


@fn(inline="always")
def q8_scores(
    form: KvForm,
    queries: Slice[u8],
    tile: Slice[u8],
    scores: Slice[f32],
    at: u64,
    padded: u64,
    together: int,
    scale: float,
) -> None:
    """Do what `attention.tile_scores` does; a row's query follows the other's."""
    totals = array(f32, 16 * together)
    for b in urange(form.n_whole_blocks):
        block = tile.part(b * WHOLE_BLOCK_BYTES, WHOLE_BLOCK_BYTES)
        add_block_scores(form, queries, block, b, BLOCK, totals.all, together)
    if form.rest != 0:
        n_bytes = SCALES_BYTES + round_up(form.rest, 4) * TILE
        block = tile.part(form.n_whole_blocks * WHOLE_BLOCK_BYTES, n_bytes)
        add_block_scores(form, queries, block, u64(form.n_whole_blocks), form.rest, totals.all, together)
    for row in static(range(together)):
        vstore(scores, at + padded * row, vload(totals.all, 16 * row, 16) * scale)


@fn(inline="always")
def add_block_scores(
    form: KvForm,
    queries: Slice[u8],
    block: Slice[u8],
    b: u64,
    count: int,
    totals: Slice[f32],
    together: int,
) -> None:
    """Add the part of the b-th block, of `count` dimensions, to the sums of several rows."""
    prefetch_block(block, SCALES_BYTES + count * TILE)
    sums = array(i32, 32 * together)
    for row in static(range(together)):
        query = queries.part(b * BLOCK_BYTES + row * query_bytes_q8(form), BLOCK_BYTES)
        vstore(sums.all, 32 * row, splat(i32, 16, load_bytes(i32, query, START_128_AT)))
    for v in static(range(round_up(count, 4) // 4)):
        key = vload_bytes(u8, 64, block, SCALES_BYTES + 64 * v)
        for row in static(range(together)):
            query = queries.part(b * BLOCK_BYTES + row * query_bytes_q8(form), BLOCK_BYTES)
            x = bitcast(i8, splat(i32, 16, load_bytes(i32, query, 4 * v)))
            place = 32 * row + 16 * (v % 2)
            vstore(sums.all, place, dot4(vload(sums.all, place, 16), key, x))
    scales = convert(f32, vload_bytes(f16, 16, block, 0))
    for row in static(range(together)):
        query = queries.part(b * BLOCK_BYTES + row * query_bytes_q8(form), BLOCK_BYTES)
        whole = vload(sums.all, 32 * row, 16) + vload(sums.all, 32 * row + 16, 16)
        factor = splat(f32, 16, load_bytes(f32, query, SCALE_AT))
        total = vload(totals, 16 * row, 16)
        vstore(totals, 16 * row, fma(scaled_sum(whole, scales), factor, total))


@fn(inline="always")
def q8_values(
    form: KvForm,
    weights: Slice[f32],
    at: u64,
    padded: u64,
    tile: Slice[u8],
    totals: Slice[f32],
    together: int,
    n_values: i32,
) -> None:
    """Add the weighted sum of a tile's first n_values values to the totals of several rows.

    The weights of a row begin at `at` and are `padded` from the other's; totals are `columns` apart.
    """
    for b in urange(form.n_whole_blocks):
        block = tile.part(b * WHOLE_BLOCK_BYTES, WHOLE_BLOCK_BYTES)
        target = totals.part(b * BLOCK, (together - 1) * form.columns + BLOCK)
        add_block_values(form, weights, at, padded, block, BLOCK, target, together, n_values)
    if form.rest != 0:
        columns = round_up(form.rest, 16)
        start = form.n_whole_blocks * BLOCK
        block = tile.part(form.n_whole_blocks * WHOLE_BLOCK_BYTES, SCALES_BYTES + columns * TILE)
        target = totals.part(start, (together - 1) * form.columns + columns)
        add_block_values(form, weights, at, padded, block, columns, target, together, n_values)


@fn(inline="always")
def add_block_values(
    form: KvForm,
    weights: Slice[f32],
    at: u64,
    padded: u64,
    block: Slice[u8],
    columns: int,
    totals: Slice[f32],
    together: int,
    n_values: i32,
) -> None:
    """Do what `q8_values` does for one block of that many columns."""
    scaled = array(f32, 16 * together)
    # What lies behind the last value may be anything: its weight is zero, its scale need not be a number.
    kept = lane_numbers(i32, 16) < splat(i32, 16, n_values)
    scales = select(kept, convert(f32, vload_bytes(f16, 16, block, 0)), splat(f32, 16, 0.0))
    for row in static(range(together)):
        vstore(scaled.all, 16 * row, vload(weights, at + padded * row, 16) * scales)
    prefetch_block(block, SCALES_BYTES + columns * TILE)
    for column in static(range(0, columns, 16)):
        parts = array(f32, 64 * together)
        for t in static(range(16)):
            value = convert(f32, vload_bytes(i8, 16, block, SCALES_BYTES + t * columns + column))
            for row in static(range(together)):
                place = 64 * row + 16 * (t % 4)
                number = splat(f32, 16, scaled[16 * row + t])
                vstore(parts.all, place, fma(value, number, vload(parts.all, place, 16)))
        for row in static(range(together)):
            low = vload(parts.all, 64 * row, 16) + vload(parts.all, 64 * row + 16, 16)
            high = vload(parts.all, 64 * row + 32, 16) + vload(parts.all, 64 * row + 48, 16)
            target = column + row * form.columns
            vstore(totals, target, vload(totals, target, 16) + (low + high))
