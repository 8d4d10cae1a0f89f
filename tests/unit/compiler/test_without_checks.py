"""Leaving checks out, to measure what they cost, leaves out those and no others."""

from typing import Any

import numpy as np
import pytest

from axiom.compiler.frontend.program import build_program
from axiom.compiler.hosted import HostedPanic, load_hosted, load_without
from axiom.compiler.llvm.emit import emit_program
from axiom.lang import PanicReason, Slice, fn, u64

TRIPLE = "x86_64-unknown-none-elf"
BOUNDS = frozenset({PanicReason.BOUNDS})


@fn
def pick(numbers: Slice[u64], at: u64, divisor: u64) -> u64:
    return numbers[at] // divisor


def reasons(without: frozenset[PanicReason]) -> set[PanicReason]:
    """Return why the code of `pick` may panic."""
    functions: list[Any] = [pick]
    return {site[0] for site in emit_program(build_program(functions), TRIPLE, without=without).checks}


def test_only_the_named_checks_are_left_out() -> None:
    assert reasons(frozenset()) == {PanicReason.BOUNDS, PanicReason.DIVIDE_BY_ZERO}
    assert reasons(BOUNDS) == {PanicReason.DIVIDE_BY_ZERO}


def test_what_is_left_still_panics_and_what_is_kept_for_others_has_every_check() -> None:
    numbers = np.array([8, 9], np.uint64)
    unchecked = load_without([pick], BOUNDS)
    assert unchecked(pick, numbers, 1, 3) == 3
    # Within the array, but beyond the slice: what the check is for.
    assert unchecked(pick, numbers[:1], 1, 3) == 3
    with pytest.raises(HostedPanic, match="division by zero"):
        unchecked(pick, numbers, 1, 0)
    with pytest.raises(HostedPanic, match="index 1 of 1"):
        load_hosted([pick])(pick, numbers[:1], 1, 3)
