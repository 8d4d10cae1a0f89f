"""Arithmetic beyond the operators, on scalars and on vectors."""

import math
from typing import TYPE_CHECKING, Any, TypeVar, cast, overload

from axiom.lang.later import Later
from axiom.lang.primitive import primitive
from axiom.lang.scalars import FloatT, Integer, IntegerT, Scalar, ScalarT, f32, u64
from axiom.lang.vectors import Lanes, Vec, dtype_of

T = TypeVar("T")
U = TypeVar("U")
ScalarU = TypeVar("ScalarU", bound=Scalar)
if TYPE_CHECKING:
    import numpy as np
else:
    np = Later("numpy")


@primitive
def wrapping_add(first: IntegerT, second: IntegerT) -> IntegerT:
    """Add and keep the low bits."""
    return type(first).wrap(first.value + second.value)


@primitive
def wrapping_sub(first: IntegerT, second: IntegerT) -> IntegerT:
    """Subtract and keep the low bits."""
    return type(first).wrap(first.value - second.value)


@primitive
def wrapping_mul(first: IntegerT, second: IntegerT) -> IntegerT:
    """Multiply and keep the low bits."""
    return type(first).wrap(first.value * second.value)


@primitive
def multiply_high(first: u64, second: u64) -> u64:
    """Return the upper 64 bits of the 128-bit product."""
    return u64((first.value * second.value) >> 64)


@primitive
def truncate(kind: type[IntegerT], value: Integer) -> IntegerT:
    """Convert an integer to another type, keeping the low bits."""
    return kind.wrap(value.value)


@primitive
def leading_zeros(value: IntegerT) -> IntegerT:
    """Count the zero bits above the highest one; the width for zero."""
    return type(value)(value.bits - (value.value & ((1 << value.bits) - 1)).bit_length())


@primitive
def trailing_zeros(value: IntegerT) -> IntegerT:
    """Count the zero bits below the lowest one; the width for zero."""
    number = value.value & ((1 << value.bits) - 1)
    return type(value)((number & -number).bit_length() - 1 if number else value.bits)


@primitive
def population_count(value: IntegerT) -> IntegerT:
    """Count the one bits."""
    return type(value)((value.value & ((1 << value.bits) - 1)).bit_count())


def _fused(a: Lanes, b: Lanes, c: Lanes) -> Lanes:
    """Return a*b + c rounded once, for float32 lanes.

    The product of two float32 is exact in float64. Their float64 sum with c is made to round to odd
    (its error is found by two-sum), after which rounding to float32 is the single rounding.
    """
    with np.errstate(all="ignore"):
        p, z = a.astype(np.float64) * b.astype(np.float64), c.astype(np.float64)
        s = p + z
        v = s - p
        error = (p - (s - v)) + (z - v)
        bits = s.view(np.int64)
        inexact = np.isfinite(s) & (error != 0) & ((bits & 1) == 0)
        towards = np.where((error > 0) == (s > 0), 1, -1)
        odd = np.where(inexact, bits + towards, bits).view(np.float64)
        return odd.astype(np.float32)


@overload
def fma(first: Vec[T], second: Vec[T], third: Vec[T]) -> Vec[T]: ...
@overload
def fma(first: f32, second: f32, third: f32) -> f32: ...
@primitive
def fma(first: Any, second: Any, third: Any) -> Any:
    """Return first * second + third rounded once. Vectors of f32 or f64, or f32 scalars."""
    if isinstance(first, f32):
        one = (np.array([x.value], np.float32) for x in (first, second, third))
        return f32(_fused(*one)[0].item())
    if first.data.dtype == np.float32:
        return Vec[Any](first.element, _fused(first.data, second.data, third.data))
    return Vec[Any](
        first.element,
        np.array([_fma64(*x) for x in zip(first.data, second.data, third.data, strict=True)]),
    )


def _fma64(a: float, b: float, c: float) -> float:
    if not (math.isfinite(a) and math.isfinite(b) and math.isfinite(c)):
        return float(a) * float(b) + float(c)
    # Imported here because every start of a machine would wait for it, and none needs it.
    from fractions import Fraction

    exact = Fraction(float(a)) * Fraction(float(b)) + Fraction(float(c))
    return float(exact) if exact else float(a) * float(b) + float(c)


@overload
def minimum(first: Vec[T], second: Vec[T]) -> Vec[T]: ...
@overload
def minimum(first: ScalarT, second: ScalarT) -> ScalarT: ...
@primitive
def minimum(first: Any, second: Any) -> Any:
    """Return first if first < second, else second (so a NaN in first gives second)."""
    if isinstance(first, Vec):
        return Vec[Any](first.element, np.where(first.data < second.data, first.data, second.data))
    return first if first < second else second


@overload
def maximum(first: Vec[T], second: Vec[T]) -> Vec[T]: ...
@overload
def maximum(first: ScalarT, second: ScalarT) -> ScalarT: ...
@primitive
def maximum(first: Any, second: Any) -> Any:
    """Return first if first > second, else second (so a NaN in first gives second)."""
    if isinstance(first, Vec):
        return Vec[Any](first.element, np.where(first.data > second.data, first.data, second.data))
    return first if first > second else second


@overload
def absolute(value: Vec[T]) -> Vec[T]: ...
@overload
def absolute(value: FloatT) -> FloatT: ...
@primitive
def absolute(value: Any) -> Any:
    """Return the magnitude. Float vectors, integer vectors (the least one wraps) and floats."""
    if isinstance(value, Vec):
        with np.errstate(all="ignore"):
            return Vec[Any](value.element, np.abs(value.data))
    return type(value)(abs(value.value))


@overload
def square_root(value: Vec[T]) -> Vec[T]: ...
@overload
def square_root(value: FloatT) -> FloatT: ...
@primitive
def square_root(value: Any) -> Any:
    """Return the correctly rounded square root; NaN below zero."""
    if isinstance(value, Vec):
        with np.errstate(all="ignore"):
            return Vec[Any](value.element, np.sqrt(value.data))
    return type(value)(math.sqrt(value.value) if value.value >= 0 else math.nan)


@overload
def round_even(value: Vec[T]) -> Vec[T]: ...
@overload
def round_even(value: FloatT) -> FloatT: ...
@primitive
def round_even(value: Any) -> Any:
    """Round to an integral value, ties to even."""
    if isinstance(value, Vec):
        return Vec[Any](value.element, np.rint(value.data))
    return type(value)(np.rint(np.float64(value.value)).item())


@overload
def bitcast(kind: type[U], value: Vec[Any]) -> Vec[U]: ...
@overload
def bitcast(kind: type[ScalarU], value: Scalar) -> ScalarU: ...
@primitive
def bitcast(kind: Any, value: Any) -> Any:
    """Read the same bits as another type; a vector's lanes become more or fewer to fit."""
    if isinstance(value, Vec):
        return Vec[Any](kind, value.data.view(dtype_of(kind)))
    source = cast(Scalar, value)
    data = np.array([source.value], dtype_of(type(source))).view(dtype_of(kind))
    return kind(data[0].item())
