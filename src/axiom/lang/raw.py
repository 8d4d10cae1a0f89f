"""Raw access: addresses, instructions, fences.

Making memory out of a number, and assembly, need `with unsafe:`. Taking an address does not: it is a number
like any other, and no other expression makes memory of it.

Under CPython there is no machine to touch, so these raise `NoMachine`; a function that reaches them
is tested on metal.
"""

import threading
from typing import Any, TypeVar, cast

from axiom.lang.arithmetic import wrapping_add
from axiom.lang.memory import Index, Slice
from axiom.lang.primitive import primitive
from axiom.lang.scalars import Scalar, u8, u64

T = TypeVar("T")
_adding = threading.Lock()


class NoMachine(Exception):
    """Raised under CPython by an operation that only a machine can do."""


@primitive
def slice_at(element: type[T], address: u64, count: Index) -> Slice[T]:
    """Borrow `count` elements at a physical address. Unsafe: the caller vouches for all of it."""
    raise NoMachine(f"slice_at({address})")


@primitive
def struct_at(kind: type[T], address: u64) -> T:
    """Borrow a struct, or the registers of an `@mmio` class, at a physical address. Unsafe."""
    raise NoMachine(f"struct_at({address})")


@primitive
def address_of(place: Any) -> u64:
    """Return the address of a struct, an array, or the first element of a slice. Safe: a number."""
    raise NoMachine("address_of")


@primitive
def symbol_address(name: str) -> u64:
    """Return the address of a symbol that assembly or the linker script defines. Safe: a number."""
    raise NoMachine(f"symbol {name}")


@primitive
def asm(text: str, constraints: str, *operands: Scalar) -> None:
    """Emit an inline-assembly statement with side effects (LLVM syntax, AT&T order). Unsafe."""
    raise NoMachine(text)


@primitive
def asm_value(kind: type[T], text: str, constraints: str, *operands: Scalar) -> T:
    """Emit inline assembly with side effects that yields one scalar. Unsafe."""
    raise NoMachine(text)


@primitive
def volatile_load(source: Slice[T], index: Index) -> T:
    """Load an element that another agent may change: never merged, moved or left out."""
    return source[index]


@primitive
def volatile_store(target: Slice[T], index: Index, value: T) -> None:
    """Store an element that another agent reads: never merged, moved or left out."""
    target[index] = value


@primitive
def atomic_add(target: Slice[T], index: Index, value: T) -> T:
    """Add to an integer that others add to as well, wrapping, and return what it was.

    Nobody else's change comes in between. Other loads and stores are not ordered by it.
    """
    with _adding:
        before = target[index]
        target[index] = cast(T, wrapping_add(cast(Any, before), cast(Any, value)))
        return before


@primitive
def acquire_fence() -> None:
    """Later loads and stores stay after earlier loads."""


@primitive
def release_fence() -> None:
    """Earlier loads and stores stay before later stores."""


@primitive
def full_fence() -> None:
    """Nothing crosses, in either direction."""


@primitive
def prefetch(source: Slice[u8], offset: Index) -> None:
    """Hint that the cache line at `offset`, inside or outside of the slice, will be read soon."""
