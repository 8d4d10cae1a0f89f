"""How values lie in memory: the layout of C on x86-64 and AArch64, little-endian.

An *element type* is what an `Array` or a `Slice` may hold and a struct field may be: a scalar class,
`bool` (one byte, 0 or 1), an `IntEnum` class (four bytes), a struct class, an `ArrayType`, or a
`Slice[...]` alias (address and count, sixteen bytes).
"""

import enum
import typing
from typing import Any, NamedTuple

from axiom.lang.scalars import Scalar


class ArrayType:
    """`count` elements in a row."""

    def __init__(self, element: Any, count: int) -> None:
        self.element, self.count = element, count

    def __eq__(self, other: object) -> bool:
        """Tell whether it is the same type."""
        return isinstance(other, ArrayType) and (self.element, self.count) == (other.element, other.count)

    def __hash__(self) -> int:
        return hash((ArrayType, self.element, self.count))

    def __repr__(self) -> str:
        return f"ArrayType(element={self.element!r}, count={self.count})"


class FieldLayout(NamedTuple):
    """One field of a struct: its element type and byte offset."""

    name: str
    type: Any
    offset: int


class StructLayout(NamedTuple):
    """A struct's fields in order, its size and alignment in bytes, and whether it is registers."""

    name: str
    fields: dict[str, FieldLayout]
    size: int
    align: int
    volatile: bool


def struct_layout(element: Any) -> StructLayout | None:
    """Return the layout of a struct class, or None for anything else."""
    layout = getattr(element, "__axiom_layout__", None)
    return layout if isinstance(element, type) and isinstance(layout, StructLayout) else None


def is_slice_type(element: Any) -> bool:
    """Tell whether `element` is a `Slice[...]` alias."""
    return getattr(typing.get_origin(element), "__axiom_slice__", False) is True


def is_scalar_type(element: Any) -> bool:
    """Tell whether `element` is one of the scalar classes."""
    return isinstance(element, type) and issubclass(element, Scalar) and element.size_bytes > 0


def is_enum_type(element: Any) -> bool:
    """Tell whether `element` is an `IntEnum` class."""
    return isinstance(element, type) and issubclass(element, enum.IntEnum)


def size_of(element: Any) -> int:
    """Return the size of an element type in bytes, a multiple of its alignment."""
    if isinstance(element, ArrayType):
        return size_of(element.element) * element.count
    if is_slice_type(element):
        return 16
    if layout := struct_layout(element):
        return layout.size
    if element is bool:
        return 1
    if is_enum_type(element):
        return 4
    if is_scalar_type(element):
        return element.size_bytes
    raise TypeError(f"{element!r} is not a type that memory can hold")


def align_of(element: Any) -> int:
    """Return the alignment of an element type in bytes."""
    if isinstance(element, ArrayType):
        return align_of(element.element)
    if is_slice_type(element):
        return 8
    if layout := struct_layout(element):
        return layout.align
    return size_of(element)
