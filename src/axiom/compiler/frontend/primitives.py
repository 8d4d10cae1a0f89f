"""Lowering of the language's primitives: their types, and which arguments are compile-time values.

Each entry checks its arguments and makes an `ir.Primitive` (or a simpler node) of the right type;
`axiom.compiler.llvm.primitives` gives the code.
"""

import ast
from collections.abc import Callable
from typing import Any

from axiom.compiler import ir
from axiom.compiler.frontend.context import CompileTime, Value
from axiom.compiler.frontend.expressions import Expressions
from axiom.compiler.types import (
    BOOL,
    TEXT,
    U8_SLICE,
    U64,
    VOID,
    ArrayRefType,
    ScalarType,
    SliceType,
    StructType,
    Type,
    VecType,
)
from axiom.lang.layout import is_scalar_type, size_of, struct_layout
from axiom.lang.scalars import Float, f32, f64, i32

Lower = Callable[[Expressions, ast.Call], Value]
PRIMITIVES: dict[str, Lower] = {}


def _register(*names: str) -> Callable[[Lower], Lower]:
    def add(lower: Lower) -> Lower:
        for name in names:
            PRIMITIVES[name] = lower
        return lower

    return add


def _name(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else ast.unparse(node.func)


def _count(e: Expressions, node: ast.Call, count: int) -> None:
    if len(node.args) != count or node.keywords:
        e.context.fail(node, f"`{_name(node)}` takes {count} arguments by position")


def _make(
    e: Expressions, node: ast.Call, kind: Type, arguments: list[ir.Expression], *static: Any
) -> Value:
    return ir.Primitive(kind, e.context.span(node), _primitive_name(e, node), arguments, static)


def _primitive_name(e: Expressions, node: ast.Call) -> str:
    callee = e.value(node.func)
    assert isinstance(callee, CompileTime)
    return callee.value.__name__


def _unsafe(e: Expressions, node: ast.Call) -> None:
    if not e.context.unsafe_depth:
        e.context.fail(
            node,
            f"`{_name(node)}` is raw access outside of `with unsafe:`",
            "write `with unsafe:` under a `# SAFETY:` comment that says why it is right",
        )


def _element(e: Expressions, node: ast.expr) -> Any:
    element = e.compile_time(node)
    try:
        size_of(element)
    except TypeError:
        e.context.fail(node, f"{element!r} is not a type that memory can hold")
    return element


def _scalar_class(e: Expressions, node: ast.expr) -> Any:
    element = e.compile_time(node)
    if not is_scalar_type(element):
        e.context.fail(node, "this must be a scalar type")
    return element


def _vector(e: Expressions, node: ast.expr) -> tuple[ir.Expression, VecType]:
    value = e.typed(node)
    if not isinstance(value.type, VecType):
        e.context.fail(node, f"expected a vector, found {value.type}")
    return value, value.type


def _slice(e: Expressions, node: ast.expr) -> tuple[ir.Expression, SliceType]:
    value = e.typed(node)
    if not isinstance(value.type, SliceType):
        hint = "write `.all` after the array" if isinstance(value.type, ArrayRefType) else ""
        e.context.fail(node, f"expected a slice, found {value.type}", hint)
    return value, value.type


def _whole(e: Expressions, node: ast.expr) -> int:
    number = e.compile_time(node)
    return int(number)


def lower_part(e: Expressions, node: ast.Call, receiver: ir.Expression) -> Value:
    """Lower `slice.part(start, count)`."""
    _count(e, node, 2)
    start, count = (e.index(argument) for argument in node.args)
    return ir.Primitive(receiver.type, e.context.span(node), "part", [receiver, start, count])


@_register("urange", "static")
def _only_in_for(e: Expressions, node: ast.Call) -> Value:
    e.context.fail(node, f"`{_name(node)}` stands only after `for ... in`")


@_register("current_target")
def _current_target(e: Expressions, node: ast.Call) -> Value:
    return CompileTime(e.context.target)


@_register("panic")
def _panic(e: Expressions, node: ast.Call) -> Value:
    message = e.compile_time(node.args[0])
    return _make(e, node, VOID, [], str(message).encode())


@_register("reinterpret")
def _reinterpret(e: Expressions, node: ast.Call) -> Value:
    _count(e, node, 2)
    element = _element(e, node.args[0])
    source, _ = _slice(e, node.args[1])
    return _make(e, node, SliceType(element), [source])


@_register("load_bytes")
def _load_bytes(e: Expressions, node: ast.Call) -> Value:
    _count(e, node, 3)
    element = _scalar_class(e, node.args[0])
    return _make(e, node, ScalarType(element), [e.typed(node.args[1], U8_SLICE), e.index(node.args[2])])


@_register("store_bytes")
def _store_bytes(e: Expressions, node: ast.Call) -> Value:
    _count(e, node, 3)
    value = e.typed(node.args[2])
    if not isinstance(value.type, ScalarType):
        e.context.fail(node.args[2], f"expected a scalar, found {value.type}")
    return _make(e, node, VOID, [e.typed(node.args[0], U8_SLICE), e.index(node.args[1]), value])


@_register("copy")
def _copy(e: Expressions, node: ast.Call) -> Value:
    _count(e, node, 2)
    target, kind = _slice(e, node.args[0])
    return _make(e, node, VOID, [target, e.typed(node.args[1], kind)])


@_register("fill_zero")
def _fill_zero(e: Expressions, node: ast.Call) -> Value:
    _count(e, node, 1)
    return _make(e, node, VOID, [_slice(e, node.args[0])[0]])


@_register("utf8")
def _utf8(e: Expressions, node: ast.Call) -> Value:
    _count(e, node, 1)
    return _make(e, node, U8_SLICE, [e.typed(node.args[0], TEXT)])


@_register("slice_at")
def _slice_at(e: Expressions, node: ast.Call) -> Value:
    _count(e, node, 3)
    _unsafe(e, node)
    element = _element(e, node.args[0])
    return _make(e, node, SliceType(element), [e.typed(node.args[1], U64), e.index(node.args[2])])


@_register("struct_at")
def _struct_at(e: Expressions, node: ast.Call) -> Value:
    _count(e, node, 2)
    _unsafe(e, node)
    cls = e.compile_time(node.args[0])
    if struct_layout(cls) is None:
        e.context.fail(node.args[0], "this must be a @struct or @mmio class")
    return _make(e, node, StructType(cls), [e.typed(node.args[1], U64)])


@_register("address_of")
def _address_of(e: Expressions, node: ast.Call) -> Value:
    _count(e, node, 1)
    value = e.typed(node.args[0])
    if not isinstance(value.type, (StructType, ArrayRefType, SliceType)):
        e.context.fail(node, "only a struct, an array or a slice has an address")
    return _make(e, node, U64, [value])


@_register("bytes_of")
def _bytes_of(e: Expressions, node: ast.Call) -> Value:
    _count(e, node, 1)
    value = e.typed(node.args[0])
    if isinstance(value.type, StructType):
        size = value.type.layout.size
    elif isinstance(value.type, ArrayRefType):
        size = size_of(value.type.element) * value.type.count
    else:
        e.context.fail(node, "only a struct or an array has bytes")
    return _make(e, node, U8_SLICE, [value], size)


@_register("struct_in")
def _struct_in(e: Expressions, node: ast.Call) -> Value:
    _count(e, node, 3)
    cls = e.compile_time(node.args[0])
    if struct_layout(cls) is None:
        e.context.fail(node.args[0], "this must be a @struct or @mmio class")
    return _make(e, node, StructType(cls), [e.typed(node.args[1], U8_SLICE), e.index(node.args[2])])


@_register("symbol_address")
def _symbol_address(e: Expressions, node: ast.Call) -> Value:
    _count(e, node, 1)
    return _make(e, node, U64, [], str(e.compile_time(node.args[0])))


@_register("asm")
def _asm(e: Expressions, node: ast.Call) -> Value:
    _unsafe(e, node)
    text, constraints = (str(e.compile_time(a)) for a in node.args[:2])
    return _make(e, node, VOID, [e.typed(a) for a in node.args[2:]], text, constraints)


@_register("asm_value")
def _asm_value(e: Expressions, node: ast.Call) -> Value:
    _unsafe(e, node)
    kind = _scalar_class(e, node.args[0])
    text, constraints = (str(e.compile_time(a)) for a in node.args[1:3])
    return _make(e, node, ScalarType(kind), [e.typed(a) for a in node.args[3:]], text, constraints)


@_register("volatile_load")
def _volatile_load(e: Expressions, node: ast.Call) -> Value:
    _count(e, node, 2)
    source, kind = _slice(e, node.args[0])
    return ir.Element(
        ScalarType(kind.element), e.context.span(node), source, e.index(node.args[1]), kind.element, True
    )


@_register("volatile_store")
def _volatile_store(e: Expressions, node: ast.Call) -> Value:
    _count(e, node, 3)
    target, kind = _slice(e, node.args[0])
    value = e.typed(node.args[2], ScalarType(kind.element))
    return _make(e, node, VOID, [target, e.index(node.args[1]), value])


@_register("acquire_fence", "release_fence", "full_fence")
def _fence(e: Expressions, node: ast.Call) -> Value:
    _count(e, node, 0)
    return _make(e, node, VOID, [])


@_register("prefetch")
def _prefetch(e: Expressions, node: ast.Call) -> Value:
    _count(e, node, 2)
    return _make(e, node, VOID, [e.typed(node.args[0], U8_SLICE), e.index(node.args[1])])


@_register("write_to")
def _write_to(e: Expressions, node: ast.Call) -> Value:
    e.context.fail(node, "`write_to` stands alone as a statement")


@_register("wrapping_add", "wrapping_sub", "wrapping_mul", "multiply_high")
def _wrapping(e: Expressions, node: ast.Call) -> Value:
    _count(e, node, 2)
    first, second = same_type(e, node, node.args[0], node.args[1])
    if not isinstance(first.type, ScalarType) or not first.type.is_integer:
        e.context.fail(node, f"expected integers, found {first.type}")
    return _make(e, node, first.type, [first, second])


def same_type(
    e: Expressions, node: ast.Call, left: ast.expr, right: ast.expr
) -> tuple[ir.Expression, ir.Expression]:
    """Lower two arguments that must have one type; a literal takes that of the other."""
    first, second = e.value(left), e.value(right)
    if isinstance(first, CompileTime) and isinstance(second, ir.Expression):
        return e.typed(left, second.type), second
    one = e.typed(left)
    two = e.typed(right, one.type)
    return one, two


@_register("truncate")
def _truncate(e: Expressions, node: ast.Call) -> Value:
    _count(e, node, 2)
    kind = ScalarType(_scalar_class(e, node.args[0]))
    value = e.typed(node.args[1])
    if not isinstance(value.type, ScalarType) or not value.type.is_integer or not kind.is_integer:
        e.context.fail(node, "truncate is for integers")
    return _make(e, node, kind, [value])


@_register("leading_zeros", "trailing_zeros", "population_count")
def _bit_count(e: Expressions, node: ast.Call) -> Value:
    _count(e, node, 1)
    value = e.typed(node.args[0])
    if not isinstance(value.type, ScalarType) or not value.type.is_integer:
        e.context.fail(node, f"expected an integer, found {value.type}")
    return _make(e, node, value.type, [value])


def _lane_type(kind: Type) -> Any:
    if isinstance(kind, VecType):
        return kind.element
    return kind.scalar if isinstance(kind, ScalarType) else None


@_register("fma")
def _fma(e: Expressions, node: ast.Call) -> Value:
    _count(e, node, 3)
    first = e.typed(node.args[0])
    if _lane_type(first.type) not in (f32, f64):
        e.context.fail(node, f"fma is for f32 and f64, found {first.type}")
    rest = [e.typed(argument, first.type) for argument in node.args[1:]]
    return _make(e, node, first.type, [first, *rest])


@_register("minimum", "maximum")
def _extremum(e: Expressions, node: ast.Call) -> Value:
    _count(e, node, 2)
    first, second = same_type(e, node, node.args[0], node.args[1])
    if _lane_type(first.type) in (None, bool):
        e.context.fail(node, f"expected numbers, found {first.type}")
    return _make(e, node, first.type, [first, second])


@_register("absolute", "square_root", "round_even")
def _one_number(e: Expressions, node: ast.Call) -> Value:
    _count(e, node, 1)
    value = e.typed(node.args[0])
    element = _lane_type(value.type)
    whole = isinstance(value.type, VecType) and _name(node) == "absolute" and element is not bool
    if element is None or not (whole or issubclass(element, Float)):
        e.context.fail(node, f"`{_name(node)}` is for floats, found {value.type}")
    return _make(e, node, value.type, [value])


@_register("bitcast")
def _bitcast(e: Expressions, node: ast.Call) -> Value:
    _count(e, node, 2)
    element = _scalar_class(e, node.args[0])
    value = e.typed(node.args[1])
    if isinstance(value.type, VecType) and value.type.element is not bool:
        total = value.type.lanes * size_of(value.type.element)
        return _make(e, node, VecType(element, total // size_of(element)), [value])
    if not isinstance(value.type, ScalarType) or value.type.scalar.bits != element.bits:
        e.context.fail(node, f"{value.type} has not the size of {element.type_name}")
    return _make(e, node, ScalarType(element), [value])


@_register("splat")
def _splat(e: Expressions, node: ast.Call) -> Value:
    _count(e, node, 3)
    element, lanes = _scalar_class(e, node.args[0]), _whole(e, node.args[1])
    value = e.typed(node.args[2], ScalarType(element))
    if isinstance(value, ir.Constant):
        return ir.Constant(VecType(element, lanes), value.span, (value.value,) * lanes)
    return _make(e, node, VecType(element, lanes), [value])


@_register("lane_numbers")
def _lane_numbers(e: Expressions, node: ast.Call) -> Value:
    _count(e, node, 2)
    element, lanes = _scalar_class(e, node.args[0]), _whole(e, node.args[1])
    return ir.Constant(VecType(element, lanes), e.context.span(node), tuple(range(lanes)))


@_register("vload")
def _vload(e: Expressions, node: ast.Call) -> Value:
    _count(e, node, 3)
    source, kind = _slice(e, node.args[0])
    lanes = VecType(kind.element, _whole(e, node.args[2]))
    return _make(e, node, lanes, [source, e.index(node.args[1])])


@_register("vstore")
def _vstore(e: Expressions, node: ast.Call) -> Value:
    _count(e, node, 3)
    target, kind = _slice(e, node.args[0])
    value, lanes = _vector(e, node.args[2])
    if lanes.element is not kind.element:
        e.context.fail(node, f"{lanes} does not fit {kind}")
    return _make(e, node, VOID, [target, e.index(node.args[1]), value])


@_register("vload_bytes")
def _vload_bytes(e: Expressions, node: ast.Call) -> Value:
    _count(e, node, 4)
    kind = VecType(_scalar_class(e, node.args[0]), _whole(e, node.args[1]))
    return _make(e, node, kind, [e.typed(node.args[2], U8_SLICE), e.index(node.args[3])])


@_register("vstore_bytes")
def _vstore_bytes(e: Expressions, node: ast.Call) -> Value:
    _count(e, node, 3)
    target = e.typed(node.args[0], U8_SLICE)
    return _make(e, node, VOID, [target, e.index(node.args[1]), _vector(e, node.args[2])[0]])


@_register("convert")
def _convert(e: Expressions, node: ast.Call) -> Value:
    _count(e, node, 2)
    element = _scalar_class(e, node.args[0])
    value, kind = _vector(e, node.args[1])
    if kind.element is bool:
        e.context.fail(node, "a mask converts with `select`")
    if issubclass(kind.element, Float) and not issubclass(element, Float) and element is not i32:
        e.context.fail(node, "float lanes convert to i32 only")
    return _make(e, node, VecType(element, kind.lanes), [value])


@_register("shuffle")
def _shuffle(e: Expressions, node: ast.Call) -> Value:
    _count(e, node, 2)
    value, kind = _vector(e, node.args[0])
    lanes = tuple(int(i) for i in e.compile_time(node.args[1]))
    if any(not 0 <= i < kind.lanes for i in lanes):
        e.context.fail(node, f"a lane is outside of {kind}")
    return _make(e, node, VecType(kind.element, len(lanes)), [value], lanes)


@_register("concat")
def _concat(e: Expressions, node: ast.Call) -> Value:
    _count(e, node, 2)
    first, kind = _vector(e, node.args[0])
    second = e.typed(node.args[1], kind)
    return _make(e, node, VecType(kind.element, 2 * kind.lanes), [first, second])


@_register("select")
def _select(e: Expressions, node: ast.Call) -> Value:
    _count(e, node, 3)
    mask, mask_kind = _vector(e, node.args[0])
    yes, kind = _vector(e, node.args[1])
    if mask_kind != VecType(bool, kind.lanes):
        e.context.fail(node, f"{mask_kind} does not choose among {kind}")
    return _make(e, node, kind, [mask, yes, e.typed(node.args[2], kind)])


@_register("equal")
def _equal(e: Expressions, node: ast.Call) -> Value:
    _count(e, node, 2)
    first, kind = _vector(e, node.args[0])
    second = e.typed(node.args[1], kind)
    return ir.Compare(VecType(bool, kind.lanes), e.context.span(node), "eq", first, second)


@_register("extract")
def _extract(e: Expressions, node: ast.Call) -> Value:
    _count(e, node, 2)
    value, kind = _vector(e, node.args[0])
    lane = _whole(e, node.args[1])
    if not 0 <= lane < kind.lanes:
        e.context.fail(node.args[1], f"lane {lane} is outside of {kind}")
    return _make(e, node, ScalarType(kind.element), [value], lane)


@_register("reduce_add", "reduce_max")
def _reduce(e: Expressions, node: ast.Call) -> Value:
    _count(e, node, 1)
    value, kind = _vector(e, node.args[0])
    if kind.lanes & (kind.lanes - 1):
        e.context.fail(node, "the number of lanes must be a power of two")
    return _make(e, node, ScalarType(kind.element), [value])


@_register("any_lane")
def _any_lane(e: Expressions, node: ast.Call) -> Value:
    _count(e, node, 1)
    value, kind = _vector(e, node.args[0])
    if kind.element is not bool:
        e.context.fail(node, f"expected a mask, found {kind}")
    return _make(e, node, BOOL, [value])
