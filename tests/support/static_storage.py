"""Static storage of the language that a run under CPython must not leave changed.

What is compiled later in the same process starts with the storage as it is then.
"""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any


@contextmanager
def kept(*places: Any) -> Generator[None]:
    """Put the contents of static variables back at the end."""
    memories = [place.place_memory for place in places]
    before = [(bytes(memory.data), dict(memory.slices)) for memory in memories]
    try:
        yield
    finally:
        for memory, (data, slices) in zip(memories, before, strict=True):
            memory.data[:] = data
            memory.slices = slices
