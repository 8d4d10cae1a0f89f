"""The KV cache: per layer all keys, then all values; within them one run per KV head.

The layout of a run is that of `ops.kv_layout`. Offsets are in bytes from the start of the region.
"""

from dataclasses import dataclass

from axiom.metal.engine.spec import EngineSpec
from axiom.metal.ops.kv_layout import TILE, KvForm
from axiom.metal.ops.matrix import round_up

PAGE_BYTES = 4096


@dataclass(frozen=True)
class KvCache:
    """Where the keys and values of every layer and head lie."""

    form: KvForm
    n_layers: int
    n_kv_heads: int
    n_context: int

    @property
    def key_bytes(self) -> int:
        """Bytes of the keys of one head."""
        return self.form.key_bytes(self.n_context)

    @property
    def value_bytes(self) -> int:
        """Bytes of the values of one head."""
        return self.form.value_bytes(self.n_context)

    @property
    def layer_values_at(self) -> int:
        """Where a layer's values start, counted from the layer's start."""
        return self.n_kv_heads * self.key_bytes

    @property
    def layer_bytes(self) -> int:
        """Bytes of one layer."""
        return self.n_kv_heads * (self.key_bytes + self.value_bytes)

    @property
    def position_bytes(self) -> int:
        """Bytes of one layer that attention reads per cached position."""
        return self.n_kv_heads * (self.form.key_tile_bytes + self.form.value_tile_bytes) // TILE


def plan_kv_cache(spec: EngineSpec) -> KvCache:
    """Return the layout of the KV cache. Raises ValueError for a type that there is not."""
    shape = spec.shape
    return KvCache(KvForm(spec.kv_type, shape.head_dim), shape.n_layers, shape.n_kv_heads, spec.n_context)


def kv_cache_bytes(spec: EngineSpec) -> int:
    """Return the size of the KV cache region, a multiple of 4096."""
    return round_up(spec.shape.n_layers * plan_kv_cache(spec).layer_bytes, PAGE_BYTES)
