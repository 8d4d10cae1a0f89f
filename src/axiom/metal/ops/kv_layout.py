"""How the keys and values of one layer and one KV head lie in memory, in f32 or f16.

Keys: positions in lanes, [position // 16][head_dim][position % 16], so that the scores of sixteen
positions are summed side by side. Values: [position][head_dim padded to 16].
"""

from typing import TypeVar

from axiom.lang import (
    Slice,
    convert,
    f16,
    f32,
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
from axiom.metal.ops.matrix import round_up

KvT = TypeVar("KvT", f16, f32)


def key_count(n_context: int, head_dim: int) -> int:
    """Return how many numbers the keys of one layer and head take."""
    return round_up(n_context, 16) * head_dim


def value_count(n_context: int, head_dim: int) -> int:
    """Return how many numbers the values of one layer and head take."""
    return n_context * round_up(head_dim, 16)


@fn
def store_key(element: type[KvT], keys: Slice[KvT], position: u64, key: Slice[f32]) -> None:
    """Store one key (head_dim numbers) at its position, rounded to nearest even."""
    start = position // 16 * 16 * key.length + position % 16
    for i in urange(key.length):
        keys[start + i * 16] = element(key[i])


@fn
def store_value(
    element: type[KvT], values: Slice[KvT], position: u64, value: Slice[f32], head_dim: int
) -> None:
    """Store one value at its position; `value` may be followed by other numbers, padded to 16."""
    row = values.part(position * round_up(head_dim, 16), round_up(head_dim, 16))
    for i in static(range(0, head_dim // 16 * 16, 16)):
        vstore(row, i, convert(element, vload(value, i, 16)))
    if head_dim % 16 != 0:
        last = vload(value, head_dim // 16 * 16, 16)
        kept = select(lane_numbers(i32, 16) < head_dim % 16, last, splat(f32, 16, 0.0))
        vstore(row, head_dim // 16 * 16, convert(element, kept))
