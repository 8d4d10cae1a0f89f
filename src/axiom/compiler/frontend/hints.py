"""What to write instead where types do not fit, the second half of a diagnostic; empty if nothing helps."""

from axiom.compiler import ir
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
)


def conversion_hint(expected: Type, found: Type) -> str:
    """Return how a value becomes one of the type that is expected."""
    if isinstance(expected, SliceType) and isinstance(found, ArrayRefType):
        return "write `.all` after the array"
    if isinstance(expected, ScalarType) and isinstance(found, (ScalarType, BoolType, EnumType)):
        return f"convert it: `{expected}(...)`"
    return ""


def agreement_hint(first: Type, second: Type) -> str:
    """Return a hint on how two operands get one type."""
    if isinstance(first, VecType) and isinstance(second, VecType):
        same = first.lanes == second.lanes
        return (
            "convert the lanes of one side: `convert(T, v)`" if same else "use as many lanes on both sides"
        )
    if isinstance(first, VecType) or isinstance(second, VecType):
        return "fill a vector with the scalar: `splat(T, lanes, x)`"
    return f"convert one side, for example `{first}(...)`" if isinstance(first, ScalarType) else ""


def operator_hint(name: ir.Operator, is_float: bool) -> str:
    """Return what to write instead of an operator that the type does not have."""
    if name in ("div", "floordiv"):
        return "integers divide with `//`, floats with `/`"
    return "`bitcast` reads the bits of a float as an integer" if is_float else ""


def fields_hint(kind: Type) -> str:
    """Return what a value of a type has."""
    if isinstance(kind, StructType):
        return f"it has {', '.join(kind.layout.fields)}"
    if isinstance(kind, ArrayRefType):
        return "an array has `length`, `all` (as a slice) and `[index]`"
    if isinstance(kind, (SliceType, TextType)):
        return "a slice has `length`, `part(start, count)` and `[index]`"
    return ""
