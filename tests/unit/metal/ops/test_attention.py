"""Attention over the cache, and the layout of keys and values, in f32 and f16."""

from functools import cache
from typing import Any

import numpy as np
import pytest

from axiom.lang import Slice, f16, f32, fn, reinterpret, u8, u64
from axiom.metal.ops.attention import attend
from axiom.metal.ops.kv_layout import key_count, store_key, store_value, value_count
from tests.support.identity import run_checked
from tests.support.targets import TARGETS

ELEMENTS: dict[str, Any] = {"f32": f32, "f16": f16}
DTYPES: dict[str, Any] = {"f32": np.float32, "f16": np.float16}


@cache
def store_for(kind: str, head_dim: int) -> Any:
    """Return a function that stores one position's key and value."""
    element = ELEMENTS[kind]

    @fn
    def specialised(
        keys: Slice[u8], values: Slice[u8], position: u64, key: Slice[f32], value: Slice[f32]
    ) -> None:
        store_key(element, reinterpret(element, keys), position, key)
        store_value(element, reinterpret(element, values), position, value, head_dim)

    return specialised


@cache
def attend_for(kind: str, n_queries: int, head_dim: int) -> Any:
    """Return the op specialised for one head size and number of queries."""
    element = ELEMENTS[kind]

    @fn
    def specialised(
        query: Slice[f32],
        keys: Slice[u8],
        values: Slice[u8],
        scores: Slice[f32],
        sums: Slice[f32],
        out: Slice[f32],
        n_positions: u64,
    ) -> None:
        k = reinterpret(element, keys)
        v = reinterpret(element, values)
        attend(query, k, v, scores, sums, out, n_positions, n_queries, head_dim)

    return specialised


class Case:
    """Random keys and values of one head, stored in a cache that was full of NaN."""

    def __init__(self, kind: str, head_dim: int, n_context: int, n_queries: int = 1) -> None:
        random = np.random.default_rng(head_dim)
        self.kind, self.head_dim, self.n_context = kind, head_dim, n_context
        self.n_queries = n_queries
        self.keys, self.values = (
            random.normal(size=(n_context, head_dim)).astype(np.float32) for _ in range(2)
        )
        self.query = random.normal(size=(n_queries, head_dim)).astype(np.float32) * 3
        size = np.dtype(DTYPES[kind]).itemsize
        self.key_bytes = np.full(key_count(n_context, head_dim) * size, 0xFF, np.uint8)
        self.value_bytes = np.full(value_count(n_context, head_dim) * size, 0xFF, np.uint8)

    def store(self, target: str, n_positions: int) -> None:
        padding = np.full(16, np.nan, np.float32)
        for t in range(n_positions):
            value = np.concatenate([self.values[t], padding])
            function = store_for(self.kind, self.head_dim)
            run_checked(target, function, self.key_bytes, self.value_bytes, t, self.keys[t].copy(), value)

    def attend(self, target: str, n_positions: int) -> np.ndarray:
        padded = -(-self.n_context // 16) * 16
        scores = np.full(self.n_queries * padded, np.nan, np.float32)
        sums = np.full(self.n_queries * -(-self.head_dim // 16) * 16, np.nan, np.float32)
        count = self.n_queries * self.head_dim
        out = np.full(count + 16, 7.0, np.float32)
        function = attend_for(self.kind, self.n_queries, self.head_dim)
        cache_bytes = (self.key_bytes, self.value_bytes)
        run_checked(target, function, self.query, *cache_bytes, scores, sums, out[:count], n_positions)
        assert out[count:].tolist() == [7.0] * 16
        return out[:count].reshape(self.n_queries, self.head_dim)

    def expected(self, n_positions: int) -> np.ndarray:
        dtype = DTYPES[self.kind]
        k, v = (a[:n_positions].astype(dtype).astype(np.float64) for a in (self.keys, self.values))
        scores = self.query.astype(np.float64) @ k.T / np.sqrt(self.head_dim)
        weights = np.exp(scores - scores.max(axis=1, keepdims=True))
        return weights @ v / weights.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("kind", ["f32", "f16"])
@pytest.mark.parametrize("head_dim", [2, 6, 8, 32, 38, 64, 128])
def test_it_attends_to_just_the_stored_positions(target: str, kind: str, head_dim: int) -> None:
    case = Case(kind, head_dim, 37, n_queries=3)
    case.store(target, 37)
    for n_positions in (1, 2, 3, 4, 7, 16, 17, 37):
        out = case.attend(target, n_positions)
        assert np.abs(out - case.expected(n_positions)).max() < 2e-6


@pytest.mark.parametrize("target", TARGETS)
def test_what_lies_behind_the_last_position_does_not_matter(target: str) -> None:
    case = Case("f32", 8, 33)
    case.store(target, 5)
    assert np.isnan(case.key_bytes.view(np.float32)).any()
    assert np.abs(case.attend(target, 5) - case.expected(5)).max() < 2e-6


@pytest.mark.parametrize("target", TARGETS)
def test_a_score_far_above_the_others_takes_all(target: str) -> None:
    case = Case("f32", 32, 20)
    case.keys[13] = case.query[0] * 1000
    case.store(target, 20)
    assert np.abs(case.attend(target, 20)[0] - case.values[13]).max() < 1e-6


@pytest.mark.parametrize("target", TARGETS)
def test_a_query_gets_the_same_bits_alone_and_among_others(target: str) -> None:
    together = Case("f32", 32, 40, n_queries=4)
    together.store(target, 40)
    whole = together.attend(target, 35)
    alone = Case("f32", 32, 40)
    alone.key_bytes, alone.value_bytes = together.key_bytes, together.value_bytes
    for number, query in enumerate(together.query):
        alone.query = query.reshape(1, -1).copy()
        assert alone.attend(target, 35).tobytes() == whole[number].tobytes()


def test_keys_lie_sixteen_positions_side_by_side() -> None:
    case = Case("f32", 8, 20)
    case.store("python", 20)
    keys = case.key_bytes.view(np.float32).reshape(2, 8, 16)
    assert keys[1, 3, 2] == case.keys[18, 3]
    values = case.value_bytes.view(np.float32).reshape(20, 16)
    assert values[18].tolist() == [*case.values[18].tolist(), *[0.0] * 8]
