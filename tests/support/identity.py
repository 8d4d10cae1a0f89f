"""Run a function on a target and, when it is compiled, check every bit against the oracle."""

from copy import deepcopy
from typing import Any

import numpy as np

from tests.support.targets import run


def same_bits(first: Any, second: Any) -> bool:
    """Tell whether two arrays hold the same bits; any NaN equals any other."""
    if first.dtype.kind == "f":
        both_nan = np.isnan(first) & np.isnan(second)
        whole = np.dtype(f"u{first.dtype.itemsize}")
        return bool(np.all(both_nan | (first.view(whole) == second.view(whole))))
    return bool(np.array_equal(first, second))


def run_checked(target: str, function: Any, *arguments: Any) -> Any:
    """Run in place on `target`; a compiled run must leave the very bits that CPython leaves."""
    if target == "python":
        return run(target, function, *arguments)
    oracle: list[Any] = [deepcopy(argument) for argument in arguments]
    expected = run("python", function, *oracle)
    result = run(target, function, *arguments)
    assert result == expected
    for number, (mine, other) in enumerate(zip(arguments, oracle, strict=True)):
        if isinstance(mine, np.ndarray):
            assert same_bits(mine, other), f"argument {number} differs from the oracle"
    return result
