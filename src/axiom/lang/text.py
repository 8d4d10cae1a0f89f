"""Formatted text without a heap: an f-string is written piece by piece to a sink.

A sink is any struct with the methods of `TextSink`. `write_to(sink, f"CSTS={value:#x}")` compiles to
one call per piece. Format specs known: none (decimal), `x`, `#x`.
"""

from typing import Protocol

from axiom.lang.primitive import primitive
from axiom.lang.scalars import i64, u64


class TextSink(Protocol):
    """What `write_to` needs."""

    def text(self, piece: str) -> None:
        """Write a literal."""
        ...

    def unsigned(self, number: u64) -> None:
        """Write a number in decimal."""
        ...

    def signed(self, number: i64) -> None:
        """Write a number in decimal, with its sign."""
        ...

    def hexadecimal(self, number: u64) -> None:
        """Write a number in lower-case hexadecimal without a prefix."""
        ...


@primitive
def write_to(sink: TextSink, message: str) -> None:
    """Write an f-string to `sink`, piece by piece."""
    sink.text(message)
