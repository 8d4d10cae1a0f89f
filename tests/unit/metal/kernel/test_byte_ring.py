"""The ring of bytes keeps order and content, wraps, and survives counters that make no sense."""

from collections import deque

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from axiom.abi.link import RingControl
from axiom.lang import Slice, fn, struct_in, u8, u32, u64
from axiom.metal.kernel.byte_ring import (
    CONTRADICTION,
    ring_drop_all,
    ring_free,
    ring_publish,
    ring_read,
    ring_take,
    ring_used,
    ring_write,
)
from tests.support.identity import run_checked
from tests.support.targets import TARGETS, run

SIZE = 64


@fn
def write(control: Slice[u8], ring: Slice[u8], source: Slice[u8]) -> bool:
    registers = struct_in(RingControl, control, 0)
    if ring_free(registers, ring.length) < source.length:
        return False
    ring_publish(registers, ring_write(ring, registers.HEAD, source))
    return True


@fn
def read(control: Slice[u8], ring: Slice[u8], target: Slice[u8]) -> bool:
    registers = struct_in(RingControl, control, 0)
    if ring_used(registers, ring.length) < target.length:
        return False
    ring_read(registers, ring, target)
    ring_take(registers, target.length)
    return True


@fn
def set_counters(control: Slice[u8], head: u32, tail: u32) -> None:
    registers = struct_in(RingControl, control, 0)
    registers.HEAD = head
    registers.TAIL = tail


@fn
def used(control: Slice[u8], size: u64) -> u64:
    return ring_used(struct_in(RingControl, control, 0), size)


@fn
def free(control: Slice[u8], size: u64) -> u64:
    return ring_free(struct_in(RingControl, control, 0), size)


@fn
def drop_all(control: Slice[u8]) -> None:
    ring_drop_all(struct_in(RingControl, control, 0))


@pytest.mark.parametrize("target", TARGETS)
@given(
    start=st.sampled_from([0, 1, SIZE - 1, 2**31, 2**32 - 5, 2**32 - 1]),
    steps=st.lists(st.tuples(st.booleans(), st.integers(0, SIZE)), max_size=30),
)
def test_it_is_a_queue_of_bytes(target: str, start: int, steps: list[tuple[bool, int]]) -> None:
    control, ring = np.zeros(128, np.uint8), np.zeros(SIZE, np.uint8)
    run(target, set_counters, control, start, start)
    queue: deque[int] = deque()
    next_byte = 1
    for writing, count in steps:
        data = np.zeros(count, np.uint8)
        if writing:
            data[:] = [(next_byte + i) % 251 for i in range(count)]
            done = run(target, write, control, ring, data)
            assert done == (len(queue) + count <= SIZE)
            if done:
                queue.extend(data.tolist())
                next_byte += count
        else:
            done = run(target, read, control, ring, data)
            assert done == (count <= len(queue))
            if done:
                assert data.tolist() == [queue.popleft() for _ in range(count)]
        assert int(run(target, used, control, SIZE)) == len(queue)
        assert int(run(target, free, control, SIZE)) == SIZE - len(queue)


@pytest.mark.parametrize("target", TARGETS)
def test_counters_that_contradict_each_other_are_noticed(target: str) -> None:
    control = np.zeros(128, np.uint8)
    run_checked(target, set_counters, control, SIZE + 1, 0)
    assert int(run_checked(target, used, control, SIZE)) == CONTRADICTION
    assert int(run_checked(target, free, control, SIZE)) == 0
    run_checked(target, set_counters, control, 0, 1)
    assert int(run_checked(target, used, control, SIZE)) == CONTRADICTION
    run_checked(target, drop_all, control)
    assert int(run_checked(target, used, control, SIZE)) == 0
