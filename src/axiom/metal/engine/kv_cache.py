"""The KV cache: per layer all keys, then all values; within them one run per KV head.

The layout of a run is that of `ops.kv_layout`. Offsets are in bytes from the start of the region.
"""

from dataclasses import dataclass

from axiom.metal.engine.spec import EngineSpec
from axiom.metal.ops.kv_layout import key_count, value_count
from axiom.metal.ops.matrix import round_up

NUMBER_BYTES = {"f32": 4, "f16": 2}
PAGE_BYTES = 4096


@dataclass(frozen=True)
class KvCache:
    """Sizes, all in numbers of `kv_type` except where a name says bytes."""

    kv_type: str
    n_layers: int
    n_kv_heads: int
    head_dim: int
    n_context: int

    @property
    def key_count(self) -> int:
        """Numbers in the keys of one head."""
        return key_count(self.n_context, self.head_dim)

    @property
    def value_count(self) -> int:
        """Numbers in the values of one head."""
        return value_count(self.n_context, self.head_dim)

    @property
    def layer_values_at(self) -> int:
        """Where a layer's values start, counted from the layer's start."""
        return self.n_kv_heads * self.key_count

    @property
    def layer_count(self) -> int:
        """Numbers in one layer."""
        return self.n_kv_heads * (self.key_count + self.value_count)

    @property
    def layer_bytes(self) -> int:
        """Bytes of one layer."""
        return self.layer_count * NUMBER_BYTES[self.kv_type]

    @property
    def position_bytes(self) -> int:
        """Bytes of one layer that attention reads per cached position."""
        numbers = self.head_dim + round_up(self.head_dim, 16)
        return self.n_kv_heads * numbers * NUMBER_BYTES[self.kv_type]


def plan_kv_cache(spec: EngineSpec) -> KvCache:
    """Return the layout of the KV cache."""
    if spec.kv_type not in NUMBER_BYTES:
        raise ValueError(f"no such KV cache type: {spec.kv_type}")
    shape = spec.shape
    return KvCache(spec.kv_type, shape.n_layers, shape.n_kv_heads, shape.head_dim, spec.n_context)


def kv_cache_bytes(spec: EngineSpec) -> int:
    """Return the size of the KV cache region, a multiple of 4096."""
    return round_up(spec.shape.n_layers * plan_kv_cache(spec).layer_bytes, PAGE_BYTES)
