"""Waiting for a store: the right instructions, and where the processor has them a wait that ends."""

import threading
import time

import pytest

from axiom.compiler.hosted import load_hosted
from axiom.compiler.objects import compile_object
from axiom.lang import address_of, array, fn, static_var, u64, unsafe, volatile_load, volatile_store
from axiom.metal.arch.processor import read_cycles
from axiom.metal.arch.user_wait import monitor_line, wait_for_store
from tests.support.targets import processor_flags

LONG_CYCLES = 100_000_000_000
line = static_var(array(u64, 8), align=64)


@fn(export="wait_for_line")
def wait_for_line(limit: u64) -> u64:
    """Wait until the line is not zero, at most `limit` cycles; return how long that took."""
    start = read_cycles()
    while volatile_load(line.all, 0) == 0 and read_cycles() - start < limit:
        # SAFETY: only the address is used.
        with unsafe:
            place = address_of(line)
        monitor_line(place)
        if volatile_load(line.all, 0) == 0:
            wait_for_store(start + limit)
    return read_cycles() - start


@fn(export="end_wait")
def end_wait() -> None:
    volatile_store(line.all, 0, u64(1))


def test_the_bytes_are_those_of_umonitor_and_umwait() -> None:
    # Intel SDM volume 2: F3 0F AE /6 with RAX, F2 0F AE /6 with ECX.
    code = compile_object([wait_for_line], [])
    assert bytes.fromhex("f30faef0") in code
    assert bytes.fromhex("f20faef1") in code


@pytest.mark.skipif("waitpkg" not in processor_flags(), reason="this processor does not have WAITPKG")
def test_a_store_ends_the_wait() -> None:
    hosted = load_hosted([wait_for_line, end_wait])
    taken: list[int] = []
    thread = threading.Thread(target=lambda: taken.append(int(hosted(wait_for_line, LONG_CYCLES))))
    thread.start()
    time.sleep(0.05)
    hosted(end_wait)
    thread.join(20.0)
    assert taken
    assert taken[0] < LONG_CYCLES
