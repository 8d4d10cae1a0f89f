"""`@struct` classes (records in memory) and `@mmio` classes (device registers).

A struct value is a view of bytes: a variable of struct type names a place, as in Python; assigning
it to a field or an element copies, and so does returning it. `Foo(a=..., b=...)` makes a new one; fields
not given are zero. In an `@mmio` class every field states its offset with `at(...)`, and every
access is a volatile load or store of exactly the field's width.
"""

import sys
from collections.abc import Callable
from types import FunctionType
from typing import Any, TypeVar, cast, dataclass_transform

from axiom.lang.functions import Function, FunctionOptions
from axiom.lang.layout import ArrayType, FieldLayout, StructLayout, align_of, size_of
from axiom.lang.memory import Array, Index, Memory, Slice, load_value, store_value, zeroed_memory
from axiom.lang.panic import Panic, PanicReason
from axiom.lang.primitive import primitive
from axiom.lang.scalars import u8

C = TypeVar("C")


class _At:
    """The stated offset of a register."""

    def __init__(self, offset: int) -> None:
        self.offset = offset


def at(offset: int) -> Any:
    """State the byte offset of a register in an `@mmio` class."""
    return _At(offset)


class _Field:
    """A field under CPython: reads and writes the bytes of its place."""

    def __init__(self, layout: FieldLayout) -> None:
        self.layout = layout

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        return load_value(
            instance.place_memory, instance.place_offset + self.layout.offset, self.layout.type
        )

    def __set__(self, instance: Any, value: Any) -> None:
        store_value(
            instance.place_memory, instance.place_offset + self.layout.offset, self.layout.type, value
        )


def _resolve(annotation: Any, cls: type) -> Any:
    if isinstance(annotation, str):
        scope = dict(vars(sys.modules[cls.__module__]))
        return eval(annotation, scope, {cls.__name__: cls})
    return annotation


def _field_type(name: str, annotation: Any, default: Any, cls: type) -> Any:
    kind = _resolve(annotation, cls)
    if getattr(kind, "__origin__", None) is Array or kind is Array:
        if not isinstance(default, Array):
            raise TypeError(f"{cls.__name__}.{name}: write `= array(T, n)` to state the length")
        made = cast("Array[Any]", default)
        return ArrayType(made.element, made.count)
    return kind


def _layout(cls: type, volatile: bool) -> StructLayout:
    fields: dict[str, FieldLayout] = {}
    end, align = 0, 1
    for name, annotation in cls.__annotations__.items():
        default = cls.__dict__.get(name)
        kind = _field_type(name, annotation, default, cls)
        align = max(align, align_of(kind))
        if volatile:
            if not isinstance(default, _At):
                raise TypeError(f"{cls.__name__}.{name}: write `= at(offset)` in an @mmio class")
            offset = default.offset
            end = max(end, offset + size_of(kind))
        else:
            offset = -(-end // align_of(kind)) * align_of(kind)
            end = offset + size_of(kind)
        fields[name] = FieldLayout(name, kind, offset)
    return StructLayout(cls.__name__, fields, -(-end // align) * align, align, volatile)


def _view(cls: Any, memory: Memory, offset: int) -> Any:
    made = object.__new__(cls)
    made.place_memory, made.place_offset = memory, offset
    return made


def _layout_of(value: Any) -> StructLayout:
    return cast(Any, type(value)).__axiom_layout__


def _initialise(self: Any, **values: Any) -> None:
    self.place_memory, self.place_offset = zeroed_memory(type(self)), 0
    fields = _layout_of(self).fields
    for name, value in values.items():
        if name not in fields:
            raise TypeError(f"{type(self).__name__} has no field {name}")
        setattr(self, name, value)


def _copy(self: Any) -> Any:
    made = _view(type(self), zeroed_memory(type(self)), 0)
    store_value(made.place_memory, 0, type(self), self)
    return made


def _represent(self: Any) -> str:
    fields = _layout_of(self).fields
    return f"{type(self).__name__}({', '.join(f'{n}={getattr(self, n)!r}' for n in fields)})"


def _build(cls: type[C], volatile: bool) -> type[C]:
    layout = _layout(cls, volatile)
    target: Any = cls
    for name, value in list(vars(cls).items()):
        if isinstance(value, FunctionType) and not name.startswith("__"):
            value = Function(value, FunctionOptions())
            setattr(cls, name, value)
        if isinstance(value, Function):
            value.owner = cls
    for field in layout.fields.values():
        setattr(cls, field.name, _Field(field))
    target.__init__ = _initialise
    target.__repr__ = _represent
    target.__axiom_layout__ = layout
    target.__axiom_view__ = classmethod(_view)
    target.__axiom_copy__ = _copy
    return cls


@dataclass_transform(kw_only_default=True)
def struct(cls: type[C]) -> type[C]:
    """Lay the annotated fields of a class out in memory, in order, as C would."""
    return _build(cls, volatile=False)


def mmio(cls: type[C]) -> type[C]:
    """Make a class of device registers; every access is volatile and exactly as wide as the field."""
    return _build(cls, volatile=True)


def zeroed(cls: type[C]) -> C:
    """Return a struct with every byte zero."""
    return cast(Callable[[], C], cls)()


def view_of(cls: type[C], buffer: bytearray | memoryview, offset: int = 0) -> C:
    """View a Python buffer as a struct. CPython only."""
    return cast(Any, cls).__axiom_view__(Memory(buffer), offset)


@primitive
def bytes_of(value: Any) -> Slice[u8]:
    """Return the bytes of a struct or an array in place."""
    count = value.count * size_of(value.element) if isinstance(value, Array) else size_of(type(value))
    return Slice[u8](value.place_memory, value.place_offset, u8, count)


@primitive
def struct_in(cls: type[C], source: Slice[u8], offset: Index) -> C:
    """View the bytes from an offset on as a struct, or as registers; panic when not all inside.

    Panics too when the place is not aligned for the struct.
    """
    place = source.part(offset, size_of(cls))
    if place.place_offset % align_of(cls):
        raise Panic(PanicReason.ALIGNMENT, f"offset {place.place_offset}")
    return cast(Any, cls).__axiom_view__(place.place_memory, place.place_offset)
