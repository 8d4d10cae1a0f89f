"""Code of the language's primitives on scalars, memory and the machine (vectors: `vectors`)."""

from collections.abc import Callable

from axiom.compiler import ir
from axiom.compiler.llvm.arithmetic import lane_type
from axiom.compiler.llvm.function import FunctionEmitter
from axiom.compiler.llvm.names import PAIR, mangled, memory_name, quoted, type_name
from axiom.compiler.types import ArrayRefType, ScalarType, SliceType, StructType, Type, VecType
from axiom.lang.layout import align_of, size_of
from axiom.lang.panic import PanicReason

Emit = Callable[[FunctionEmitter, ir.Primitive], str]
EMIT: dict[str, Emit] = {}


def register(*names: str) -> Callable[[Emit], Emit]:
    """Add the code of some primitives."""

    def add(emit: Emit) -> Emit:
        for name in names:
            EMIT[name] = emit
        return emit

    return add


def inside(f: FunctionEmitter, count: str, start: str, wanted: str) -> None:
    """Panic unless `wanted` elements from `start` lie within `count`."""
    low = f.value(f"icmp ule i64 {start}, {count}")
    left = f.value(f"sub i64 {count}, {start}")
    enough = f.value(f"icmp ule i64 {wanted}, {left}")
    f.require(f.value(f"and i1 {low}, {enough}"), PanicReason.BOUNDS, start, count)


def byte_place(f: FunctionEmitter, source: ir.Expression, offset: ir.Expression, size: int) -> str:
    """Return the address of `size` bytes at an offset in a byte slice, checked."""
    pointer, count = f.pair_parts(f.expression(source))
    start = f.wide(offset)
    inside(f, count, start, str(size))
    return f.offset(pointer, start)


def element_of(e: ir.Primitive) -> object:
    """Return the element type of the first argument, a slice or an array."""
    kind = e.arguments[0].type
    assert isinstance(kind, (SliceType, ArrayRefType))
    return kind.element


@register("all")
def _all(f: FunctionEmitter, e: ir.Primitive) -> str:
    kind = e.arguments[0].type
    assert isinstance(kind, ArrayRefType)
    return f.pair(f.expression(e.arguments[0]), str(kind.count))


@register("length")
def _length(f: FunctionEmitter, e: ir.Primitive) -> str:
    return f.pair_parts(f.expression(e.arguments[0]))[1]


@register("part")
def _part(f: FunctionEmitter, e: ir.Primitive) -> str:
    pointer, count = f.pair_parts(f.expression(e.arguments[0]))
    start, wanted = f.wide(e.arguments[1]), f.wide(e.arguments[2])
    inside(f, count, start, wanted)
    size = size_of(element_of(e))
    scaled = start if size == 1 else f.value(f"mul nuw nsw i64 {start}, {size}")
    return f.pair(f.offset(pointer, scaled), wanted)


@register("reinterpret")
def _reinterpret(f: FunctionEmitter, e: ir.Primitive) -> str:
    assert isinstance(e.type, SliceType)
    pointer, count = f.pair_parts(f.expression(e.arguments[0]))
    align, size = align_of(e.type.element), size_of(e.type.element)
    if align > align_of(element_of(e)):
        address = f.value(f"ptrtoint ptr {pointer} to i64")
        low = f.value(f"and i64 {address}, {align - 1}")
        f.require(f.value(f"icmp eq i64 {low}, 0"), PanicReason.ALIGNMENT, address)
    total = f.value(f"mul nuw i64 {count}, {size_of(element_of(e))}")
    return f.pair(pointer, f.value(f"udiv i64 {total}, {size}"))


@register("load_bytes")
def _load_bytes(f: FunctionEmitter, e: ir.Primitive) -> str:
    assert isinstance(e.type, ScalarType)
    place = byte_place(f, e.arguments[0], e.arguments[1], e.type.scalar.size_bytes)
    return f.value(f"load {type_name(e.type)}, ptr {place}, align 1")


@register("store_bytes")
def _store_bytes(f: FunctionEmitter, e: ir.Primitive) -> str:
    kind = e.arguments[2].type
    assert isinstance(kind, ScalarType)
    value = f.expression(e.arguments[2])
    place = byte_place(f, e.arguments[0], e.arguments[1], kind.scalar.size_bytes)
    f.emit(f"store {type_name(kind)} {value}, ptr {place}, align 1")
    return ""


@register("copy")
def _copy(f: FunctionEmitter, e: ir.Primitive) -> str:
    target, target_count = f.pair_parts(f.expression(e.arguments[0]))
    source, source_count = f.pair_parts(f.expression(e.arguments[1]))
    same = f.value(f"icmp eq i64 {target_count}, {source_count}")
    f.require(same, PanicReason.BOUNDS, source_count, target_count)
    size = f.value(f"mul nuw i64 {source_count}, {size_of(element_of(e))}")
    arguments = [("ptr", target), ("ptr", source), ("i64", size), ("i1", "false")]
    return f.intrinsic("llvm.memmove.p0.p0.i64", "void", arguments)


@register("fill_zero")
def _fill_zero(f: FunctionEmitter, e: ir.Primitive) -> str:
    target, count = f.pair_parts(f.expression(e.arguments[0]))
    size = f.value(f"mul nuw i64 {count}, {size_of(element_of(e))}")
    arguments = [("ptr", target), ("i8", "0"), ("i64", size), ("i1", "false")]
    return f.intrinsic("llvm.memset.p0.i64", "void", arguments)


@register("utf8")
def _utf8(f: FunctionEmitter, e: ir.Primitive) -> str:
    return f.expression(e.arguments[0])


@register("slice_at")
def _slice_at(f: FunctionEmitter, e: ir.Primitive) -> str:
    address, count = f.expression(e.arguments[0]), f.wide(e.arguments[1])
    return f.pair(f.value(f"inttoptr i64 {address} to ptr"), count)


@register("struct_at")
def _struct_at(f: FunctionEmitter, e: ir.Primitive) -> str:
    return f.value(f"inttoptr i64 {f.expression(e.arguments[0])} to ptr")


@register("address_of")
def _address_of(f: FunctionEmitter, e: ir.Primitive) -> str:
    value = f.expression(e.arguments[0])
    if not isinstance(e.arguments[0].type, (StructType, ArrayRefType)):
        value = f.value(f"extractvalue {PAIR} {value}, 0")
    return f.value(f"ptrtoint ptr {value} to i64")


@register("bytes_of")
def _bytes_of(f: FunctionEmitter, e: ir.Primitive) -> str:
    return f.pair(f.expression(e.arguments[0]), str(e.static[0]))


@register("struct_in")
def _struct_in(f: FunctionEmitter, e: ir.Primitive) -> str:
    assert isinstance(e.type, StructType)
    place = byte_place(f, e.arguments[0], e.arguments[1], e.type.layout.size)
    if e.type.layout.align > 1:
        address = f.value(f"ptrtoint ptr {place} to i64")
        low = f.value(f"and i64 {address}, {e.type.layout.align - 1}")
        f.require(f.value(f"icmp eq i64 {low}, 0"), PanicReason.ALIGNMENT, address)
    return place


@register("symbol_address")
def _symbol_address(f: FunctionEmitter, e: ir.Primitive) -> str:
    symbol = str(e.static[0])
    f.module.refer(symbol, e.span)
    return f.value(f'ptrtoint ptr @"{quoted(symbol.encode())}" to i64')


@register("asm")
def _asm(f: FunctionEmitter, e: ir.Primitive) -> str:
    f.emit(f"call void {_assembly(f, e)}")
    return ""


@register("asm_value")
def _asm_value(f: FunctionEmitter, e: ir.Primitive) -> str:
    return f.value(f"call {type_name(e.type)} {_assembly(f, e)}")


def _assembly(f: FunctionEmitter, e: ir.Primitive) -> str:
    text, constraints = (quoted(str(part).encode()) for part in e.static)
    arguments = ", ".join(f"{type_name(a.type)} {f.expression(a)}" for a in e.arguments)
    return f'asm sideeffect "{text}", "{constraints}"({arguments})'


@register("volatile_store")
def _volatile_store(f: FunctionEmitter, e: ir.Primitive) -> str:
    element = element_of(e)
    place = _element_place(f, e)
    value = f.expression(e.arguments[2])
    f.emit(f"store volatile {memory_name(element)} {value}, ptr {place}, align {align_of(element)}")
    return ""


@register("atomic_add")
def _atomic_add(f: FunctionEmitter, e: ir.Primitive) -> str:
    element = element_of(e)
    place = _element_place(f, e)
    added = f"{memory_name(element)} {f.expression(e.arguments[2])}"
    return f.value(f"atomicrmw add ptr {place}, {added} monotonic, align {align_of(element)}")


def _element_place(f: FunctionEmitter, e: ir.Primitive) -> str:
    """Return where the element is whose slice and index are the first two arguments."""
    pointer, count = f.pair_parts(f.expression(e.arguments[0]))
    index = f.wide(e.arguments[1])
    f.require(f.value(f"icmp ult i64 {index}, {count}"), PanicReason.BOUNDS, index, count)
    return f.offset(pointer, f.value(f"mul nuw nsw i64 {index}, {size_of(element_of(e))}"))


@register("acquire_fence", "release_fence", "full_fence")
def _fence(f: FunctionEmitter, e: ir.Primitive) -> str:
    f.emit(f"fence {e.name.removesuffix('_fence').replace('full', 'seq_cst')}")
    return ""


@register("prefetch")
def _prefetch(f: FunctionEmitter, e: ir.Primitive) -> str:
    pointer, _ = f.pair_parts(f.expression(e.arguments[0]))
    place = f.value(f"getelementptr i8, ptr {pointer}, i64 {f.wide(e.arguments[1])}")
    arguments = [("ptr", place), ("i32", "0"), ("i32", "3"), ("i32", "1")]
    return f.intrinsic("llvm.prefetch.p0", "void", arguments)


@register("panic")
def _panic(f: FunctionEmitter, e: ir.Primitive) -> str:
    f.panic(e.static[0])
    return ""


@register("wrapping_add", "wrapping_sub", "wrapping_mul")
def _wrapping(f: FunctionEmitter, e: ir.Primitive) -> str:
    left, right = (f.expression(a) for a in e.arguments)
    return f.value(f"{e.name.removeprefix('wrapping_')} {type_name(e.type)} {left}, {right}")


@register("multiply_high")
def _multiply_high(f: FunctionEmitter, e: ir.Primitive) -> str:
    wide = [f.value(f"zext i64 {f.expression(a)} to i128") for a in e.arguments]
    product = f.value(f"mul nuw i128 {wide[0]}, {wide[1]}")
    return f.value(f"trunc i128 {f.value(f'lshr i128 {product}, 64')} to i64")


@register("truncate")
def _truncate(f: FunctionEmitter, e: ir.Primitive) -> str:
    source, target = e.arguments[0].type, e.type
    assert isinstance(source, ScalarType)
    assert isinstance(target, ScalarType)
    value = f.expression(e.arguments[0])
    if source.scalar.bits == target.scalar.bits:
        return value
    widen = "sext" if source.integer.signed else "zext"
    operator = "trunc" if target.scalar.bits < source.scalar.bits else widen
    return f.value(f"{operator} {type_name(source)} {value} to {type_name(target)}")


@register("leading_zeros", "trailing_zeros", "population_count")
def _bits(f: FunctionEmitter, e: ir.Primitive) -> str:
    short = {"leading_zeros": "ctlz", "trailing_zeros": "cttz", "population_count": "ctpop"}[e.name]
    name = type_name(e.type)
    arguments = [(name, f.expression(e.arguments[0]))]
    if short != "ctpop":
        arguments.append(("i1", "false"))
    return f.intrinsic(f"llvm.{short}.{name}", name, arguments)


@register("fma", "square_root", "round_even", "absolute")
def _float_intrinsic(f: FunctionEmitter, e: ir.Primitive) -> str:
    name, lane = type_name(e.type), lane_type(e.type)
    assert lane is not None
    arguments = [(name, f.expression(a)) for a in e.arguments]
    short = {"fma": "fma", "square_root": "sqrt", "round_even": "rint", "absolute": "fabs"}[e.name]
    if e.name == "absolute" and not lane.is_float:
        short = "abs"
        arguments.append(("i1", "false"))
        if not lane.integer.signed:
            return arguments[0][1]
    return f.intrinsic(f"llvm.{short}.{mangled(e.type)}", name, arguments)


@register("minimum", "maximum")
def _extremum(f: FunctionEmitter, e: ir.Primitive) -> str:
    left, right = (f.expression(a) for a in e.arguments)
    return extremum(f, e.type, e.name == "maximum", left, right)


def extremum(f: FunctionEmitter, kind: Type, largest: bool, left: str, right: str) -> str:
    """Take `left` when it is beyond `right`, else `right`."""
    assert isinstance(kind, (ScalarType, VecType))
    name, lane = type_name(kind), lane_type(kind)
    assert lane is not None
    if lane.is_float:
        test = f"fcmp {'ogt' if largest else 'olt'}"
    else:
        test = f"icmp {'s' if lane.integer.signed else 'u'}{'gt' if largest else 'lt'}"
    beyond = f.value(f"{test} {name} {left}, {right}")
    condition = f"<{kind.lanes} x i1>" if isinstance(kind, VecType) else "i1"
    return f.value(f"select {condition} {beyond}, {name} {left}, {name} {right}")


@register("bitcast")
def _bitcast(f: FunctionEmitter, e: ir.Primitive) -> str:
    value = f.expression(e.arguments[0])
    source, target = type_name(e.arguments[0].type), type_name(e.type)
    return value if source == target else f.value(f"bitcast {source} {value} to {target}")
