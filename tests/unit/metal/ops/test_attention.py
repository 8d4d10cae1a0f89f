"""Attention over the cache, and the layout of keys and values, in f32 and f16."""

from functools import cache
from typing import Any

import numpy as np
import pytest

from axiom.lang import Slice, f32, fn, u8, u64
from axiom.metal.ops.attention import attend, block_tokens, score_count, sum_count
from axiom.metal.ops.kv_layout import KV_TYPES, KvForm, store_key, store_value
from tests.support.identity import run_checked
from tests.support.targets import HOSTED_TARGETS, TARGETS

# A cache of bytes is compared with exact numbers: what it rounds off shows.
DTYPES: dict[str, Any] = {"f32": np.float32, "f16": np.float16, "q8_0": np.float32}
# In f16, weights have eleven bits, as queries and the cache have.
TOLERANCES = {"f32": 2e-6, "f16": 1e-3, "q8_0": 0.1}


@cache
def store_for(kind: str, head_dim: int) -> Any:
    """Return a function that stores one position's key and value."""
    form = KvForm(kind, head_dim)

    @fn
    def specialised(
        keys: Slice[u8], values: Slice[u8], position: u64, key: Slice[f32], value: Slice[f32]
    ) -> None:
        store_key(form, keys, position, key)
        store_value(form, values, position, value)

    return specialised


@cache
def attend_for(kind: str, n_queries: int, head_dim: int, gap: int = 0) -> Any:
    """Return the op specialised for one head size and number of queries."""
    form = KvForm(kind, head_dim)

    @fn
    def specialised(
        query: Slice[f32],
        keys: Slice[u8],
        values: Slice[u8],
        scores: Slice[f32],
        sums: Slice[f32],
        out: Slice[f32],
        first_position: u64,
        n_tokens: u64,
    ) -> None:
        stride = n_queries * head_dim + gap
        attend(form, query, keys, values, scores, sums, out, first_position, n_tokens, stride, n_queries)

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
        form = KvForm(kind, head_dim)
        self.tolerance = TOLERANCES[kind]
        self.key_bytes = np.full(form.key_bytes(n_context), 0xFF, np.uint8)
        self.value_bytes = np.full(form.value_bytes(n_context), 0xFF, np.uint8)

    def store(self, target: str, n_positions: int) -> None:
        padding = np.full(16, np.nan, np.float32)
        for t in range(n_positions):
            value = np.concatenate([self.values[t], padding])
            function = store_for(self.kind, self.head_dim)
            run_checked(target, function, self.key_bytes, self.value_bytes, t, self.keys[t].copy(), value)

    def attend(self, target: str, n_positions: int) -> np.ndarray:
        scores = np.full(score_count(self.n_context, self.n_queries), np.nan, np.float32)
        sums = np.full(sum_count(self.head_dim, self.n_queries), np.nan, np.float32)
        count = self.n_queries * self.head_dim
        out = np.full(count + 16, 7.0, np.float32)
        function = attend_for(self.kind, self.n_queries, self.head_dim)
        cache_bytes = (self.key_bytes, self.value_bytes)
        run_checked(
            target, function, self.query, *cache_bytes, scores, sums, out[:count], n_positions - 1, 1
        )
        assert out[count:].tolist() == [7.0] * 16
        return out[:count].reshape(self.n_queries, self.head_dim)

    def expected(self, n_positions: int) -> np.ndarray:
        dtype = DTYPES[self.kind]
        k, v = (a[:n_positions].astype(dtype).astype(np.float64) for a in (self.keys, self.values))
        query = self.query.astype(np.float16) if self.kind == "f16" else self.query
        scores = query.astype(np.float64) @ k.T / np.sqrt(self.head_dim)
        weights = np.exp(scores - scores.max(axis=1, keepdims=True))
        return weights @ v / weights.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("kind", KV_TYPES)
@pytest.mark.parametrize("head_dim", [2, 6, 8, 32, 38, 64, 128])
def test_it_attends_to_just_the_stored_positions(target: str, kind: str, head_dim: int) -> None:
    case = Case(kind, head_dim, 37, n_queries=3)
    case.store(target, 37)
    for n_positions in (1, 2, 3, 4, 7, 16, 17, 37):
        out = case.attend(target, n_positions)
        assert np.abs(out - case.expected(n_positions)).max() < case.tolerance


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("scale", [0.0, 1e-38, 1e4])
@pytest.mark.parametrize("head_dim", [38, 64])
def test_bytes_hold_extreme_numbers(target: str, scale: float, head_dim: int) -> None:
    case = Case("q8_0", head_dim, 20, n_queries=2)
    case.values *= np.float32(scale)
    case.keys[:] = case.keys[0]
    case.store(target, 20)
    out = case.attend(target, 20)
    assert np.abs(out - case.expected(20)).max() <= 0.02 * max(scale, 1e-6)


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
    values = case.value_bytes.view(np.float32).reshape(32, 16)
    assert values[18].tolist() == [*case.values[18].tolist(), *[0.0] * 8]


@pytest.mark.parametrize("target", HOSTED_TARGETS)
@pytest.mark.parametrize("kind", KV_TYPES)
@pytest.mark.parametrize(("n_queries", "head_dim"), [(1, 8), (2, 38), (3, 16), (4, 64), (7, 6), (8, 32)])
@pytest.mark.parametrize("first", [0, 14, 40])
def test_a_block_of_tokens_has_the_bits_of_each_alone(
    target: str, kind: str, n_queries: int, head_dim: int, first: int
) -> None:
    case, gap = Case(kind, head_dim, 64, n_queries), 5
    n_tokens = block_tokens(n_queries) + 2
    case.store("hosted-v3", first + n_tokens)
    width = n_queries * head_dim
    queries = np.random.default_rng(first).normal(size=(n_tokens, width + gap)).astype(np.float32)
    out = np.full((n_tokens, width + gap), 7.0, np.float32)
    scores = np.full(score_count(64, n_queries), np.nan, np.float32)
    sums = np.full(sum_count(head_dim, n_queries), np.nan, np.float32)
    cut = n_tokens * (width + gap) - gap
    run_checked(
        target,
        attend_for(kind, n_queries, head_dim, gap),
        queries.reshape(-1)[:cut],
        case.key_bytes,
        case.value_bytes,
        scores,
        sums,
        out.reshape(-1)[:cut],
        first,
        n_tokens,
    )
    assert (out[:, width:] == 7.0).all()
    for token in range(n_tokens):
        case.query = queries[token, :width].reshape(n_queries, head_dim).copy()
        assert case.attend(target, first + token + 1).tobytes() == out[token, :width].tobytes()
