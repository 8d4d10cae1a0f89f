"""Panics: what a broken invariant does.

Compiled code calls the kernel's panic handler, which names the Python file and line. Under CPython
the same condition raises `Panic`, so that a test can tell a panic from an ordinary error.
"""

from enum import IntEnum
from typing import NoReturn

from axiom.lang.primitive import primitive


class PanicReason(IntEnum):
    """Why compiled code stopped; the number travels in the crash record."""

    ASSERT = 1
    EXPLICIT = 2
    BOUNDS = 3
    OVERFLOW = 4
    DIVIDE_BY_ZERO = 5
    SHIFT = 6
    CONVERSION = 7
    ALIGNMENT = 8


REASON_TEXT: dict[PanicReason, str] = {
    PanicReason.ASSERT: "assertion failed",
    PanicReason.EXPLICIT: "panic",
    PanicReason.BOUNDS: "index out of bounds",
    PanicReason.OVERFLOW: "integer overflow",
    PanicReason.DIVIDE_BY_ZERO: "division by zero",
    PanicReason.SHIFT: "shift by more than the width",
    PanicReason.CONVERSION: "value does not fit the type it is converted to",
    PanicReason.ALIGNMENT: "misaligned reinterpretation",
}


class Panic(Exception):
    """A broken invariant, met under CPython."""

    def __init__(self, reason: PanicReason, detail: str = "") -> None:
        super().__init__(f"{REASON_TEXT[reason]}{': ' + detail if detail else ''}")
        self.reason = reason


@primitive
def panic(message: str) -> NoReturn:
    """Stop for good; `message` is a literal that the crash report shows."""
    raise Panic(PanicReason.EXPLICIT, message)
