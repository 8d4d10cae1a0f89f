"""Lowering of the language's primitives: their types, and which arguments are compile-time values.

Each entry checks its arguments and makes an `ir.Primitive` (or a simpler node) of the right type;
`axiom.compiler.llvm.primitives` gives the code. Vectors: `vector_primitives`.
"""

import ast
from collections.abc import Callable
from typing import Any

from axiom.compiler import ir
from axiom.compiler.frontend.context import CompileTime, Value
from axiom.compiler.frontend.expressions import Expressions
from axiom.compiler.types import (
    TEXT,
    U8_SLICE,
    U64,
    VOID,
    ArrayRefType,
    ScalarType,
    SliceType,
    StructType,
    Type,
    element_name,
    holds_slices,
    of_element,
)
from axiom.lang.layout import is_scalar_type, size_of, struct_layout

Lower = Callable[[Expressions, ast.Call], Value]
PRIMITIVES: dict[str, Lower] = {}


def register(*names: str) -> Callable[[Lower], Lower]:
    """Add the lowering of some primitives."""

    def add(lower: Lower) -> Lower:
        for name in names:
            PRIMITIVES[name] = lower
        return lower

    return add


def name_of(node: ast.Call) -> str:
    """Return the name of what a call calls."""
    return node.func.attr if isinstance(node.func, ast.Attribute) else ast.unparse(node.func)


def check_count(e: Expressions, node: ast.Call, expected: int, *, at_least: bool = False) -> None:
    """Report a call that has not the expected number of arguments."""
    few, many = len(node.args) < expected, len(node.args) > expected and not at_least
    if few or many or node.keywords:
        plural = "" if expected == 1 else "s"
        least = "at least " if at_least else ""
        e.context.fail(node, f"`{name_of(node)}` takes {least}{expected} argument{plural} by position")


def make(e: Expressions, node: ast.Call, kind: Type, arguments: list[ir.Expression], *static: Any) -> Value:
    """Make the IR of a primitive, named as the function that the call calls."""
    return ir.Primitive(kind, e.context.span(node), _primitive_name(e, node), arguments, static)


def _primitive_name(e: Expressions, node: ast.Call) -> str:
    callee = e.value(node.func)
    assert isinstance(callee, CompileTime)
    return callee.value.__name__


def _unsafe(e: Expressions, node: ast.Call) -> None:
    if not e.context.unsafe_depth:
        e.context.fail(
            node,
            f"`{name_of(node)}` is raw access outside of `with unsafe:`",
            "write `with unsafe:` under a `# SAFETY:` comment that says why it is right",
        )


def _element(e: Expressions, node: ast.expr) -> Any:
    element = e.compile_time(node)
    of_element(element)
    return element


def _refuse_addresses(e: Expressions, node: ast.Call, element: Any) -> None:
    """Bytes that become a slice, or are one, would be an address that nothing vouches for."""
    if holds_slices(element) and not e.context.unsafe_depth:
        e.context.fail(
            node,
            f"{element_name(element)} holds slices, which are addresses: its bytes are not data",
            "move the slices out of the struct, or write `with unsafe:`",
        )


def _struct_class(e: Expressions, node: ast.expr) -> Any:
    cls = e.compile_time(node)
    if struct_layout(cls) is None:
        e.context.fail(node, "this must be a @struct or @mmio class")
    return cls


def scalar_class(e: Expressions, node: ast.expr) -> Any:
    """Lower an argument that names a scalar type."""
    element = e.compile_time(node)
    if not is_scalar_type(element):
        e.context.fail(node, "this must be a scalar type")
    return element


def slice_argument(e: Expressions, node: ast.expr) -> tuple[ir.Expression, SliceType]:
    """Lower an argument that must be a slice."""
    value = e.typed(node)
    if not isinstance(value.type, SliceType):
        hint = "write `.all` after the array" if isinstance(value.type, ArrayRefType) else ""
        e.context.fail(node, f"expected a slice, found {value.type}", hint)
    return value, value.type


def lower_part(e: Expressions, node: ast.Call, receiver: ir.Expression) -> Value:
    """Lower `slice.part(start, count)`."""
    check_count(e, node, 2)
    start, count = (e.index(argument) for argument in node.args)
    return ir.Primitive(receiver.type, e.context.span(node), "part", [receiver, start, count])


@register("urange", "static")
def _only_in_for(e: Expressions, node: ast.Call) -> Value:
    e.context.fail(node, f"`{name_of(node)}` stands only after `for ... in`")


@register("current_target")
def _current_target(e: Expressions, node: ast.Call) -> Value:
    return CompileTime(e.context.target)


@register("panic")
def _panic(e: Expressions, node: ast.Call) -> Value:
    check_count(e, node, 1)
    message = e.compile_time(node.args[0])
    if not isinstance(message, str):
        e.context.fail(node.args[0], "the message of a panic is a literal text")
    return make(e, node, VOID, [], message.encode())


@register("reinterpret")
def _reinterpret(e: Expressions, node: ast.Call) -> Value:
    check_count(e, node, 2)
    element = _element(e, node.args[0])
    source, kind = slice_argument(e, node.args[1])
    for each in (element, kind.element):
        _refuse_addresses(e, node, each)
    return make(e, node, SliceType(element), [source])


@register("load_bytes")
def _load_bytes(e: Expressions, node: ast.Call) -> Value:
    check_count(e, node, 3)
    element = scalar_class(e, node.args[0])
    return make(e, node, ScalarType(element), [e.typed(node.args[1], U8_SLICE), e.index(node.args[2])])


@register("store_bytes")
def _store_bytes(e: Expressions, node: ast.Call) -> Value:
    check_count(e, node, 3)
    value = e.typed(node.args[2])
    if not isinstance(value.type, ScalarType):
        e.context.fail(node.args[2], f"expected a scalar, found {value.type}")
    return make(e, node, VOID, [e.typed(node.args[0], U8_SLICE), e.index(node.args[1]), value])


@register("copy")
def _copy(e: Expressions, node: ast.Call) -> Value:
    check_count(e, node, 2)
    target, kind = slice_argument(e, node.args[0])
    return make(e, node, VOID, [target, e.typed(node.args[1], kind)])


@register("fill_zero")
def _fill_zero(e: Expressions, node: ast.Call) -> Value:
    check_count(e, node, 1)
    return make(e, node, VOID, [slice_argument(e, node.args[0])[0]])


@register("utf8")
def _utf8(e: Expressions, node: ast.Call) -> Value:
    check_count(e, node, 1)
    return make(e, node, U8_SLICE, [e.typed(node.args[0], TEXT)])


@register("slice_at")
def _slice_at(e: Expressions, node: ast.Call) -> Value:
    check_count(e, node, 3)
    _unsafe(e, node)
    element = _element(e, node.args[0])
    return make(e, node, SliceType(element), [e.typed(node.args[1], U64), e.index(node.args[2])])


@register("struct_at")
def _struct_at(e: Expressions, node: ast.Call) -> Value:
    check_count(e, node, 2)
    _unsafe(e, node)
    cls = _struct_class(e, node.args[0])
    return make(e, node, StructType(cls), [e.typed(node.args[1], U64)])


@register("address_of")
def _address_of(e: Expressions, node: ast.Call) -> Value:
    check_count(e, node, 1)
    value = e.typed(node.args[0])
    if not isinstance(value.type, (StructType, ArrayRefType, SliceType)):
        e.context.fail(node, "only a struct, an array or a slice has an address")
    return make(e, node, U64, [value])


@register("bytes_of")
def _bytes_of(e: Expressions, node: ast.Call) -> Value:
    check_count(e, node, 1)
    value = e.typed(node.args[0])
    if isinstance(value.type, StructType):
        size = value.type.layout.size
    elif isinstance(value.type, ArrayRefType):
        size = size_of(value.type.element) * value.type.count
    else:
        e.context.fail(node, "only a struct or an array has bytes")
    element = value.type.cls if isinstance(value.type, StructType) else value.type.element
    _refuse_addresses(e, node, element)
    if isinstance(value.type, StructType) and value.type.layout.volatile:
        e.context.fail(node, f"the registers {value.type} have no bytes but their fields")
    return make(e, node, U8_SLICE, [value], size)


@register("struct_in")
def _struct_in(e: Expressions, node: ast.Call) -> Value:
    check_count(e, node, 3)
    cls = _struct_class(e, node.args[0])
    _refuse_addresses(e, node, cls)
    return make(e, node, StructType(cls), [e.typed(node.args[1], U8_SLICE), e.index(node.args[2])])


@register("symbol_address")
def _symbol_address(e: Expressions, node: ast.Call) -> Value:
    check_count(e, node, 1)
    return make(e, node, U64, [], str(e.compile_time(node.args[0])))


def _require_assembler(e: Expressions, node: ast.Call) -> None:
    """Refuse assembly where the LLVM that is built in cannot read it: it would end the whole process."""
    architecture = e.context.target.architecture
    if architecture != "x86_64":
        e.context.fail(
            node,
            f"assembly is written for x86_64, and this is compiled for {architecture}",
            "choose by `current_target().architecture`; `@llvm_intrinsic` makes single instructions",
        )


@register("asm")
def _asm(e: Expressions, node: ast.Call) -> Value:
    check_count(e, node, 2, at_least=True)
    _unsafe(e, node)
    _require_assembler(e, node)
    text, constraints = (str(e.compile_time(a)) for a in node.args[:2])
    return make(e, node, VOID, [e.typed(a) for a in node.args[2:]], text, constraints)


@register("asm_value")
def _asm_value(e: Expressions, node: ast.Call) -> Value:
    check_count(e, node, 3, at_least=True)
    _unsafe(e, node)
    _require_assembler(e, node)
    kind = scalar_class(e, node.args[0])
    text, constraints = (str(e.compile_time(a)) for a in node.args[1:3])
    return make(e, node, ScalarType(kind), [e.typed(a) for a in node.args[3:]], text, constraints)


def _require_scalars(e: Expressions, node: ast.expr, kind: SliceType) -> None:
    if not is_scalar_type(kind.element):
        e.context.fail(node, f"expected a slice of scalars, found {kind}")


@register("volatile_load")
def _volatile_load(e: Expressions, node: ast.Call) -> Value:
    check_count(e, node, 2)
    source, kind = slice_argument(e, node.args[0])
    _require_scalars(e, node.args[0], kind)
    return ir.Element(
        ScalarType(kind.element), e.context.span(node), source, e.index(node.args[1]), kind.element, True
    )


@register("volatile_store")
def _volatile_store(e: Expressions, node: ast.Call) -> Value:
    check_count(e, node, 3)
    target, kind = slice_argument(e, node.args[0])
    _require_scalars(e, node.args[0], kind)
    value = e.typed(node.args[2], ScalarType(kind.element))
    return make(e, node, VOID, [target, e.index(node.args[1]), value])


@register("atomic_add")
def _atomic_add(e: Expressions, node: ast.Call) -> Value:
    check_count(e, node, 3)
    target, kind = slice_argument(e, node.args[0])
    element = ScalarType(kind.element) if is_scalar_type(kind.element) else None
    if element is None or not element.is_integer:
        e.context.fail(node.args[0], f"expected a slice of integers, found {kind}")
    value = e.typed(node.args[2], element)
    return make(e, node, element, [target, e.index(node.args[1]), value])


@register("acquire_fence", "release_fence", "full_fence")
def _fence(e: Expressions, node: ast.Call) -> Value:
    check_count(e, node, 0)
    return make(e, node, VOID, [])


@register("prefetch")
def _prefetch(e: Expressions, node: ast.Call) -> Value:
    check_count(e, node, 2)
    return make(e, node, VOID, [e.typed(node.args[0], U8_SLICE), e.index(node.args[1])])


@register("write_to")
def _write_to(e: Expressions, node: ast.Call) -> Value:
    e.context.fail(node, "`write_to` stands alone as a statement")


@register("wrapping_add", "wrapping_sub", "wrapping_mul", "multiply_high")
def _wrapping(e: Expressions, node: ast.Call) -> Value:
    check_count(e, node, 2)
    first, second = same_type(e, node, node.args[0], node.args[1])
    if not isinstance(first.type, ScalarType) or not first.type.is_integer:
        e.context.fail(node, f"expected integers, found {first.type}")
    if name_of(node) == "multiply_high" and first.type != U64:
        e.context.fail(node, f"`multiply_high` is for u64, found {first.type}")
    return make(e, node, first.type, [first, second])


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


@register("truncate")
def _truncate(e: Expressions, node: ast.Call) -> Value:
    check_count(e, node, 2)
    kind = ScalarType(scalar_class(e, node.args[0]))
    value = e.typed(node.args[1])
    if not isinstance(value.type, ScalarType) or not value.type.is_integer or not kind.is_integer:
        e.context.fail(node, "truncate is for integers")
    return make(e, node, kind, [value])


@register("leading_zeros", "trailing_zeros", "population_count")
def _bitcount(e: Expressions, node: ast.Call) -> Value:
    check_count(e, node, 1)
    value = e.typed(node.args[0])
    if not isinstance(value.type, ScalarType) or not value.type.is_integer:
        e.context.fail(node, f"expected an integer, found {value.type}")
    return make(e, node, value.type, [value])
