"""Operators and conversions: compiled code agrees with CPython, value for value and panic for panic."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from axiom.compiler.hosted import Hosted, load_at_levels, load_hosted
from axiom.lang import (
    Panic,
    bitcast,
    f32,
    f64,
    fma,
    fn,
    i8,
    i16,
    i32,
    i64,
    leading_zeros,
    maximum,
    minimum,
    multiply_high,
    population_count,
    reduce_max,
    round_even,
    splat,
    square_root,
    trailing_zeros,
    truncate,
    u8,
    u16,
    u32,
    u64,
    wrapping_add,
    wrapping_mul,
    wrapping_sub,
)

INTEGERS: list[type[Any]] = [u8, u16, u32, u64, i8, i16, i32, i64]
FLOATS: list[type[Any]] = [f32, f64]


def _binary_functions(kind: Any) -> list[Any]:
    @fn
    def add(a: kind, b: kind) -> kind:
        return a + b

    @fn
    def sub(a: kind, b: kind) -> kind:
        return a - b

    @fn
    def mul(a: kind, b: kind) -> kind:
        return a * b

    @fn
    def floordiv(a: kind, b: kind) -> kind:
        return a // b

    @fn
    def mod(a: kind, b: kind) -> kind:
        return a % b

    @fn
    def bits(a: kind, b: kind) -> kind:
        return (a & b) ^ (a | ~b)

    @fn
    def shl(a: kind, b: kind) -> kind:
        return a << b

    @fn
    def shr(a: kind, b: kind) -> kind:
        return a >> b

    @fn
    def less(a: kind, b: kind) -> bool:
        return a < b and not a >= b

    @fn
    def wrapped(a: kind, b: kind) -> kind:
        return wrapping_mul(wrapping_add(a, b), wrapping_sub(a, b))

    @fn
    def extremes(a: kind, b: kind) -> kind:
        return maximum(a, b) - minimum(a, b)

    @fn
    def counts(a: kind, b: kind) -> kind:
        return truncate(kind, u32(leading_zeros(a)) * 100 + u32(trailing_zeros(b))) ^ population_count(a)

    return [add, sub, mul, floordiv, mod, bits, shl, shr, less, wrapped, extremes, counts]


def _conversion_functions(kind: Any) -> list[Any]:
    return [_conversion(kind, target) for target in [*INTEGERS, *FLOATS]]


def _conversion(kind: Any, target: Any) -> Any:
    @fn
    def convert(a: kind, b: kind) -> target:
        return target(a)

    return convert


_compiled: dict[Any, tuple[Hosted, Hosted, list[Any]]] = {}


def _both(kind: Any, make: Callable[[Any], list[Any]]) -> tuple[Hosted, Hosted, list[Any]]:
    key = (kind, make)
    if key not in _compiled:
        functions = make(kind)
        _compiled[key] = (load_hosted(functions, level=0), load_hosted(functions, level=3), functions)
    return _compiled[key]


def outcome(call: Callable[[], Any]) -> Any:
    """Return a result, or the reason of the panic; NaNs are all alike."""
    try:
        value = call()
    except Panic as panic:
        return panic.reason
    number = getattr(value, "value", value)
    return "nan" if number != number else (type(value), number)


def _agree(kind: Any, make: Callable[[Any], list[Any]], a: Any, b: Any) -> None:
    plain, fast, functions = _both(kind, make)
    for function in functions:
        wanted = outcome(lambda function=function: function(kind(a), kind(b)))
        for hosted in (plain, fast):
            got = outcome(lambda function=function, hosted=hosted: hosted(function, a, b))
            assert got == wanted, f"{function} of {a} and {b}"


def _edges(kind: Any) -> st.SearchStrategy[int]:
    near = [
        kind.minimum,
        kind.minimum + 1,
        0,
        1,
        2,
        7,
        kind.bits - 1,
        kind.bits,
        kind.maximum - 1,
        kind.maximum,
    ]
    if kind.signed:
        near += [-1, -2, -7]
    return st.sampled_from(near) | st.integers(kind.minimum, kind.maximum)


@pytest.mark.parametrize("kind", INTEGERS, ids=lambda k: k.type_name)
def test_integer_operators_agree_with_cpython(kind: Any) -> None:
    @settings(max_examples=150, deadline=None)
    @given(_edges(kind), _edges(kind))
    def check(a: int, b: int) -> None:
        _agree(kind, _binary_functions, a, b)

    check()


@pytest.mark.parametrize("kind", INTEGERS, ids=lambda k: k.type_name)
def test_integer_conversions_agree_with_cpython(kind: Any) -> None:
    @settings(max_examples=150, deadline=None)
    @given(_edges(kind))
    def check(a: int) -> None:
        _agree(kind, _conversion_functions, a, 0)

    check()


def _float_functions(kind: Any) -> list[Any]:
    @fn
    def polynomial(a: kind, b: kind) -> kind:
        return (a + b) * (a - b) / (b * 3.0 + 1.5)

    @fn
    def compare(a: kind, b: kind) -> bool:
        return a < b or a == b or b != b

    @fn
    def rounded(a: kind, b: kind) -> kind:
        return round_even(a) + square_root(b) - minimum(a, b) + maximum(b, a)

    @fn
    def negated(a: kind, b: kind) -> kind:
        return -a if a > b else 0.5 - b

    return [polynomial, compare, rounded, negated]


@pytest.mark.parametrize("kind", FLOATS, ids=lambda k: k.type_name)
def test_float_operators_agree_with_cpython(kind: Any) -> None:
    floats = st.floats(width=kind.bits)

    @settings(max_examples=300, deadline=None)
    @given(floats, floats)
    def check(a: float, b: float) -> None:
        _agree(kind, _float_functions, a, b)
        _agree(kind, _conversion_functions, a, b)

    check()


def _fma_functions(kind: Any) -> list[Any]:
    @fn
    def fused(a: kind, b: kind) -> kind:
        return fma(a, b, a)

    @fn
    def reinterpreted(a: kind, b: kind) -> u32:
        return bitcast(u32, a) ^ bitcast(u32, b)

    return [fused, reinterpreted]


@settings(max_examples=300, deadline=None)
@given(st.floats(width=32, allow_nan=False), st.floats(width=32, allow_nan=False))
def test_fma_rounds_once(a: float, b: float) -> None:
    _agree(f32, _fma_functions, a, b)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_multiply_high_agrees(a: int, b: int) -> None:
    _agree(u64, _make_high, a, b)


@fn
def _high(a: u64, b: u64) -> u64:
    return multiply_high(a, b)


def _make_high(_: Any) -> list[Any]:
    return [_high]


@fn
def least_of_none(a: f64) -> u64:
    """Take the minimum of a conversion and a literal zero, which no optimisation has folded at O0."""
    if a > a:
        least = minimum(u64(f64(i8(4))), u64(0))
        # A vector makes code generation build this block's graph instead of going line by line.
        pattern = splat(i32, 8, 27) * splat(i32, 8, 2147483647) << 28
        return least + u64(reduce_max(pattern))
    return minimum(u64(a), u64(0)) + maximum(u64(0), minimum(u64(a), u64(7)))


def test_a_minimum_of_a_conversion_and_zero_compiles_at_every_level() -> None:
    for hosted in load_at_levels([least_of_none], (0, 1, 2, 3)):
        assert int(hosted(least_of_none, 5.5)) == int(least_of_none(f64(5.5))) == 5
        with pytest.raises(Panic):
            hosted(least_of_none, -1.5)
