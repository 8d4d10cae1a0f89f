"""Run random programs under CPython and compiled, and compare: `python -m tests.language.fuzz -n 100000`.

The outcome of a call is its result or the reason of its panic, and what it left in the two slices.
"""

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from axiom.compiler.hosted import load_at_levels
from axiom.lang import Panic, PanicReason, f32, i64, slice_over, u8, u32
from tests.language.generate import Generator
from tests.language.programs import execute

LEVELS = (0, 3)
CALLS_PER_PROGRAM = 3
BATCH = 25
Words = NDArray[np.uint32]
Octets = NDArray[np.uint8]


def arguments(seed: int) -> list[tuple[Any, ...]]:
    """Return the numbers with which a program is called; the slices are made anew for each call."""
    chosen = random.Random(seed)
    return [
        (
            chosen.choice([0, 1, 7, 2**31, 2**32 - 1, chosen.getrandbits(32)]),
            chosen.choice([0, -1, 5, -(2**63), 2**63 - 1, chosen.getrandbits(40) - 2**39]),
            chosen.choice([0.0, 1.5, -2.25, 1e20, -1e-20, chosen.uniform(-1000, 1000)]),
            chosen.choice([0, 3, 255, chosen.getrandbits(8)]),
            chosen.choice([True, False]),
        )
        for _ in range(CALLS_PER_PROGRAM)
    ]


def slices(seed: int) -> tuple[Words, Octets]:
    """Return what the two slices of a program hold at first."""
    filled = np.random.default_rng(seed)
    words = filled.integers(0, 2**32, 8, dtype=np.uint32)
    return words, filled.integers(0, 256, 17, dtype=np.uint8)


def outcome(call: Callable[[Any, Any], Any], seed: int) -> tuple[Any, bytes, bytes]:
    """Return what a call gives, and the contents of both slices after it. NaNs are all alike."""
    words, octets = slices(seed)
    try:
        value = call(words, octets)
        number = getattr(value, "value", value)
        result: Any = "nan" if number != number else (type(value).__name__, repr(number))
    except Panic as panic:
        result = panic.reason
    except AssertionError:
        result = PanicReason.ASSERT
    return result, words.tobytes(), octets.tobytes()


def python_call(root: Any, given: tuple[Any, ...]) -> Callable[[Any, Any], Any]:
    """Return the call of a program under CPython with these numbers."""
    a, b, c, d, e = given

    def call(words: Any, octets: Any) -> Any:
        views = slice_over(u32, words.data.cast("B")), slice_over(u8, octets.data.cast("B"))
        with np.errstate(all="ignore"):
            return root(u32(a), i64(b), f32(c), u8(d), e, *views)

    return call


def compare(seeds: list[int], folder: Path) -> Counter[str]:
    """Compile a batch of programs and compare every call; return how often each kind of outcome was met.

    Raises AssertionError with the program, the arguments and both outcomes.
    """
    sources = [Generator(seed).program() for seed in seeds]
    functions = [execute(source, folder)["root"] for source in sources]
    compiled = load_at_levels(functions, LEVELS)
    met: Counter[str] = Counter()
    for seed, source, function in zip(seeds, sources, functions, strict=True):
        for given in arguments(seed):
            wanted = outcome(python_call(function, given), seed)
            kind = wanted[0]
            met[kind.name.lower() if isinstance(kind, PanicReason) else "value"] += 1
            for level, hosted in zip(LEVELS, compiled, strict=True):
                got = outcome(
                    lambda words, octets, hosted=hosted, function=function, given=given: hosted(
                        function, *given, words, octets
                    ),
                    seed,
                )
                assert got == wanted, f"seed {seed}, O{level}, {given}:\n{got}\n{wanted}\n{source}"
    return met


def main() -> None:
    """Run programs from a seed on; print, or write, what was met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", "--programs", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("-o", "--output", type=Path, help="a JSON file for the record of the run")
    given = parser.parse_args()
    started = time.monotonic()
    met: Counter[str] = Counter()
    for first in range(given.first, given.first + given.programs, BATCH):
        with tempfile.TemporaryDirectory() as folder:
            met += compare(list(range(first, first + BATCH)), Path(folder))
        if sys.stderr.isatty():
            print(f"\r{first + BATCH - given.first}", end="", file=sys.stderr)
    record = {
        "programs": given.programs,
        "first_seed": given.first,
        "levels": LEVELS,
        "calls": sum(met.values()) * len(LEVELS),
        "outcomes": dict(met.most_common()),
        "seconds": round(time.monotonic() - started),
    }
    text = json.dumps(record, indent=2) + "\n"
    if given.output is None:
        print(text, end="")
    else:
        given.output.write_text(text)


if __name__ == "__main__":
    main()
