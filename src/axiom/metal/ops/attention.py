"""Attention of one query head over the cached keys and values.

Order of summation, independent of vector width:
- a score: four accumulators by i mod 4 over the head's dimensions, each fused in order of i, combined
  as (a0 + a1) + (a2 + a3), then multiplied by 1 / sqrt(head_dim);
- the output: four accumulators by position mod 4, combined in the same way, then divided by the
  softmax denominator (see `softmax`).
"""

import math

from axiom.lang import (
    Slice,
    Vec,
    convert,
    extract,
    f32,
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
    query: Slice[f32],
    keys: Slice[KvT],
    values: Slice[KvT],
    scores: Slice[f32],
    out: Slice[f32],
    n_positions: u64,
    head_dim: int,
) -> None:
    """Attend to positions 0 .. n_positions - 1 (at least one) with one query head.

    query, out: head_dim numbers. keys, values: one layer and KV head, in the layout of `kv_layout`.
    scores: workspace of n_positions numbers, padded to a multiple of 16.
    """
    padded = (n_positions + 15) // 16 * 16
    used = scores.part(0, padded)
    attention_scores(query, keys, used, n_positions, head_dim)
    denominator = softmax_numerators(used)
    for column in static(range(0, head_dim, 16)):
        mixed = weighted_values(used, values, n_positions, head_dim, column)
        result = mixed / splat(f32, 16, denominator)
        if column + 16 <= head_dim:
            vstore(out, column, result)
        else:
            for lane in static(range(head_dim - column)):
                out[column + lane] = extract(result, lane)


@fn
def attention_scores(
    query: Slice[f32], keys: Slice[KvT], scores: Slice[f32], n_positions: u64, head_dim: int
) -> None:
    """Set scores[t] = query . key[t] / sqrt(head_dim), and the padding to minus infinity."""
    for first in urange(0, scores.length, 16):
        tile = keys.part(first * head_dim, 16 * head_dim)
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
        score = ((a0 + a1) + (a2 + a3)) * (1.0 / math.sqrt(head_dim))
        # Lanes past the end hold stale keys; minus infinity takes them out of the softmax.
        n_left = n_positions - first
        limit = splat(i32, 16, i32(n_left) if n_left < 16 else i32(16))
        inside = lane_numbers(i32, 16) < limit
        vstore(scores, first, select(inside, score, splat(f32, 16, MINUS_INFINITY)))


@fn
def weighted_values(
    weights: Slice[f32], values: Slice[KvT], n_positions: u64, head_dim: int, column: int
) -> Vec[f32]:
    """Return sum over t of weights[t] * value[t], for 16 columns from `column`."""
    stride = round_up(head_dim, 16)
    a0 = splat(f32, 16, 0.0)
    a1 = splat(f32, 16, 0.0)
    a2 = splat(f32, 16, 0.0)
    a3 = splat(f32, 16, 0.0)
    whole = n_positions // 4 * 4
    for t in urange(u64(0), whole, 4):
        w = weights.part(t, 4)
        v = values.part(t * stride, 4 * stride)
        a0 = fma(convert(f32, vload(v, column, 16)), splat(f32, 16, w[0]), a0)
        a1 = fma(convert(f32, vload(v, stride + column, 16)), splat(f32, 16, w[1]), a1)
        a2 = fma(convert(f32, vload(v, 2 * stride + column, 16)), splat(f32, 16, w[2]), a2)
        a3 = fma(convert(f32, vload(v, 3 * stride + column, 16)), splat(f32, 16, w[3]), a3)
    # Rows past the end may hold anything, so the last one to three positions are taken singly.
    rest = n_positions - whole
    tail = values.part(whole * stride, rest * stride)
    if rest > 0:
        a0 = fma(convert(f32, vload(tail, column, 16)), splat(f32, 16, weights[whole]), a0)
    if rest > 1:
        a1 = fma(convert(f32, vload(tail, stride + column, 16)), splat(f32, 16, weights[whole + 1]), a1)
    if rest > 2:
        a2 = fma(convert(f32, vload(tail, 2 * stride + column, 16)), splat(f32, 16, weights[whole + 2]), a2)
    return (a0 + a1) + (a2 + a3)
