"""Addresses in an image to places in Python source: `axiom.compiler.symbolise` with the host's errors."""

from collections.abc import Sequence
from pathlib import Path

from axiom.compiler.symbolise import Place, SymboliseError
from axiom.compiler.symbolise import symbolise as find_places
from axiom.host.errors import MachineError

__all__ = ["Place", "symbolise"]


def symbolise(image: Path, addresses: Sequence[int]) -> list[list[Place]]:
    """Return for each address the functions that are inlined there, the innermost first.

    Raises MachineError when `addr2line` is missing or cannot read the image.
    """
    try:
        return find_places(image, addresses)
    except SymboliseError as error:
        raise MachineError(str(error), error.hint) from None
