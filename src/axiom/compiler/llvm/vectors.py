"""Code of the vector primitives. Every reduction is written out in its specified order."""

from collections.abc import Sequence

from axiom.compiler import ir
from axiom.compiler.llvm.arithmetic import lane_type
from axiom.compiler.llvm.function import FunctionEmitter
from axiom.compiler.llvm.names import constant, scalar_name, type_name
from axiom.compiler.llvm.primitives import byte_place, element_of, extremum, inside, register
from axiom.compiler.types import ScalarType, VecType
from axiom.lang.layout import size_of
from axiom.lang.scalars import i32

CONVERT_MAXIMUM = 2147483520.0
CONVERT_MINIMUM = -2147483648.0


def _vec(e: ir.Expression) -> VecType:
    assert isinstance(e.type, VecType)
    return e.type


def shuffled(f: FunctionEmitter, kind: VecType, first: str, second: str, lanes: Sequence[int]) -> str:
    """Pick lanes out of two vectors of one type."""
    name = type_name(kind)
    mask = ", ".join(f"i32 {lane}" for lane in lanes)
    return f.value(f"shufflevector {name} {first}, {name} {second}, <{len(lanes)} x i32> <{mask}>")


@register("splat")
def _splat(f: FunctionEmitter, e: ir.Primitive) -> str:
    kind = _vec(e)
    name, lane = type_name(kind), scalar_name(kind.element)
    first = f.value(f"insertelement {name} poison, {lane} {f.expression(e.arguments[0])}, i32 0")
    return shuffled(f, kind, first, "poison", [0] * kind.lanes)


@register("vload")
def _vload(f: FunctionEmitter, e: ir.Primitive) -> str:
    kind = _vec(e)
    pointer, count = f.pair_parts(f.expression(e.arguments[0]))
    start = f.wide(e.arguments[1])
    inside(f, count, start, str(kind.lanes))
    place = f.offset(pointer, f.value(f"mul nuw nsw i64 {start}, {size_of(kind.element)}"))
    return f.value(f"load {type_name(kind)}, ptr {place}, align 1")


@register("vstore")
def _vstore(f: FunctionEmitter, e: ir.Primitive) -> str:
    kind = _vec(e.arguments[2])
    pointer, count = f.pair_parts(f.expression(e.arguments[0]))
    start = f.wide(e.arguments[1])
    value = f.expression(e.arguments[2])
    inside(f, count, start, str(kind.lanes))
    place = f.offset(pointer, f.value(f"mul nuw nsw i64 {start}, {size_of(element_of(e))}"))
    f.emit(f"store {type_name(kind)} {value}, ptr {place}, align 1")
    return ""


@register("vload_bytes")
def _vload_bytes(f: FunctionEmitter, e: ir.Primitive) -> str:
    kind = _vec(e)
    place = byte_place(f, e.arguments[0], e.arguments[1], kind.lanes * size_of(kind.element))
    return f.value(f"load {type_name(kind)}, ptr {place}, align 1")


@register("vstore_bytes")
def _vstore_bytes(f: FunctionEmitter, e: ir.Primitive) -> str:
    kind = _vec(e.arguments[2])
    value = f.expression(e.arguments[2])
    place = byte_place(f, e.arguments[0], e.arguments[1], kind.lanes * size_of(kind.element))
    f.emit(f"store {type_name(kind)} {value}, ptr {place}, align 1")
    return ""


@register("convert")
def _convert(f: FunctionEmitter, e: ir.Primitive) -> str:
    source, target = _vec(e.arguments[0]), _vec(e)
    value = f.expression(e.arguments[0])
    old, new = type_name(source), type_name(target)
    if old == new:
        return value
    lane, wanted = ScalarType(source.element), ScalarType(target.element)
    if lane.is_float and not wanted.is_float:
        return _to_i32(f, source, value)
    if lane.is_float:
        operator = "fptrunc" if wanted.scalar.bits < lane.scalar.bits else "fpext"
    elif wanted.is_float:
        operator = "sitofp" if lane.integer.signed else "uitofp"
    elif wanted.scalar.bits < lane.scalar.bits:
        operator = "trunc"
    else:
        operator = "sext" if lane.integer.signed else "zext"
    return f.value(f"{operator} {old} {value} to {new}")


def _to_i32(f: FunctionEmitter, source: VecType, value: str) -> str:
    """Clamp, send NaN to 0, cut towards zero (a plain saturating conversion becomes scalar code)."""
    name, mask = type_name(source), f"<{source.lanes} x i1>"
    lowest = constant(source, (CONVERT_MINIMUM,) * source.lanes)
    highest = constant(source, (CONVERT_MAXIMUM,) * source.lanes)
    low = f.value(f"fcmp olt {name} {value}, {lowest}")
    value = f.value(f"select {mask} {low}, {name} {lowest}, {name} {value}")
    high = f.value(f"fcmp ogt {name} {value}, {highest}")
    value = f.value(f"select {mask} {high}, {name} {highest}, {name} {value}")
    ordered = f.value(f"fcmp ord {name} {value}, zeroinitializer")
    value = f.value(f"select {mask} {ordered}, {name} {value}, {name} zeroinitializer")
    return f.value(f"fptosi {name} {value} to {type_name(VecType(i32, source.lanes))}")


@register("shuffle")
def _shuffle(f: FunctionEmitter, e: ir.Primitive) -> str:
    return shuffled(f, _vec(e.arguments[0]), f.expression(e.arguments[0]), "poison", e.static[0])


@register("concat")
def _concat(f: FunctionEmitter, e: ir.Primitive) -> str:
    kind = _vec(e.arguments[0])
    first, second = (f.expression(a) for a in e.arguments)
    return shuffled(f, kind, first, second, range(2 * kind.lanes))


@register("select")
def _select(f: FunctionEmitter, e: ir.Primitive) -> str:
    mask, yes, no = (f.expression(a) for a in e.arguments)
    name = type_name(e.type)
    return f.value(f"select {type_name(e.arguments[0].type)} {mask}, {name} {yes}, {name} {no}")


@register("extract")
def _extract(f: FunctionEmitter, e: ir.Primitive) -> str:
    value = f.expression(e.arguments[0])
    return f.value(f"extractelement {type_name(e.arguments[0].type)} {value}, i32 {e.static[0]}")


@register("reduce_add", "reduce_max")
def _reduce(f: FunctionEmitter, e: ir.Primitive) -> str:
    kind = _vec(e.arguments[0])
    value = f.expression(e.arguments[0])
    lane = lane_type(kind)
    assert lane is not None
    while kind.lanes > 1:
        half = VecType(kind.element, kind.lanes // 2)
        low = shuffled(f, kind, value, "poison", range(half.lanes))
        high = shuffled(f, kind, value, "poison", range(half.lanes, kind.lanes))
        if e.name == "reduce_max":
            value = extremum(f, half, True, high, low)
        else:
            value = f.value(f"{'fadd' if lane.is_float else 'add'} {type_name(half)} {low}, {high}")
        kind = half
    return f.value(f"extractelement {type_name(kind)} {value}, i32 0")


@register("any_lane")
def _any_lane(f: FunctionEmitter, e: ir.Primitive) -> str:
    kind = _vec(e.arguments[0])
    bits = f.value(f"bitcast {type_name(kind)} {f.expression(e.arguments[0])} to i{kind.lanes}")
    return f.value(f"icmp ne i{kind.lanes} {bits}, 0")
