"""Lowering of the vector primitives: their types, and which arguments are compile-time values."""

import ast
from collections.abc import Sequence
from typing import Any, cast

from axiom.compiler import ir
from axiom.compiler.frontend.context import Value
from axiom.compiler.frontend.expressions import Expressions
from axiom.compiler.frontend.primitives import (
    check_count,
    make,
    name_of,
    register,
    same_type,
    scalar_class,
    slice_argument,
)
from axiom.compiler.types import BOOL, U8_SLICE, VOID, ScalarType, Type, VecType
from axiom.lang.layout import is_scalar_type, size_of
from axiom.lang.scalars import Float, Integer, f32, f64, i32

MAX_LANES = 256


def _vector(e: Expressions, node: ast.expr) -> tuple[ir.Expression, VecType]:
    value = e.typed(node)
    if not isinstance(value.type, VecType):
        e.context.fail(node, f"expected a vector, found {value.type}")
    return value, value.type


def _constant_number(e: Expressions, node: ast.expr) -> int:
    number = e.compile_time(node)
    if isinstance(number, Integer):
        return number.value
    if type(number) is not int:
        e.context.fail(node, "this must be a whole number known while compiling")
    return number


def _lanes(e: Expressions, node: ast.expr) -> int:
    number = _constant_number(e, node)
    if not 1 <= number <= MAX_LANES:
        e.context.fail(node, f"a vector has 1 to {MAX_LANES} lanes, not {number}")
    return number


def _lane_result(kind: VecType) -> Type:
    return BOOL if kind.element is bool else ScalarType(kind.element)


def _lane_type(kind: Type) -> Any:
    if isinstance(kind, VecType):
        return kind.element
    return kind.scalar if isinstance(kind, ScalarType) else None


@register("fma")
def _fma(e: Expressions, node: ast.Call) -> Value:
    check_count(e, node, 3)
    first = e.typed(node.args[0])
    if _lane_type(first.type) not in (f32, f64):
        e.context.fail(node, f"fma is for f32 and f64, found {first.type}")
    rest = [e.typed(argument, first.type) for argument in node.args[1:]]
    return make(e, node, first.type, [first, *rest])


@register("minimum", "maximum")
def _extremum(e: Expressions, node: ast.Call) -> Value:
    check_count(e, node, 2)
    first, second = same_type(e, node, node.args[0], node.args[1])
    if _lane_type(first.type) in (None, bool):
        e.context.fail(node, f"expected numbers, found {first.type}")
    return make(e, node, first.type, [first, second])


@register("absolute", "square_root", "round_even")
def _one_number(e: Expressions, node: ast.Call) -> Value:
    check_count(e, node, 1)
    value = e.typed(node.args[0])
    element = _lane_type(value.type)
    whole = isinstance(value.type, VecType) and name_of(node) == "absolute" and element is not bool
    if element is None or not (whole or issubclass(element, Float)):
        e.context.fail(node, f"`{name_of(node)}` is for floats, found {value.type}")
    return make(e, node, value.type, [value])


@register("bitcast")
def _bitcast(e: Expressions, node: ast.Call) -> Value:
    check_count(e, node, 2)
    element = scalar_class(e, node.args[0])
    value = e.typed(node.args[1])
    if isinstance(value.type, VecType) and value.type.element is not bool:
        total = value.type.lanes * size_of(value.type.element)
        if total % size_of(element):
            e.context.fail(node, f"{value.type} does not divide into lanes of {element.type_name}")
        return make(e, node, VecType(element, total // size_of(element)), [value])
    if not isinstance(value.type, ScalarType) or value.type.scalar.bits != element.bits:
        e.context.fail(node, f"{value.type} has not the size of {element.type_name}")
    return make(e, node, ScalarType(element), [value])


@register("splat")
def _splat(e: Expressions, node: ast.Call) -> Value:
    check_count(e, node, 3)
    element, lanes = scalar_class(e, node.args[0]), _lanes(e, node.args[1])
    value = e.typed(node.args[2], ScalarType(element))
    if isinstance(value, ir.Constant):
        return ir.Constant(VecType(element, lanes), value.span, (value.value,) * lanes)
    return make(e, node, VecType(element, lanes), [value])


@register("lane_numbers")
def _lane_numbers(e: Expressions, node: ast.Call) -> Value:
    check_count(e, node, 2)
    element, lanes = scalar_class(e, node.args[0]), _lanes(e, node.args[1])
    if issubclass(element, Integer) and lanes - 1 > element.maximum:
        e.context.fail(node, f"{element.type_name} does not count to {lanes - 1}")
    return ir.Constant(VecType(element, lanes), e.context.span(node), tuple(range(lanes)))


@register("vload")
def _vload(e: Expressions, node: ast.Call) -> Value:
    check_count(e, node, 3)
    source, kind = slice_argument(e, node.args[0])
    if not is_scalar_type(kind.element):
        e.context.fail(node.args[0], f"expected a slice of scalars, found {kind}")
    lanes = VecType(kind.element, _lanes(e, node.args[2]))
    return make(e, node, lanes, [source, e.index(node.args[1])])


@register("vstore")
def _vstore(e: Expressions, node: ast.Call) -> Value:
    check_count(e, node, 3)
    target, kind = slice_argument(e, node.args[0])
    value, lanes = _vector(e, node.args[2])
    if lanes.element is not kind.element:
        e.context.fail(node, f"{lanes} does not fit {kind}")
    return make(e, node, VOID, [target, e.index(node.args[1]), value])


@register("vload_bytes")
def _vload_bytes(e: Expressions, node: ast.Call) -> Value:
    check_count(e, node, 4)
    kind = VecType(scalar_class(e, node.args[0]), _lanes(e, node.args[1]))
    return make(e, node, kind, [e.typed(node.args[2], U8_SLICE), e.index(node.args[3])])


@register("vstore_bytes")
def _vstore_bytes(e: Expressions, node: ast.Call) -> Value:
    check_count(e, node, 3)
    target = e.typed(node.args[0], U8_SLICE)
    value, kind = _vector(e, node.args[2])
    if kind.element is bool:
        e.context.fail(node.args[2], "a mask has no bytes", "choose numbers with `select`")
    return make(e, node, VOID, [target, e.index(node.args[1]), value])


@register("convert")
def _convert(e: Expressions, node: ast.Call) -> Value:
    check_count(e, node, 2)
    element = scalar_class(e, node.args[0])
    value, kind = _vector(e, node.args[1])
    if kind.element is bool:
        e.context.fail(node, "a mask converts with `select`")
    if issubclass(kind.element, Float) and not issubclass(element, Float) and element is not i32:
        e.context.fail(node, "float lanes convert to i32 only")
    return make(e, node, VecType(element, kind.lanes), [value])


@register("shuffle")
def _shuffle(e: Expressions, node: ast.Call) -> Value:
    check_count(e, node, 2)
    value, kind = _vector(e, node.args[0])
    given = e.compile_time(node.args[1])
    lanes: tuple[Any, ...] = tuple(cast("Sequence[Any]", given)) if isinstance(given, Sequence) else ()
    if not 1 <= len(lanes) <= MAX_LANES or any(type(i) is not int for i in lanes):
        e.context.fail(node.args[1], f"`shuffle` takes a tuple of 1 to {MAX_LANES} lane numbers")
    if any(not 0 <= i < kind.lanes for i in lanes):
        e.context.fail(node.args[1], f"a lane is outside of {kind}")
    return make(e, node, VecType(kind.element, len(lanes)), [value], lanes)


@register("concat")
def _concat(e: Expressions, node: ast.Call) -> Value:
    check_count(e, node, 2)
    first, kind = _vector(e, node.args[0])
    second = e.typed(node.args[1], kind)
    return make(e, node, VecType(kind.element, 2 * kind.lanes), [first, second])


@register("select")
def _select(e: Expressions, node: ast.Call) -> Value:
    check_count(e, node, 3)
    mask, mask_kind = _vector(e, node.args[0])
    yes, kind = _vector(e, node.args[1])
    if mask_kind != VecType(bool, kind.lanes):
        e.context.fail(node, f"{mask_kind} does not choose among {kind}")
    return make(e, node, kind, [mask, yes, e.typed(node.args[2], kind)])


@register("equal")
def _equal(e: Expressions, node: ast.Call) -> Value:
    check_count(e, node, 2)
    first, kind = _vector(e, node.args[0])
    second = e.typed(node.args[1], kind)
    return ir.Compare(VecType(bool, kind.lanes), e.context.span(node), "eq", first, second)


@register("extract")
def _extract(e: Expressions, node: ast.Call) -> Value:
    check_count(e, node, 2)
    value, kind = _vector(e, node.args[0])
    lane = _constant_number(e, node.args[1])
    if not 0 <= lane < kind.lanes:
        e.context.fail(node.args[1], f"lane {lane} is outside of {kind}")
    return make(e, node, _lane_result(kind), [value], lane)


@register("reduce_add", "reduce_max")
def _reduce(e: Expressions, node: ast.Call) -> Value:
    check_count(e, node, 1)
    value, kind = _vector(e, node.args[0])
    if kind.element is bool:
        e.context.fail(node.args[0], "a mask does not add up", "ask `any_lane`")
    if kind.lanes & (kind.lanes - 1):
        e.context.fail(node, "the number of lanes must be a power of two")
    return make(e, node, ScalarType(kind.element), [value])


@register("any_lane")
def _any_lane(e: Expressions, node: ast.Call) -> Value:
    check_count(e, node, 1)
    value, kind = _vector(e, node.args[0])
    if kind.element is not bool:
        e.context.fail(node, f"expected a mask, found {kind}")
    return make(e, node, BOOL, [value])
