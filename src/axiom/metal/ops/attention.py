"""Attention of the query heads that share one KV head, over its cached keys and values.

Keys and values are walked in tiles of sixteen positions, each read from memory once for all queries.
Order of summation, independent of vector width:
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
    extract,
    f32,
    fill_zero,
    fma,
    fn,
    i32,
    lane_numbers,
    select,
    splat,
    static,
    u64,
    urange,
    vload,
    vstore,
)
from axiom.metal.ops.kv_layout import KvT
from axiom.metal.ops.matrix import round_up
from axiom.metal.ops.softmax import MINUS_INFINITY, softmax_numerators


@fn
def attend(
    queries: Slice[f32],
    keys: Slice[KvT],
    values: Slice[KvT],
    scores: Slice[f32],
    sums: Slice[f32],
    out: Slice[f32],
    n_positions: u64,
    n_queries: int,
    head_dim: int,
) -> None:
    """Attend to positions 0 .. n_positions - 1 (at least one).

    queries, out: n_queries vectors of head_dim numbers. keys, values: one layer and KV head, in the
    layout of `kv_layout`. Workspace: scores, n_queries times n_positions padded to a multiple of 16;
    sums, n_queries times head_dim padded likewise.
    """
    padded = (n_positions + 15) // 16 * 16
    stride = round_up(head_dim, 16)
    denominators = array(f32, n_queries)
    attention_scores(queries, keys, scores, n_positions, n_queries, head_dim)
    for query in urange(n_queries):
        denominators[query] = softmax_numerators(scores.part(query * padded, padded))
    weighted_values(scores, values, sums, n_positions, n_queries, stride)
    for query in urange(n_queries):
        mixed = sums.part(query * stride, stride)
        target = out.part(query * head_dim, head_dim)
        denominator = splat(f32, 16, denominators[query])
        for column in urange(0, head_dim // 16 * 16, 16):
            vstore(target, column, vload(mixed, column, 16) / denominator)
        if head_dim % 16 != 0:
            last = vload(mixed, head_dim // 16 * 16, 16) / denominator
            for lane in static(range(head_dim % 16)):
                target[head_dim // 16 * 16 + lane] = extract(last, lane)


@fn
def attention_scores(
    queries: Slice[f32],
    keys: Slice[KvT],
    scores: Slice[f32],
    n_positions: u64,
    n_queries: int,
    head_dim: int,
) -> None:
    """Set scores[query, t] = query . key[t] / sqrt(head_dim), and the padding to minus infinity."""
    padded = (n_positions + 15) // 16 * 16
    for first in urange(u64(0), padded, 16):
        tile = keys.part(first * head_dim, 16 * head_dim)
        # Lanes past the end hold stale keys; minus infinity takes them out of the softmax.
        n_left = n_positions - first
        limit = splat(i32, 16, i32(n_left) if n_left < 16 else i32(16))
        for query in urange(n_queries):
            score = tile_scores(queries.part(query * head_dim, head_dim), tile, head_dim)
            scaled = score * (1.0 / math.sqrt(head_dim))
            kept = select(lane_numbers(i32, 16) < limit, scaled, splat(f32, 16, MINUS_INFINITY))
            vstore(scores, query * padded + first, kept)


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
def weighted_values(
    weights: Slice[f32],
    values: Slice[KvT],
    sums: Slice[f32],
    n_positions: u64,
    n_queries: int,
    stride: int,
) -> None:
    """Set sums[query] = sum over t of weights[query, t] * value[t]; a value takes `stride` numbers."""
    padded = (n_positions + 15) // 16 * 16
    whole = n_positions // 16 * 16
    rest = n_positions - whole
    fill_zero(sums.part(0, n_queries * stride))
    for first in urange(u64(0), whole, 16):
        tile = values.part(first * stride, 16 * stride)
        for query in urange(n_queries):
            w = weights.part(query * padded + first, 16)
            total = sums.part(query * stride, stride)
            for column in urange(0, stride, 16):
                vstore(total, column, vload(total, column, 16) + tile_values(w, tile, column, stride))
    if rest > 0:
        tail = values.part(whole * stride, rest * stride)
        for query in urange(n_queries):
            w = weights.part(query * padded + whole, rest)
            total = sums.part(query * stride, stride)
            for column in urange(0, stride, 16):
                vstore(total, column, vload(total, column, 16) + tail_values(w, tail, column, stride))


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
