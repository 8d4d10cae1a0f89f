"""One tile of attention over keys and values in f32 or f16.

A score has four accumulators by i mod 4 over the head's dimensions, each fused in order of i, combined as
(a0 + a1) + (a2 + a3). For the sum of values see `attention`.
"""

from axiom.lang import (
    Slice,
    Vec,
    array,
    convert,
    f16,
    f32,
    fma,
    fn,
    prefetch,
    splat,
    static,
    u8,
    u64,
    urange,
    vload,
    vload_bytes,
    vstore,
)
from axiom.metal.ops.kv_layout import KvForm

# Far enough to hide memory: 2 to 4 KiB were equal, 8 KiB slower.
PREFETCH_BYTES = 4096


@fn(inline="always")
def numbers_of(form: KvForm, tile: Slice[u8], number: u64) -> Vec[f32]:
    """Return sixteen numbers from the one with this number on, as f32, exactly."""
    if form.kind == "f16":
        return convert(f32, vload_bytes(f16, 16, tile, number * 2))
    return vload_bytes(f32, 16, tile, number * 4)


@fn(inline="always")
def prefetch_ahead(form: KvForm, tile: Slice[u8], number: u64) -> None:
    """Ask for 64 numbers, `PREFETCH_BYTES` ahead of the one with this number."""
    for line in static(range(form.number_bytes)):
        prefetch(tile, number * form.number_bytes + (PREFETCH_BYTES + 64 * line))


@fn(inline="always")
def float_scores(
    form: KvForm,
    queries: Slice[f32],
    tile: Slice[u8],
    scores: Slice[f32],
    at: u64,
    padded: u64,
    together: int,
    scale: float,
) -> None:
    """Do what `attention.tile_scores` does; a row's query follows the other's."""
    head_dim = form.head_dim
    parts = array(f32, 64 * together)
    for i in urange(0, head_dim // 4 * 4, 4):
        prefetch_ahead(form, tile, i * 16)
        for e in static(range(4)):
            key = numbers_of(form, tile, i * 16 + 16 * e)
            for row in static(range(together)):
                place = 64 * row + 16 * e
                number = splat(f32, 16, queries[i + (row * head_dim + e)])
                vstore(parts.all, place, fma(key, number, vload(parts.all, place, 16)))
    for e in static(range(head_dim % 4)):
        rest = head_dim // 4 * 4 + e
        key = numbers_of(form, tile, u64(rest * 16))
        for row in static(range(together)):
            place = 64 * row + 16 * e
            number = splat(f32, 16, queries[row * head_dim + rest])
            vstore(parts.all, place, fma(key, number, vload(parts.all, place, 16)))
    for row in static(range(together)):
        low = vload(parts.all, 64 * row, 16) + vload(parts.all, 64 * row + 16, 16)
        high = vload(parts.all, 64 * row + 32, 16) + vload(parts.all, 64 * row + 48, 16)
        vstore(scores, at + padded * row, (low + high) * scale)


@fn(inline="always")
def float_values(
    form: KvForm,
    weights: Slice[f32],
    at: u64,
    padded: u64,
    tile: Slice[u8],
    totals: Slice[f32],
    together: int,
) -> None:
    """Add the weighted sum of a tile's sixteen values to the totals of several rows.

    The weights of a row begin at `at` and are `padded` from the other's; totals are `columns` apart.
    """
    columns = form.columns
    for column in urange(0, columns, 16):
        parts = array(f32, 64 * together)
        for t in static(range(16)):
            value = numbers_of(form, tile, column + t * columns)
            if t % 4 == 0:
                prefetch_ahead(form, tile, column * 16 + t * 16)
            for row in static(range(together)):
                place = 64 * row + 16 * (t % 4)
                number = splat(f32, 16, weights.part(at + padded * row, 16)[t])
                vstore(parts.all, place, fma(value, number, vload(parts.all, place, 16)))
        for row in static(range(together)):
            low = vload(parts.all, 64 * row, 16) + vload(parts.all, 64 * row + 16, 16)
            high = vload(parts.all, 64 * row + 32, 16) + vload(parts.all, 64 * row + 48, 16)
            target = column + row * columns
            vstore(totals, target, vload(totals, target, 16) + (low + high))


@fn
def float_tail_values(form: KvForm, weights: Slice[f32], tile: Slice[u8], total: Slice[f32]) -> None:
    """Do what `float_values` does for one row, with fewer values than a tile's; no others are read."""
    columns = form.columns
    for column in urange(0, columns, 16):
        a0 = splat(f32, 16, 0.0)
        a1 = splat(f32, 16, 0.0)
        a2 = splat(f32, 16, 0.0)
        a3 = splat(f32, 16, 0.0)
        for t in urange(weights.length):
            v = numbers_of(form, tile, column + t * columns)
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
        vstore(total, column, vload(total, column, 16) + ((a0 + a1) + (a2 + a3)))
