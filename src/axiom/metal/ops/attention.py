"""Attention of the query heads that share one KV head, over its cached keys and values.

Keys and values are walked in tiles of sixteen positions. A *row* is one query head of one token. Where all
rows reach, a tile is read once for several rows, whose sums stay in registers; the last tiles, where a
row may end, are done row by row. That changes no sum, so a block of tokens has the bits of each alone.

Order of summation, independent of vector width, of the other rows and of the other tokens:
- a score: four accumulators by i mod 4 over the head's dimensions, each fused in order of i, combined
  as (a0 + a1) + (a2 + a3), then multiplied by 1 / sqrt(head_dim);
- the output: per tile four accumulators by position mod 4, combined in the same way; the tiles are
  added in order; the sum is divided by the softmax denominator (see `softmax`).
"""

import math

from axiom.lang import (
    Slice,
    Vec,
    array,
    convert,
    current_target,
    extract,
    f32,
    fill_zero,
    fma,
    fn,
    i32,
    lane_numbers,
    minimum,
    prefetch,
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
from axiom.metal.ops.kv_layout import KvT
from axiom.metal.ops.matrix import round_up
from axiom.metal.ops.softmax import MINUS_INFINITY, softmax_numerators

# Rows whose scores are kept at a time, about; and rows whose sums fit the registers, at most.
BLOCK_ROWS = 12
WIDE_ROWS = 6
# Far enough to hide memory: 2 to 4 KiB were equal, 8 KiB slower.
PREFETCH_BYTES = 4096


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
    """Return how many rows share a walk over the tiles: a divisor of n_queries."""
    if not wide:
        return 1
    return max(rows for rows in range(1, WIDE_ROWS + 1) if n_queries % rows == 0)


@fn
def attend(
    queries: Slice[f32],
    keys: Slice[KvT],
    values: Slice[KvT],
    scores: Slice[f32],
    sums: Slice[f32],
    out: Slice[f32],
    first_position: u64,
    n_tokens: u64,
    stride: int,
    n_queries: int,
    head_dim: int,
) -> None:
    """Attend from the tokens at first_position and after it, each to all positions up to its own.

    queries, out: per token n_queries vectors of head_dim numbers; tokens are `stride` numbers apart. keys,
    values: one layer and KV head, in the layout of `kv_layout`, with all positions up to the last token's.
    Workspace: scores, `score_count` of as many positions as there are; sums, `sum_count` numbers.
    """
    done = u64(0)
    while done < n_tokens:
        count = minimum(n_tokens - done, u64(block_tokens(n_queries)))
        attend_block(
            queries.part(done * stride, (count - 1) * stride + n_queries * head_dim),
            keys,
            values,
            scores,
            sums,
            out.part(done * stride, (count - 1) * stride + n_queries * head_dim),
            first_position + done,
            count,
            stride,
            n_queries,
            head_dim,
        )
        done += count


@fn
def attend_block(
    queries: Slice[f32],
    keys: Slice[KvT],
    values: Slice[KvT],
    scores: Slice[f32],
    sums: Slice[f32],
    out: Slice[f32],
    first_position: u64,
    n_tokens: u64,
    stride: int,
    n_queries: int,
    head_dim: int,
) -> None:
    """Do what `attend` does for at most `block_tokens` tokens."""
    n_rows = n_tokens * n_queries
    columns = round_up(head_dim, 16)
    padded = (first_position + n_tokens + 15) // 16 * 16
    rows = sums.part(n_rows * columns, n_rows * columns)
    for token in urange(n_tokens):
        for i in urange(n_queries * head_dim):
            rows[token * (n_queries * head_dim) + i] = queries[token * stride + i]
    block_scores(rows, keys, scores, first_position, n_rows, padded, n_queries, head_dim)
    denominators = array(f32, block_tokens(n_queries) * n_queries)
    for row in urange(n_rows):
        count = (first_position + row // n_queries + 16) // 16 * 16
        denominators[row] = softmax_numerators(scores.part(row * padded, count))
    block_values(scores, values, sums, first_position, n_rows, padded, n_queries, columns)
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
def block_scores(
    rows: Slice[f32],
    keys: Slice[KvT],
    scores: Slice[f32],
    first_position: u64,
    n_rows: u64,
    padded: u64,
    n_queries: int,
    head_dim: int,
) -> None:
    """Set scores[row, t] = row . key[t] / sqrt(head_dim), and the padding to minus infinity."""
    together = rows_together(n_queries, current_target().many_registers)
    whole = (first_position + 1) // 16 * 16
    for row in urange(u64(0), n_rows, together):
        queries = rows.part(row * head_dim, together * head_dim)
        for first in urange(u64(0), whole, 16):
            tile = keys.part(first * head_dim, 16 * head_dim)
            several_scores(queries, tile, scores, row * padded + first, padded, together, head_dim)
    for row in urange(n_rows):
        n_positions = first_position + row // n_queries + 1
        query = rows.part(row * head_dim, head_dim)
        for first in urange(whole, n_positions, 16):
            # Lanes past the end hold stale keys; minus infinity takes them out of the softmax.
            n_left = n_positions - first
            limit = splat(i32, 16, i32(n_left) if n_left < 16 else i32(16))
            score = tile_scores(query, keys.part(first * head_dim, 16 * head_dim), head_dim)
            scaled = score * (1.0 / math.sqrt(head_dim))
            kept = select(lane_numbers(i32, 16) < limit, scaled, splat(f32, 16, MINUS_INFINITY))
            vstore(scores, row * padded + first, kept)


@fn(inline="always")
def prefetch_ahead(part: Slice[KvT]) -> None:
    """Ask for as many bytes as a part of a tile has, `PREFETCH_BYTES` ahead of it."""
    lines = reinterpret(u8, part)
    for line in urange(u64(0), lines.length, 64):
        prefetch(lines, line + PREFETCH_BYTES)


@fn(inline="always")
def several_scores(
    queries: Slice[f32],
    tile: Slice[KvT],
    scores: Slice[f32],
    at: u64,
    padded: u64,
    together: int,
    head_dim: int,
) -> None:
    """Do what `tile_scores` does for several rows, and store the scaled scores."""
    parts = array(f32, 64 * together)
    for i in urange(0, head_dim // 4 * 4, 4):
        q = queries.part(i, (together - 1) * head_dim + 4)
        k = tile.part(i * 16, 64)
        prefetch_ahead(k)
        for e in static(range(4)):
            key = convert(f32, vload(k, 16 * e, 16))
            for row in static(range(together)):
                place = 64 * row + 16 * e
                number = splat(f32, 16, q[row * head_dim + e])
                vstore(parts.all, place, fma(key, number, vload(parts.all, place, 16)))
    for e in static(range(head_dim % 4)):
        rest = head_dim // 4 * 4 + e
        key = convert(f32, vload(tile, rest * 16, 16))
        for row in static(range(together)):
            place = 64 * row + 16 * e
            number = splat(f32, 16, queries[row * head_dim + rest])
            vstore(parts.all, place, fma(key, number, vload(parts.all, place, 16)))
    for row in static(range(together)):
        low = vload(parts.all, 64 * row, 16) + vload(parts.all, 64 * row + 16, 16)
        high = vload(parts.all, 64 * row + 32, 16) + vload(parts.all, 64 * row + 48, 16)
        vstore(scores, at + padded * row, (low + high) * (1.0 / math.sqrt(head_dim)))


@fn(inline="always")
def tile_scores(query: Slice[f32], tile: Slice[KvT], head_dim: int) -> Vec[f32]:
    """Return query . key for the sixteen keys of a tile."""
    a0 = splat(f32, 16, 0.0)
    a1 = splat(f32, 16, 0.0)
    a2 = splat(f32, 16, 0.0)
    a3 = splat(f32, 16, 0.0)
    for i in urange(0, head_dim // 4 * 4, 4):
        q = query.part(i, 4)
        k = tile.part(i * 16, 64)
        a0 = fma(convert(f32, vload(k, 0, 16)), splat(f32, 16, q[0]), a0)
        a1 = fma(convert(f32, vload(k, 16, 16)), splat(f32, 16, q[1]), a1)
        a2 = fma(convert(f32, vload(k, 32, 16)), splat(f32, 16, q[2]), a2)
        a3 = fma(convert(f32, vload(k, 48, 16)), splat(f32, 16, q[3]), a3)
    if head_dim % 4 != 0:
        rest = head_dim // 4 * 4
        a0 = fma(convert(f32, vload(tile, rest * 16, 16)), splat(f32, 16, query[rest]), a0)
        a1 = fma(convert(f32, vload(tile, rest * 16 + 16, 16)), splat(f32, 16, query[rest + 1]), a1)
    return (a0 + a1) + (a2 + a3)


@fn
def block_values(
    weights: Slice[f32],
    values: Slice[KvT],
    sums: Slice[f32],
    first_position: u64,
    n_rows: u64,
    padded: u64,
    n_queries: int,
    columns: int,
) -> None:
    """Set sums[row] = sum over t of weights[row, t] * value[t]; a value takes `columns` numbers."""
    together = rows_together(n_queries, current_target().many_registers)
    whole = (first_position + 1) // 16 * 16
    fill_zero(sums.part(0, n_rows * columns))
    for row in urange(u64(0), n_rows, together):
        totals = sums.part(row * columns, together * columns)
        for first in urange(u64(0), whole, 16):
            tile = values.part(first * columns, 16 * columns)
            for column in urange(0, columns, 16):
                several_values(
                    weights, row * padded + first, padded, tile, totals, column, together, columns
                )
    for row in urange(n_rows):
        n_positions = first_position + row // n_queries + 1
        total = sums.part(row * columns, columns)
        for first in urange(whole, n_positions, 16):
            count = minimum(n_positions - first, u64(16))
            w = weights.part(row * padded + first, count)
            tile = values.part(first * columns, count * columns)
            for column in urange(0, columns, 16):
                if count == 16:
                    mixed = tile_values(w, tile, column, columns)
                else:
                    mixed = tail_values(w, tile, column, columns)
                vstore(total, column, vload(total, column, 16) + mixed)


@fn(inline="always")
def several_values(
    weights: Slice[f32],
    at: u64,
    padded: u64,
    tile: Slice[KvT],
    totals: Slice[f32],
    column: u64,
    together: int,
    columns: int,
) -> None:
    """Do what `tile_values` does for several rows, and add it to their totals."""
    parts = array(f32, 64 * together)
    for t in static(range(16)):
        value = convert(f32, vload(tile, column + t * columns, 16))
        if t % 4 == 0:
            prefetch_ahead(tile.part(column * 16 + t * 16, 64))
        for row in static(range(together)):
            place = 64 * row + 16 * (t % 4)
            number = splat(f32, 16, weights.part(at + padded * row, 16)[t])
            vstore(parts.all, place, fma(value, number, vload(parts.all, place, 16)))
    for row in static(range(together)):
        low = vload(parts.all, 64 * row, 16) + vload(parts.all, 64 * row + 16, 16)
        high = vload(parts.all, 64 * row + 32, 16) + vload(parts.all, 64 * row + 48, 16)
        target = column + row * columns
        vstore(totals, target, vload(totals, target, 16) + (low + high))


@fn(inline="always")
def tile_values(weights: Slice[f32], tile: Slice[KvT], column: u64, stride: int) -> Vec[f32]:
    """Return the weighted sum of sixteen columns of the sixteen values of a tile."""
    a0 = splat(f32, 16, 0.0)
    a1 = splat(f32, 16, 0.0)
    a2 = splat(f32, 16, 0.0)
    a3 = splat(f32, 16, 0.0)
    for t in static(range(0, 16, 4)):
        a0 = fma(convert(f32, vload(tile, column + t * stride, 16)), splat(f32, 16, weights[t]), a0)
        v1 = convert(f32, vload(tile, column + (t + 1) * stride, 16))
        a1 = fma(v1, splat(f32, 16, weights[t + 1]), a1)
        v2 = convert(f32, vload(tile, column + (t + 2) * stride, 16))
        a2 = fma(v2, splat(f32, 16, weights[t + 2]), a2)
        v3 = convert(f32, vload(tile, column + (t + 3) * stride, 16))
        a3 = fma(v3, splat(f32, 16, weights[t + 3]), a3)
    return (a0 + a1) + (a2 + a3)


@fn
def tail_values(weights: Slice[f32], tail: Slice[KvT], column: u64, stride: int) -> Vec[f32]:
    """Return what `tile_values` does, for a last tile of fewer values; nothing behind it is read."""
    a0 = splat(f32, 16, 0.0)
    a1 = splat(f32, 16, 0.0)
    a2 = splat(f32, 16, 0.0)
    a3 = splat(f32, 16, 0.0)
    for t in urange(weights.length):
        v = convert(f32, vload(tail, column + t * stride, 16))
        w = splat(f32, 16, weights[t])
        lane = t % 4
        if lane == 0:
            a0 = fma(v, w, a0)
        elif lane == 1:
            a1 = fma(v, w, a1)
        elif lane == 2:
            a2 = fma(v, w, a2)
        else:
            a3 = fma(v, w, a3)
    return (a0 + a1) + (a2 + a3)
