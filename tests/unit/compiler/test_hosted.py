"""Compiled functions in this process: threads, panics in several of them, and what cannot be loaded."""

import threading
from pathlib import Path

import numpy as np
import pytest

from axiom.compiler.diagnostics import CompileError
from axiom.compiler.hosted import HostedPanic, load_hosted
from axiom.lang import Slice, address_of, fn, symbol_address, u32, u64, urange

N_THREADS = 8


@fn
def total(numbers: Slice[u64], rounds: u32, limit: u64) -> u64:
    """Add numbers up; panic above a limit."""
    result = u64(0)
    for _ in urange(rounds):
        result = u64(0)
        for i in urange(numbers.length):
            result += numbers[i]
            assert result <= limit, "over the limit"
    return result


def test_threads_panic_and_return_each_for_itself() -> None:
    hosted = load_hosted([total])
    barrier = threading.Barrier(N_THREADS)
    outcomes: list[str] = [""] * N_THREADS

    def work(number: int) -> None:
        numbers = np.full(1000, number + 1, np.uint64)
        barrier.wait()
        seen: set[str] = set()
        for _ in range(50):
            try:
                seen.add(str(int(hosted(total, numbers, 20, 4500))))
            except HostedPanic as panic:
                seen.add(f"{panic} after {len(panic.frames)} frame")
        outcomes[number] = ", ".join(seen)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(N_THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes[:4] == ["1000", "2000", "3000", "4000"]
    assert outcomes[4:] == ["assertion failed: over the limit after 1 frame"] * 4


def test_a_panic_leaves_the_program_usable() -> None:
    hosted = load_hosted([total])
    for _ in range(100):
        with pytest.raises(HostedPanic, match="over the limit"):
            hosted(total, np.ones(10, np.uint64), 1, 5)
        assert int(hosted(total, np.ones(10, np.uint64), 1, 10)) == 10


def test_a_panic_names_its_place_in_the_source() -> None:
    hosted = load_hosted([total])
    with pytest.raises(HostedPanic) as caught:
        hosted(total, np.ones(10, np.uint64), 1, 5)
    (place,) = caught.value.places()
    line = next(
        i for i, text in enumerate(Path(__file__).read_text().splitlines(), 1) if "assert result" in text
    )
    assert (place.file, place.line, place.function) == (__file__, line, "total")


@fn
def image_end() -> u64:
    """Ask for a symbol of the linker script."""
    return symbol_address("axiom_data_end")


def test_a_symbol_of_the_image_is_refused_in_a_process() -> None:
    with pytest.raises(CompileError, match="`axiom_data_end` is defined by the image"):
        load_hosted([image_end])


@fn
def distance(numbers: Slice[u64]) -> u64:
    """Say how far apart two elements are; taking an address is safe, so no block says otherwise."""
    return address_of(numbers.part(2, 1)) - address_of(numbers)


def test_an_address_is_a_number_like_any_other() -> None:
    assert int(load_hosted([distance])(distance, np.zeros(4, np.uint64))) == 16
