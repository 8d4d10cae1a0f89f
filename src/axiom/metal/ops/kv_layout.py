"""How the keys and values of one layer and one KV head lie in memory: in f32, f16 or q8_0.

Positions come in *tiles* of sixteen.

- f32, f16. Keys: positions in lanes, [tile][head_dim][16 positions], so that the scores of sixteen
  positions are summed side by side. Values: [position][head_dim padded to 16].
- q8_0: every 32 numbers of a key or a value, and the last fewer, are a *block* of signed bytes with one f16
  scale (see `kv_quantise`). Keys: [tile][block], a block being 16 f16 scales, one per position, then for
  every 4 dimensions 64 bytes, byte 4*p + e = position p, dimension e of them, plus 128. Values: [tile]
  [block], a block being 16 f16 scales, then [16 positions][32 bytes]; the last block's padded to 16.
"""

from dataclasses import dataclass

from axiom.lang import (
    Slice,
    Vec,
    convert,
    f16,
    f32,
    fn,
    i32,
    lane_numbers,
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
from axiom.metal.ops.kv_quantise import store_key_q8, store_value_q8
from axiom.metal.ops.matrix import round_up

TILE = 16
BLOCK = 32
SCALES_BYTES = 2 * TILE
NUMBER_BYTES = {"f32": 4, "f16": 2}
KV_TYPES = (*NUMBER_BYTES, "q8_0")


@dataclass(frozen=True)
class KvForm:
    """What a cache of one KV head is made of. kind: one of KV_TYPES."""

    kind: str
    head_dim: int

    def __post_init__(self) -> None:
        """Refuse a type that there is not."""
        if self.kind not in KV_TYPES:
            raise ValueError(f"no such KV cache type: {self.kind}")

    @property
    def quantised(self) -> bool:
        """Whether the numbers are bytes with scales."""
        return self.kind == "q8_0"

    @property
    def number_bytes(self) -> int:
        """Bytes of a number of f32 or f16."""
        return NUMBER_BYTES[self.kind]

    @property
    def columns(self) -> int:
        """Dimensions of a value, padded to whole vectors."""
        return round_up(self.head_dim, 16)

    @property
    def n_whole_blocks(self) -> int:
        """Blocks of 32 dimensions."""
        return self.head_dim // BLOCK

    @property
    def rest(self) -> int:
        """Dimensions of the last block when it is shorter."""
        return self.head_dim % BLOCK

    @property
    def n_blocks(self) -> int:
        """All blocks."""
        return self.n_whole_blocks + (self.rest > 0)

    @property
    def key_tile_bytes(self) -> int:
        """Bytes of sixteen keys."""
        if self.quantised:
            return self.n_blocks * SCALES_BYTES + round_up(self.head_dim, 4) * TILE
        return self.head_dim * TILE * self.number_bytes

    @property
    def value_tile_bytes(self) -> int:
        """Bytes of sixteen values."""
        if self.quantised:
            return self.n_blocks * SCALES_BYTES + self.columns * TILE
        return self.columns * TILE * self.number_bytes

    def key_bytes(self, n_context: int) -> int:
        """Return the bytes of the keys of so many positions."""
        return round_up(n_context, TILE) // TILE * self.key_tile_bytes

    def value_bytes(self, n_context: int) -> int:
        """Return the bytes of the values of so many positions."""
        return round_up(n_context, TILE) // TILE * self.value_tile_bytes


@fn
def store_key(form: KvForm, keys: Slice[u8], position: u64, key: Slice[f32]) -> None:
    """Store one key (head_dim numbers) at its position, rounded to nearest even."""
    tile = keys.part(position // TILE * form.key_tile_bytes, form.key_tile_bytes)
    if form.quantised:
        store_key_q8(form.head_dim, tile, position % TILE, key)
    elif form.kind == "f16":
        numbers = reinterpret(f16, tile)
        for i in urange(form.head_dim):
            numbers[position % TILE + i * TILE] = f16(key[i])
    else:
        exact = reinterpret(f32, tile)
        for i in urange(form.head_dim):
            exact[position % TILE + i * TILE] = key[i]


@fn
def store_value(form: KvForm, values: Slice[u8], position: u64, value: Slice[f32]) -> None:
    """Store one value at its position; `value` may be followed by other numbers, padded to 16."""
    tile = values.part(position // TILE * form.value_tile_bytes, form.value_tile_bytes)
    if form.quantised:
        store_value_q8(form.head_dim, tile, position % TILE, value.part(0, form.head_dim))
    elif form.kind == "f16":
        row = reinterpret(f16, tile).part(position % TILE * form.columns, form.columns)
        for i in static(range(0, form.columns, 16)):
            vstore(row, i, convert(f16, value_part(form, value, i)))
    else:
        exact = reinterpret(f32, tile).part(position % TILE * form.columns, form.columns)
        for i in static(range(0, form.columns, 16)):
            vstore(exact, i, value_part(form, value, i))


@fn(inline="always")
def value_part(form: KvForm, value: Slice[f32], start: int) -> Vec[f32]:
    """Return sixteen numbers of a value, zeros behind its end."""
    part = vload(value, start, 16)
    if start + 16 <= form.head_dim:
        return part
    return select(lane_numbers(i32, 16) < form.head_dim - start, part, splat(f32, 16, 0.0))
