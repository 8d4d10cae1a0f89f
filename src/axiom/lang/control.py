"""Control: loops over integers, loops unrolled while compiling, and the mark of unsafe code."""

from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Self, TypeVar, overload

from axiom.lang.primitive import primitive
from axiom.lang.scalars import Integer, IntegerT, u64

T = TypeVar("T")


@overload
def urange(start: int, stop: int = ..., step: int = ..., *, rolled: bool = ...) -> Iterator[u64]: ...
@overload
def urange(
    start: IntegerT, stop: IntegerT | None = ..., step: int = ..., *, rolled: bool = ...
) -> Iterator[IntegerT]: ...
@overload
def urange(start: int, stop: IntegerT, step: int = ..., *, rolled: bool = ...) -> Iterator[IntegerT]: ...
@primitive
def urange(
    start: Integer | int, stop: Integer | int | None = None, step: int = 1, *, rolled: bool = False
) -> Iterator[Integer]:
    """Count from `start` (or 0) up to `stop`, excluded, by the constant `step` (at least 1).

    The counter has the type of the operand that has one, else `u64`. It never overflows.
    rolled: the compiler must not unroll the loop, which it else does where that seems faster.
    """
    first, last = (0, start) if stop is None else (start, stop)
    kind = next((type(x) for x in (first, last) if isinstance(x, Integer)), u64)
    return (kind(n) for n in range(int(first), int(last), step))


@primitive
def static(values: Iterable[T]) -> Iterable[T]:
    """Unroll a `for` over compile-time `values` while compiling."""
    return values


class Unsafe:
    """`with unsafe:` marks the few lines whose safety the compiler cannot see (`# SAFETY:`)."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        return None


unsafe = Unsafe()
