"""`atomic_add`: what several processors add is added once each, and nobody gets another's number."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from axiom.compiler.hosted import HostedPanic, load_hosted
from axiom.lang import Slice, atomic_add, fn, i32, u8, u64, urange, volatile_load
from tests.support.identity import run_checked
from tests.support.targets import TARGETS

N_THREADS = 4
N_EACH = 200_000


@fn
def add_at(words: Slice[u64], index: u64, value: u64) -> u64:
    return atomic_add(words, index, value)


@fn
def add_signed(words: Slice[i32], value: i32) -> i32:
    return atomic_add(words, 1, value)


@fn
def add_byte(words: Slice[u8], value: u8) -> u8:
    return atomic_add(words, 0, value)


@fn
def take(counter: Slice[u64], gate: Slice[u64], taken: Slice[u64]) -> None:
    """Wait for all others, then take numbers as fast as they come."""
    atomic_add(gate, 0, u64(1))
    while volatile_load(gate, 0) < N_THREADS:
        pass
    for i in urange(taken.length):
        taken[i] = atomic_add(counter, 0, u64(1))


@pytest.mark.parametrize("target", TARGETS)
def test_it_returns_what_was_there_and_wraps(target: str) -> None:
    words = np.array([5, 7, 2**64 - 1], np.uint64)
    assert run_checked(target, add_at, words, 1, 10) == 7
    assert run_checked(target, add_at, words, 2, 3) == 2**64 - 1
    assert words.tolist() == [5, 17, 2]
    signed = np.array([1, -(2**31)], np.int32)
    assert run_checked(target, add_signed, signed, -1) == -(2**31)
    assert signed.tolist() == [1, 2**31 - 1]
    small = np.array([255, 9], np.uint8)
    assert run_checked(target, add_byte, small, 2) == 255
    assert small.tolist() == [1, 9]


def test_it_stays_within_the_slice() -> None:
    hosted = load_hosted([add_at])
    with pytest.raises(HostedPanic, match="out of bounds"):
        hosted(add_at, np.zeros(3, np.uint64), 3, 1)


def test_every_number_is_given_once() -> None:
    hosted = load_hosted([take])
    counter, gate = np.zeros(1, np.uint64), np.zeros(1, np.uint64)
    taken = [np.zeros(N_EACH, np.uint64) for _ in range(N_THREADS)]
    with ThreadPoolExecutor(N_THREADS) as pool:
        for waiting in [pool.submit(hosted, take, counter, gate, mine) for mine in taken]:
            waiting.result()
    assert counter[0] == N_THREADS * N_EACH
    assert all((np.diff(mine.astype(np.int64)) > 0).all() for mine in taken)
    assert np.array_equal(np.sort(np.concatenate(taken)), np.arange(N_THREADS * N_EACH, dtype=np.uint64))
