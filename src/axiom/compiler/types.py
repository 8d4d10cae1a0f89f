"""The types of the typed IR.

Scalars, bools and enums are values; vectors and slices are values too; a struct or an array is always
known by reference. What memory can hold is described by `axiom.lang.layout` element types.
"""

import enum
import typing
from dataclasses import dataclass
from typing import Any, cast

from axiom.lang import layout
from axiom.lang.memory import Array, Slice
from axiom.lang.scalars import Float, Integer, Scalar, u8, u64
from axiom.lang.vectors import Vec

ENUM_BITS = 32


class UnsupportedType(TypeError):
    """A type that the language cannot hold; the message says which and why."""


@dataclass(frozen=True)
class ScalarType:
    """A scalar class of the language."""

    scalar: type[Scalar]

    def __str__(self) -> str:
        return self.scalar.type_name

    @property
    def is_integer(self) -> bool:
        """True for u8 .. i64."""
        return issubclass(self.scalar, Integer)

    @property
    def is_float(self) -> bool:
        """True for f16, f32, f64."""
        return issubclass(self.scalar, Float)

    @property
    def integer(self) -> type[Integer]:
        """The integer class; only for integers."""
        assert issubclass(self.scalar, Integer)
        return self.scalar


@dataclass(frozen=True)
class BoolType:
    """A truth value; one byte in memory."""

    def __str__(self) -> str:
        return "bool"


@dataclass(frozen=True)
class EnumType:
    """An IntEnum class, 32 bits wide."""

    members: type[enum.IntEnum]

    def __str__(self) -> str:
        return self.members.__name__


@dataclass(frozen=True)
class StructType:
    """A reference to a struct, or to device registers."""

    cls: Any

    def __str__(self) -> str:
        return str(self.cls.__name__)

    @property
    def layout(self) -> layout.StructLayout:
        """The fields and their offsets."""
        found = layout.struct_layout(self.cls)
        assert found is not None
        return found


@dataclass(frozen=True)
class ArrayRefType:
    """A reference to an array of known length."""

    element: Any
    count: int

    def __str__(self) -> str:
        return f"Array[{element_name(self.element)}] of {self.count}"


@dataclass(frozen=True)
class SliceType:
    """An address and a count."""

    element: Any

    def __str__(self) -> str:
        return f"Slice[{element_name(self.element)}]"


@dataclass(frozen=True)
class TextType:
    """The bytes of a string literal; `str` in a signature."""

    def __str__(self) -> str:
        return "str"


@dataclass(frozen=True)
class VecType:
    """A SIMD value; `element` is a scalar class or `bool`."""

    element: Any
    lanes: int

    def __str__(self) -> str:
        return f"Vec[{element_name(self.element)}] of {self.lanes}"


@dataclass(frozen=True)
class VoidType:
    """No value."""

    def __str__(self) -> str:
        return "None"


Type = (
    ScalarType | BoolType | EnumType | StructType | ArrayRefType | SliceType | TextType | VecType | VoidType
)

BOOL = BoolType()
VOID = VoidType()
TEXT = TextType()
U64 = ScalarType(u64)
U8_SLICE = SliceType(u8)


def element_name(element: Any) -> str:
    """Return the name of an element type as its author writes it."""
    if isinstance(element, layout.ArrayType):
        return f"Array[{element_name(element.element)}]"
    if layout.is_slice_type(element):
        return f"Slice[{element_name(element.__args__[0])}]"
    if isinstance(element, type) and issubclass(element, Scalar):
        return element.type_name
    return str(getattr(cast(Any, element), "__name__", "?"))


def type_text(annotation: Any) -> str:
    """Return how a diagnostic writes an annotation."""
    return annotation.__name__ if isinstance(annotation, type) else str(annotation).removeprefix("typing.")


def of_element(element: Any) -> Type:
    """Return the type that an expression has when it reads an element of this kind."""
    if isinstance(element, layout.ArrayType):
        return ArrayRefType(element.element, element.count)
    if layout.is_slice_type(element):
        return SliceType(element.__args__[0])
    if layout.struct_layout(element):
        return StructType(element)
    if element is bool:
        return BOOL
    if layout.is_enum_type(element):
        members = cast(type[enum.IntEnum], element)
        if any(not 0 <= int(member) < 1 << ENUM_BITS for member in members):
            raise UnsupportedType(
                f"the members of {members.__name__} do not all fit {ENUM_BITS} bits unsigned"
            )
        return EnumType(members)
    if layout.is_scalar_type(element):
        return ScalarType(element)
    raise UnsupportedType(f"{element_name(element)} is not a type that memory can hold")


def referred_size(kind: Type) -> int:
    """Return the bytes of the struct or array that a reference stands for."""
    if isinstance(kind, StructType):
        return kind.layout.size
    assert isinstance(kind, ArrayRefType)
    return layout.size_of(kind.element) * kind.count


def holds_slices(element: Any) -> bool:
    """Tell whether values of an element type contain slices, whose bytes are addresses."""
    if isinstance(element, layout.ArrayType):
        return holds_slices(element.element)
    if found := layout.struct_layout(element):
        return any(holds_slices(field.type) for field in found.fields.values())
    return layout.is_slice_type(element)


@dataclass(frozen=True)
class AnyVec:
    """A parameter `Vec[T]`: any number of lanes."""

    element: Any


@dataclass(frozen=True)
class AnyArray:
    """A parameter `Array[T]`: any length."""

    element: Any


@dataclass(frozen=True)
class Anything:
    """A parameter whose annotation holds a type variable."""


Pattern = Type | AnyVec | AnyArray | Anything


def of_annotation(annotation: Any) -> Pattern | None:
    """Return what an annotation asks for, or None when it names an ordinary Python type."""
    if annotation is None or annotation is type(None) or annotation is typing.NoReturn:
        return VOID
    if annotation is str:
        return TEXT
    if isinstance(annotation, typing.TypeVar):
        return Anything()
    origin = typing.get_origin(annotation)
    arguments = typing.get_args(annotation)
    if origin in (Vec, Array, Slice):
        if isinstance(arguments[0], typing.TypeVar):
            return Anything()
        if origin is Vec:
            if arguments[0] is not bool and not layout.is_scalar_type(arguments[0]):
                raise UnsupportedType(f"{element_name(arguments[0])} is not a type that a vector can hold")
            return AnyVec(arguments[0])
        of_element(arguments[0])
        return AnyArray(arguments[0]) if origin is Array else SliceType(arguments[0])
    if origin is not None:
        return None
    if annotation is bool or layout.is_enum_type(annotation) or layout.struct_layout(annotation):
        return of_element(annotation)
    return of_element(annotation) if layout.is_scalar_type(annotation) else None


def fits(pattern: Pattern, actual: Type) -> bool:
    """Tell whether a value of type `actual` may be passed where `pattern` is asked for."""
    match pattern:
        case Anything():
            return True
        case AnyVec(element):
            return isinstance(actual, VecType) and actual.element is element
        case AnyArray(element):
            return isinstance(actual, ArrayRefType) and actual.element is element
        case _:
            return pattern == actual


def pattern_name(pattern: Pattern) -> str:
    """Return what a diagnostic calls a pattern."""
    match pattern:
        case Anything():
            return "any type"
        case AnyVec(element):
            return f"Vec[{element_name(element)}]"
        case AnyArray(element):
            return f"Array[{element_name(element)}]"
        case _:
            return str(pattern)
