"""Putting a line of the serial log together."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from axiom.lang import Slice, copy, fn, i64, u8, u64, write_to, zeroed
from axiom.metal.kernel.log import LINE_BYTES, Log
from tests.support.targets import TARGETS, run


@fn
def write_numbers(plain: u64, signed: i64, line: Slice[u8]) -> u64:
    sink = zeroed(Log)
    write_to(sink, f"{plain} {signed} {plain:x} {plain:#x}")
    copy(line.part(0, sink.used), sink.line.all.part(0, sink.used))
    return sink.used


@fn
def write_too_much(count: u64, line: Slice[u8]) -> u64:
    sink = zeroed(Log)
    written = u64(0)
    while written < count:
        sink.text("0123456789")
        written += 1
    copy(line, sink.line.all)
    return sink.used


def numbers_line(target: str, plain: int, signed: int) -> str:
    line = np.zeros(LINE_BYTES, np.uint8)
    used = run(target, write_numbers, plain, signed, line)
    return bytes(line[: int(used)]).decode()


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    ("plain", "signed"), [(0, 0), (9, -1), (10, 10), (2**64 - 1, -(2**63)), (255, 2**63 - 1)]
)
def test_numbers_are_written_as_python_writes_them(target: str, plain: int, signed: int) -> None:
    assert numbers_line(target, plain, signed) == f"{plain} {signed} {plain:x} {plain:#x}"


@given(st.integers(0, 2**64 - 1), st.integers(-(2**63), 2**63 - 1))
def test_any_number_is_written_as_python_writes_it(plain: int, signed: int) -> None:
    assert numbers_line("hosted-v3", plain, signed) == f"{plain} {signed} {plain:x} {plain:#x}"


@pytest.mark.parametrize("target", TARGETS)
def test_a_line_that_is_too_long_is_cut_off(target: str) -> None:
    line = np.zeros(LINE_BYTES, np.uint8)
    assert run(target, write_too_much, 30, line) == LINE_BYTES
    assert bytes(line) == (b"0123456789" * 30)[:LINE_BYTES]
