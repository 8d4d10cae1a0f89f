"""How types and constants are written in LLVM's textual IR."""

import struct
from typing import Any

from axiom.compiler.types import (
    ArrayRefType,
    BoolType,
    EnumType,
    ScalarType,
    SliceType,
    StructType,
    TextType,
    Type,
    VecType,
    VoidType,
)
from axiom.lang.layout import is_enum_type, is_slice_type
from axiom.lang.scalars import Float, Scalar

FLOAT_NAMES = {16: "half", 32: "float", 64: "double"}
PAIR = "{ptr, i64}"


def scalar_name(scalar: Any) -> str:
    """Return the LLVM type of a scalar class, or of `bool` as a lane."""
    if scalar is bool:
        return "i1"
    return FLOAT_NAMES[scalar.bits] if issubclass(scalar, Float) else f"i{scalar.bits}"


def type_name(kind: Type) -> str:
    """Return the LLVM type of a value."""
    match kind:
        case ScalarType(scalar):
            return scalar_name(scalar)
        case BoolType():
            return "i1"
        case EnumType():
            return "i32"
        case StructType() | ArrayRefType():
            return "ptr"
        case SliceType() | TextType():
            return PAIR
        case VecType(element, lanes):
            return f"<{lanes} x {scalar_name(element)}>"
        case VoidType():
            return "void"


def memory_name(element: Any) -> str:
    """Return the LLVM type with which an element is loaded and stored."""
    if is_slice_type(element):
        return PAIR
    if element is bool:
        return "i8"
    return "i32" if is_enum_type(element) else scalar_name(element)


def mangled(kind: Type) -> str:
    """Return the suffix by which overloaded intrinsics name a type."""
    if isinstance(kind, VecType):
        return f"v{kind.lanes}{_mangled_scalar(kind.element)}"
    assert isinstance(kind, ScalarType)
    return _mangled_scalar(kind.scalar)


def _mangled_scalar(scalar: type[Scalar]) -> str:
    return f"{'f' if issubclass(scalar, Float) else 'i'}{scalar.bits}"


def number(scalar: Any, value: Any) -> str:
    """Write a constant of a scalar class, or a lane of a mask; floats bit by bit."""
    if scalar is bool:
        return "true" if value else "false"
    if not issubclass(scalar, Float):
        return str(int(value))
    rounded = scalar(value).value
    if scalar.bits == 16:
        return f"0xH{struct.unpack('<H', struct.pack('<e', rounded))[0]:04X}"
    return f"0x{struct.unpack('<Q', struct.pack('<d', rounded))[0]:016X}"


def constant(kind: Type, value: Any) -> str:
    """Write a constant without its type."""
    match kind:
        case ScalarType(scalar):
            return number(scalar, value)
        case BoolType():
            return "true" if value else "false"
        case EnumType():
            return str(int(value))
        case VecType(element):
            lane = scalar_name(element)
            return "<" + ", ".join(f"{lane} {number(element, v)}" for v in value) + ">"
        case _:
            raise TypeError(f"{kind} has no constants")


def quoted(data: bytes) -> str:
    """Write bytes as an LLVM string."""
    return "".join(chr(b) if 32 <= b < 127 and b not in (34, 92) else f"\\{b:02X}" for b in data)
