"""Loops in machine code: `rolled=True` keeps one."""

import re

from axiom.compiler.objects import compile_listing
from axiom.lang import X86_64_V3, Slice, fn, i32, urange, vload, vstore


@fn
def as_it_likes(numbers: Slice[i32]) -> None:
    some = numbers.part(0, 64)
    for i in urange(4):
        vstore(some, i * 16, vload(some, i * 16, 16) + 1)


@fn
def rolled(numbers: Slice[i32]) -> None:
    some = numbers.part(0, 64)
    for i in urange(4, rolled=True):
        vstore(some, i * 16, vload(some, i * 16, 16) + 1)


@fn
def rolled_in_steps(numbers: Slice[i32]) -> None:
    some = numbers.part(0, 64)
    for i in urange(0, 64, 16, rolled=True):
        vstore(some, i, vload(some, i, 16) + 1)


def jumps_back(function: object) -> int:
    """Count the conditional jumps to a label above."""
    seen, count = set[str](), 0
    for line in compile_listing([function], X86_64_V3, 3).splitlines():
        if label := re.match(r"(\.LBB\w+):", line):
            seen.add(label[1])
        elif (jump := re.match(r"\s+j(?!mp)\w+\s+(\.LBB\w+)", line)) and jump[1] in seen:
            count += 1
    return count


def test_a_short_loop_is_unrolled_unless_it_must_not_be() -> None:
    assert jumps_back(as_it_likes) == 0
    assert jumps_back(rolled) == 1
    assert jumps_back(rolled_in_steps) == 1
