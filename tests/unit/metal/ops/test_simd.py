"""Byte dot products: exact on every processor, whatever the bytes."""

import numpy as np
import pytest

from axiom.lang import Slice, fn, i8, i16, i32, u8, vload, vstore
from axiom.metal.arch.simd import (
    add_pairs,
    add_words,
    dot4,
    dot4_small,
    signed_dot4,
    vpdpbusd,
    vpmaddubsw,
    vpmaddwd,
    vpsignb,
)
from tests.support.identity import run_checked
from tests.support.targets import TARGETS


@fn
def dot(acc: Slice[i32], a: Slice[u8], b: Slice[i8]) -> None:
    vstore(acc, 0, dot4(vload(acc, 0, 16), vload(a, 0, 64), vload(b, 0, 64)))


@fn
def dot_small(acc: Slice[i32], a: Slice[u8], b: Slice[i8]) -> None:
    vstore(acc, 0, dot4_small(vload(acc, 0, 16), vload(a, 0, 64), vload(b, 0, 64)))


@fn
def multiply_bytes(a: Slice[u8], b: Slice[i8], out: Slice[i16]) -> None:
    vstore(out, 0, vpmaddubsw(vload(a, 0, 32), vload(b, 0, 32)))


@fn
def multiply_words(a: Slice[i16], b: Slice[i16], out: Slice[i32]) -> None:
    vstore(out, 0, vpmaddwd(vload(a, 0, 16), vload(b, 0, 16)))


@fn
def accumulate_bytes(acc: Slice[i32], a: Slice[u8], b: Slice[i8]) -> None:
    vstore(acc, 0, vpdpbusd(vload(acc, 0, 16), vload(a, 0, 64), vload(b, 0, 64)))


@fn
def dot_signed(acc: Slice[i32], a: Slice[i8], b: Slice[i8]) -> None:
    vstore(acc, 0, signed_dot4(vload(acc, 0, 16), vload(a, 0, 64), vload(b, 0, 64)))


@fn
def with_sign(a: Slice[i8], b: Slice[i8], out: Slice[i8]) -> None:
    vstore(out, 0, vpsignb(vload(a, 0, 32), vload(b, 0, 32)))


@fn
def dot_in_words(
    acc: Slice[i32], a: Slice[u8], b: Slice[i8], words: Slice[i16], factors: Slice[i16]
) -> None:
    pairs = add_pairs(vload(words, 0, 32), vload(a, 0, 64), vload(b, 0, 64))
    vstore(words, 0, pairs)
    vstore(acc, 0, add_words(vload(acc, 0, 16), pairs, vload(factors, 0, 32)))


def cases(largest: int) -> list[tuple[np.ndarray, np.ndarray]]:
    random = np.random.default_rng(1)
    made = [
        (
            random.integers(0, largest + 1, 64).astype(np.uint8),
            random.integers(-128, 128, 64).astype(np.int8),
        )
        for _ in range(8)
    ]
    for a in (0, largest):
        made += [(np.full(64, a, np.uint8), np.full(64, b, np.int8)) for b in (-128, 127, 0)]
    return made


def expected(acc: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    products = a.astype(np.int64) * b.astype(np.int64)
    return (acc + products.reshape(16, 4).sum(axis=1)).astype(np.int64)


@pytest.mark.parametrize("target", TARGETS)
def test_dot4_is_exact_for_all_bytes(target: str) -> None:
    for a, b in cases(255):
        acc = np.arange(16, dtype=np.int32) * 1000 - 7000
        want = expected(acc, a, b)
        run_checked(target, dot, acc, a, b)
        assert acc.tolist() == want.tolist()


@pytest.mark.parametrize("target", TARGETS)
def test_dot4_small_is_exact_up_to_127(target: str) -> None:
    for a, b in cases(127):
        acc = np.arange(16, dtype=np.int32) * 1000 - 7000
        want = expected(acc, a, b)
        run_checked(target, dot_small, acc, a, b)
        assert acc.tolist() == want.tolist()


@pytest.mark.parametrize("target", TARGETS)
def test_signed_bytes_are_exact_up_to_the_least(target: str) -> None:
    random = np.random.default_rng(3)
    pairs = [(random.integers(-128, 128, 64), random.integers(-127, 128, 64)) for _ in range(8)]
    pairs += [(np.full(64, a), np.full(64, b)) for a in (-128, 127, 0) for b in (-127, 127, 0)]
    for a, b in pairs:
        acc = np.arange(16, dtype=np.int32) * 1000 - 7000
        want = acc + (a * b).reshape(16, 4).sum(axis=1)
        run_checked(target, dot_signed, acc, a.astype(np.int8), b.astype(np.int8))
        assert acc.tolist() == want.tolist()


@pytest.mark.parametrize("target", TARGETS)
def test_sums_in_words_are_exact_as_long_as_words_hold_them(target: str) -> None:
    for a, b in cases(15):
        acc, words = np.arange(16, dtype=np.int32) * 1000 - 7000, np.zeros(32, np.int16)
        start, sums = acc.copy(), np.zeros(32, np.int64)
        factors = np.random.default_rng(3).integers(-128, 128, 32).astype(np.int16)
        factors[:8] = 1
        for _ in range(8):
            run_checked(target, dot_in_words, acc, a, b, words, factors)
            sums += (a.astype(np.int64) * b.astype(np.int64)).reshape(32, 2).sum(axis=1)
            start = start + (sums * factors).reshape(16, 2).sum(axis=1)
            assert words.tolist() == sums.tolist()
            assert acc.tolist() == start.tolist()


@pytest.mark.parametrize("target", TARGETS)
def test_the_meaning_of_the_avx2_instructions_is_that_of_the_processor(target: str) -> None:
    for a, b in cases(255):
        run_checked(target, multiply_bytes, a[:32].copy(), b[:32].copy(), np.zeros(16, np.int16))
        run_checked(target, with_sign, a[:32].view(np.int8).copy(), b[:32].copy(), np.zeros(32, np.int8))
    random = np.random.default_rng(2)
    for _ in range(8):
        words = [random.integers(-32768, 32768, 16).astype(np.int16) for _ in range(2)]
        run_checked(target, multiply_words, *words, np.zeros(8, np.int32))


@pytest.mark.parametrize("target", ["python", "hosted-v4"])
def test_the_meaning_of_vpdpbusd_is_that_of_the_processor(target: str) -> None:
    for a, b in cases(255):
        run_checked(target, accumulate_bytes, np.full(16, 2**31 - 1, np.int32), a, b)
