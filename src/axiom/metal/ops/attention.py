"""Attention of the query heads that share one KV head, over its cached keys and values.

Keys and values are walked once, in tiles of sixteen positions (see `kv_layout`). A *row* is one query head
of one token. Where all rows reach, a tile serves several rows at a time, whose sums stay in registers; the
last tiles, where a row may end, are done row by row. That changes no sum, so a block of tokens has the
bits of each alone.

Order of summation, independent of vector width, of the other rows and of the other tokens:
- a score: see `attention_floats` and `attention_q8`; then multiplied by 1 / sqrt(head_dim);
- the output: per tile four accumulators by position mod 4, each fused in order of position, combined as
  (a0 + a1) + (a2 + a3); the tiles are added in order; the sum is divided by the softmax denominator (see
  `softmax`).
With a cache in f16, whose numbers have eleven significant bits, queries and weights are rounded to as many
(`eleven_bits`); the weights after they have been multiplied by 1 / denominator, instead of the sum.
"""

import math

from axiom.lang import (
    Slice,
    array,
    current_target,
    extract,
    f32,
    fill_zero,
    fn,
    i32,
    lane_numbers,
    minimum,
    reinterpret,
    select,
    splat,
    static,
    u8,
    u64,
    urange,
    vload,
    vstore,
)
from axiom.metal.ops.attention_floats import float_scores, float_tail_values, float_values
from axiom.metal.ops.attention_q8 import q8_scores, q8_values, quantise_query, query_bytes_q8
from axiom.metal.ops.eleven_bits import eleven_bits, eleven_bits_each
from axiom.metal.ops.kv_layout import KvForm
from axiom.metal.ops.matrix import round_up
from axiom.metal.ops.softmax import MINUS_INFINITY, softmax_numerators

# Rows whose scores are kept at a time, about; and rows whose sums fit the registers, at most.
BLOCK_ROWS = 12
WIDE_ROWS = 6


def block_tokens(n_queries: int) -> int:
    """Return how many tokens are attended to together."""
    return max(1, BLOCK_ROWS // n_queries)


def score_count(n_context: int, n_queries: int) -> int:
    """Return the length of the workspace `scores` for up to n_context positions."""
    return block_tokens(n_queries) * n_queries * round_up(n_context, 16)


def sum_count(head_dim: int, n_queries: int) -> int:
    """Return the length of the workspace `sums`."""
    return block_tokens(n_queries) * n_queries * 2 * round_up(head_dim, 16)


def rows_together(n_queries: int, wide: bool) -> int:
    """Return how many rows share what is read of a tile: a divisor of n_queries."""
    if not wide:
        return 1
    return max(rows for rows in range(1, WIDE_ROWS + 1) if n_queries % rows == 0)


def row_bytes(form: KvForm) -> int:
    """Return the bytes of a query as keys of this form are multiplied by: no more than columns * 4."""
    return query_bytes_q8(form) if form.quantised else form.head_dim * 4


@fn
def attend(
    form: KvForm,
    queries: Slice[f32],
    keys: Slice[u8],
    values: Slice[u8],
    scores: Slice[f32],
    sums: Slice[f32],
    out: Slice[f32],
    first_position: u64,
    n_tokens: u64,
    stride: int,
    n_queries: int,
) -> None:
    """Attend from the tokens at first_position and after it, each to all positions up to its own.

    queries, out: per token n_queries vectors of head_dim numbers; tokens are `stride` numbers apart. keys,
    values: one layer and KV head, in the layout of `kv_layout`, with all positions up to the last token's.
    Workspace: scores, `score_count` of as many positions as there are; sums, `sum_count` numbers.
    """
    width = n_queries * form.head_dim
    done = u64(0)
    while done < n_tokens:
        count = minimum(n_tokens - done, u64(block_tokens(n_queries)))
        attend_block(
            form,
            queries.part(done * stride, (count - 1) * stride + width),
            keys,
            values,
            scores,
            sums,
            out.part(done * stride, (count - 1) * stride + width),
            first_position + done,
            count,
            stride,
            n_queries,
        )
        done += count


@fn
def attend_block(
    form: KvForm,
    queries: Slice[f32],
    keys: Slice[u8],
    values: Slice[u8],
    scores: Slice[f32],
    sums: Slice[f32],
    out: Slice[f32],
    first_position: u64,
    n_tokens: u64,
    stride: int,
    n_queries: int,
) -> None:
    """Do what `attend` does for at most `block_tokens` tokens."""
    head_dim = form.head_dim
    columns = form.columns
    n_rows = n_tokens * n_queries
    padded = (first_position + n_tokens + 15) // 16 * 16
    rows = reinterpret(u8, sums.part(n_rows * columns, n_rows * columns))
    for row in urange(n_rows):
        query = queries.part(row // n_queries * stride + row % n_queries * head_dim, head_dim)
        place_row(form, query, rows.part(row * row_bytes(form), row_bytes(form)))
    block_scores(form, rows, keys, scores, first_position, n_rows, padded, n_queries)
    denominators = array(f32, block_tokens(n_queries) * n_queries)
    for row in urange(n_rows):
        count = (first_position + row // n_queries + 16) // 16 * 16
        denominators[row] = softmax_numerators(scores.part(row * padded, count))
        if form.kind == "f16":
            round_weights(scores.part(row * padded, count), denominators[row])
            denominators[row] = f32(1.0)
    block_values(form, scores, values, sums, first_position, n_rows, padded, n_queries)
    for row in urange(n_rows):
        mixed = sums.part(row * columns, columns)
        start = row // n_queries * stride + row % n_queries * head_dim
        target = out.part(start, head_dim)
        denominator = splat(f32, 16, denominators[row])
        for column in urange(0, head_dim // 16 * 16, 16):
            vstore(target, column, vload(mixed, column, 16) / denominator)
        if head_dim % 16 != 0:
            last = vload(mixed, head_dim // 16 * 16, 16) / denominator
            for lane in static(range(head_dim % 16)):
                target[head_dim // 16 * 16 + lane] = extract(last, lane)


@fn
def round_weights(weights: Slice[f32], denominator: f32) -> None:
    """Divide weights by their sum, and leave them eleven bits; as many as a multiple of 16."""
    factor = splat(f32, 16, f32(1.0) / denominator)
    for i in urange(0, weights.length, 16):
        vstore(weights, i, eleven_bits_each(vload(weights, i, 16) * factor))


@fn
def place_row(form: KvForm, query: Slice[f32], row: Slice[u8]) -> None:
    """Bring a query into the form that keys are multiplied by."""
    if form.quantised:
        quantise_query(form, query, row)
    else:
        numbers = reinterpret(f32, row)
        for i in urange(form.head_dim):
            numbers[i] = eleven_bits(query[i]) if form.kind == "f16" else query[i]


@fn
def block_scores(
    form: KvForm,
    rows: Slice[u8],
    keys: Slice[u8],
    scores: Slice[f32],
    first_position: u64,
    n_rows: u64,
    padded: u64,
    n_queries: int,
) -> None:
    """Set scores[row, t] = row . key[t] / sqrt(head_dim), and the padding to minus infinity."""
    together = rows_together(n_queries, current_target().many_registers)
    whole = (first_position + 1) // 16 * 16
    for first in urange(u64(0), whole, 16):
        tile = keys.part(first // 16 * form.key_tile_bytes, form.key_tile_bytes)
        for row in urange(u64(0), n_rows, together):
            queries = rows.part(row * row_bytes(form), together * row_bytes(form))
            tile_scores(form, queries, tile, scores, row * padded + first, padded, together)
    for row in urange(n_rows):
        n_positions = first_position + row // n_queries + 1
        query = rows.part(row * row_bytes(form), row_bytes(form))
        for first in urange(whole, n_positions, 16):
            # Lanes past the end hold stale keys; minus infinity takes them out of the softmax.
            at = row * padded + first
            tile = keys.part(first // 16 * form.key_tile_bytes, form.key_tile_bytes)
            tile_scores(form, query, tile, scores, at, padded, 1)
            limit = splat(i32, 16, i32(minimum(n_positions - first, u64(16))))
            kept = lane_numbers(i32, 16) < limit
            vstore(scores, at, select(kept, vload(scores, at, 16), splat(f32, 16, MINUS_INFINITY)))


@fn(inline="always")
def tile_scores(
    form: KvForm,
    queries: Slice[u8],
    tile: Slice[u8],
    scores: Slice[f32],
    at: u64,
    padded: u64,
    together: int,
) -> None:
    """Set the scores of the sixteen keys of a tile for `together` rows, `padded` apart in scores."""
    scale = 1.0 / math.sqrt(form.head_dim)
    if form.quantised:
        q8_scores(form, queries, tile, scores, at, padded, together, scale)
    else:
        float_scores(form, reinterpret(f32, queries), tile, scores, at, padded, together, scale)


@fn
def block_values(
    form: KvForm,
    weights: Slice[f32],
    values: Slice[u8],
    sums: Slice[f32],
    first_position: u64,
    n_rows: u64,
    padded: u64,
    n_queries: int,
) -> None:
    """Set sums[row] = sum over t of weights[row, t] * value[t]; a value takes `columns` numbers."""
    together = rows_together(n_queries, current_target().many_registers)
    columns = form.columns
    whole = (first_position + 1) // 16 * 16
    fill_zero(sums.part(0, n_rows * columns))
    for first in urange(u64(0), whole, 16):
        tile = values.part(first // 16 * form.value_tile_bytes, form.value_tile_bytes)
        for row in urange(u64(0), n_rows, together):
            totals = sums.part(row * columns, together * columns)
            if form.quantised:
                q8_values(form, weights, row * padded + first, padded, tile, totals, together, i32(16))
            else:
                float_values(form, weights, row * padded + first, padded, tile, totals, together)
    for row in urange(n_rows):
        n_positions = first_position + row // n_queries + 1
        total = sums.part(row * columns, columns)
        for first in urange(whole, n_positions, 16):
            count = i32(minimum(n_positions - first, u64(16)))
            at = row * padded + first
            tile = values.part(first // 16 * form.value_tile_bytes, form.value_tile_bytes)
            if form.quantised:
                q8_values(form, weights, at, padded, tile, total, 1, count)
            elif count == 16:
                float_values(form, weights, at, padded, tile, total, 1)
            else:
                float_tail_values(form, weights.part(at, u64(count)), tile, total)
