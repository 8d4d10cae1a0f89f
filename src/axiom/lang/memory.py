"""Memory under CPython: typed views over bytes, exactly as compiled code sees them.

`Array[T]` is storage of a fixed number of elements; `Slice[T]` is an address and a count. Both check
every index. Structs (see `structs`) are views of the same kind, so bytes may be reinterpreted and
give the same answer under CPython and compiled. Assigning a struct or an array to an element copies.
"""

import enum
import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar, cast

from axiom.lang.layout import (
    ArrayType,
    align_of,
    is_enum_type,
    is_scalar_type,
    is_slice_type,
    size_of,
)
from axiom.lang.panic import Panic, PanicReason
from axiom.lang.primitive import primitive
from axiom.lang.scalars import Integer, Scalar, u8, u64

T = TypeVar("T")
U = TypeVar("U")
Index = Integer | int


class Memory:
    """A run of bytes. `slices` holds the slices stored in it, by offset, beside the bytes.

    `static_name` is set for storage that lives as long as the program; `initial` is what it holds at start.
    """

    __slots__ = ("align", "data", "initial", "read_only", "section", "slices", "static_name")

    def __init__(self, data: bytearray | memoryview) -> None:
        self.data = data
        self.slices: dict[int, Slice[Any]] = {}
        self.static_name = ""
        self.initial = b""
        self.read_only = False
        self.align = 0
        self.section = ""


def load_value(memory: Memory, offset: int, element: Any) -> Any:
    """Return the value of type `element` at `offset`: a scalar, or a view for an aggregate."""
    if is_scalar_type(element):
        (number,) = struct.unpack_from(element.struct_code, memory.data, offset)
        return element(number)
    if element is bool:
        return memory.data[offset] != 0
    if is_enum_type(element):
        (number,) = struct.unpack_from("<I", memory.data, offset)
        return cast(type[enum.IntEnum], element)(number)
    if isinstance(element, ArrayType):
        return Array[Any](memory, offset, element.element, element.count)
    if is_slice_type(element):
        found = memory.slices.get(offset)
        return found if found is not None else Slice[Any](memory, 0, element.__args__[0], 0)
    return element.__axiom_view__(memory, offset)


def store_value(memory: Memory, offset: int, element: Any, value: Any) -> None:
    """Store `value` as an `element` at `offset`; aggregates are copied."""
    if is_scalar_type(element):
        if isinstance(value, Scalar) and not isinstance(value, element):
            raise TypeError(f"{value!r} stored as {element.type_name}: convert it")
        struct.pack_into(element.struct_code, memory.data, offset, element(value).value)
    elif element is bool:
        memory.data[offset] = 1 if value else 0
    elif is_enum_type(element):
        struct.pack_into("<I", memory.data, offset, int(value))
    elif is_slice_type(element):
        memory.slices[offset] = value
    else:
        size = size_of(element)
        source = value.place_memory.data[value.place_offset : value.place_offset + size]
        memory.data[offset : offset + size] = bytes(source)
        for at, item in list(value.place_memory.slices.items()):
            if value.place_offset <= at < value.place_offset + size:
                memory.slices[offset + at - value.place_offset] = item


def zeroed_memory(element: Any, count: int = 1) -> Memory:
    """Return fresh zero bytes for `count` elements."""
    return Memory(bytearray(size_of(element) * count))


class Array(Generic[T]):
    """`count` elements of type `element`, in place. Made by `array`, or a field of a struct."""

    __slots__ = ("count", "element", "place_memory", "place_offset")

    def __init__(self, memory: Memory, offset: int, element: Any, count: int) -> None:
        self.place_memory, self.place_offset, self.element, self.count = memory, offset, element, count

    @property
    def length(self) -> u64:
        """The number of elements."""
        return u64(self.count)

    @property
    def all(self) -> "Slice[T]":
        """The whole array as a slice."""
        return Slice[T](self.place_memory, self.place_offset, self.element, self.count)

    def __getitem__(self, index: Index) -> T:
        return self.all[index]

    def __setitem__(self, index: Index, value: T | int) -> None:
        self.all[index] = value

    def __axiom_copy__(self) -> "Array[T]":
        memory = zeroed_memory(self.element, self.count)
        store_value(memory, 0, ArrayType(self.element, self.count), self)
        return Array[T](memory, 0, self.element, self.count)


class Slice(Generic[T]):
    """A borrowed run of elements: an address and a count; every access is checked."""

    __slots__ = ("count", "element", "place_memory", "place_offset")
    __axiom_slice__ = True

    def __init__(self, memory: Memory, offset: int, element: Any, count: int) -> None:
        self.place_memory, self.place_offset, self.element, self.count = memory, offset, element, count

    @property
    def length(self) -> u64:
        """The number of elements."""
        return u64(self.count)

    def _at(self, index: Index) -> int:
        number = int(index)
        if not 0 <= number < self.count:
            raise Panic(PanicReason.BOUNDS, f"index {number} of {self.count}")
        return self.place_offset + number * size_of(self.element)

    def __getitem__(self, index: Index) -> T:
        return load_value(self.place_memory, self._at(index), self.element)

    def __setitem__(self, index: Index, value: T | int) -> None:
        store_value(self.place_memory, self._at(index), self.element, value)

    def __iter__(self) -> Iterator[T]:
        return (self[i] for i in range(self.count))

    def part(self, start: Index, count: Index) -> "Slice[T]":
        """Return `count` elements from `start`; panic when they are not all inside."""
        first, number = int(start), int(count)
        if first < 0 or number < 0 or first + number > self.count:
            raise Panic(PanicReason.BOUNDS, f"part [{first}, +{number}) of {self.count}")
        return Slice[T](
            self.place_memory, self.place_offset + first * size_of(self.element), self.element, number
        )


def array(element: type[T], count: int) -> Array[T]:
    """Return a zeroed array: a local variable, or in a class body the shape of a field."""
    return Array[T](zeroed_memory(element, count), 0, element, count)


def array_of(element: type[T], values: Sequence[T | int | float]) -> Array[T]:
    """Return an array with these compile-time values (for tables at module level)."""
    made = array(element, len(values))
    for i, value in enumerate(values):
        store_value(made.place_memory, i * size_of(element), element, value)
    return made


def slice_over(element: type[T], buffer: bytearray | memoryview) -> Slice[T]:
    """View a Python buffer (a NumPy array's `.data.cast('B')`, say) as a slice. CPython only."""
    return Slice[T](Memory(buffer), 0, element, len(buffer) // size_of(element))


def static_var(value: U, *, align: int = 0, section: str = "", read_only: bool = False) -> U:
    """Give a struct or an array made at module level static storage with its present contents.

    Only such values may be reached by name from compiled code.
    """
    memory: Memory = cast(Any, value).place_memory
    memory.static_name = "static"
    memory.initial = bytes(memory.data)
    memory.align, memory.section, memory.read_only = align, section, read_only
    return value


def table(element: type[T], values: Iterable[T | int | float]) -> Array[T]:
    """Return a read-only static array with these values."""
    return static_var(array_of(element, list(values)), read_only=True)


@primitive
def reinterpret(element: type[U], source: Slice[Any]) -> Slice[U]:
    """View the bytes of `source` as elements of another type; a rest that fills none is left out.

    Panics when the address is not aligned for `element`.
    """
    if source.place_offset % align_of(element):
        raise Panic(PanicReason.ALIGNMENT, f"offset {source.place_offset}")
    total = source.count * size_of(source.element)
    return Slice[U](source.place_memory, source.place_offset, element, total // size_of(element))


@primitive
def load_bytes(element: type[T], source: Slice[u8], offset: Index) -> T:
    """Load a scalar from any byte offset, aligned or not; panic when it is not all inside."""
    at = source.part(offset, size_of(element))
    return load_value(at.place_memory, at.place_offset, element)


@primitive
def store_bytes(target: Slice[u8], offset: Index, value: Scalar) -> None:
    """Store a scalar at any byte offset, aligned or not; panic when it is not all inside."""
    at = target.part(offset, type(value).size_bytes)
    store_value(at.place_memory, at.place_offset, type(value), value)


@primitive
def copy(target: Slice[T], source: Slice[T]) -> None:
    """Copy all of `source` over `target`, which has the same length; they may overlap."""
    if target.count != source.count:
        raise Panic(PanicReason.BOUNDS, f"copy of {source.count} over {target.count}")
    size = source.count * size_of(source.element)
    data = bytes(source.place_memory.data[source.place_offset : source.place_offset + size])
    target.place_memory.data[target.place_offset : target.place_offset + size] = data


@primitive
def fill_zero(target: Slice[Any]) -> None:
    """Set every byte of `target` to zero."""
    size = target.count * size_of(target.element)
    target.place_memory.data[target.place_offset : target.place_offset + size] = bytes(size)


@primitive
def utf8(text: str) -> Slice[u8]:
    """Return the bytes of a string literal, read-only."""
    return slice_over(u8, bytearray(text.encode()))
