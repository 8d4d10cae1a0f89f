"""Which constructs carry a check that could fail at run time, as far as their own form tells."""

from axiom.compiler import ir
from axiom.compiler.types import ArrayRefType, BoolType, EnumType, ScalarType, SliceType, Type, VecType

Reason = tuple[str, str]
_OVERFLOW: Reason = ("the result may not fit", "use `wrapping_add`, `wrapping_sub` or `wrapping_mul`")
_SHIFT: Reason = ("the amount may not be below the width", "shift by a constant")
_DIVISION: Reason = ("the divisor may be zero", "divide by a constant")
_BOUNDS: Reason = ("the index may be out of bounds", "index an array by a constant")
_CONVERSION: Reason = ("the value may not fit", "use `truncate`")
_MEMBER: Reason = ("the value may be no member", "compare numbers instead")
_ASSERT: Reason = ("the condition may not hold", "note the event and judge it elsewhere")
_STOP: Reason = ("it may come to this", "note the event and judge it elsewhere; end a match with `case _`")
_VIEW: Reason = ("the place may be out of bounds", "use a field, or an array and a constant index")
_SAFE = frozenset(
    (
        *("all", "length", "utf8", "slice_at", "struct_at", "address_of", "bytes_of", "symbol_address"),
        *("asm", "asm_value", "acquire_fence", "release_fence", "full_fence", "prefetch"),
        *("wrapping_add", "wrapping_sub", "wrapping_mul", "multiply_high", "truncate", "bitcast"),
        *(
            "leading_zeros",
            "trailing_zeros",
            "population_count",
            "absolute",
            "minimum",
            "maximum",
            "copy",
            "fill_zero",
        ),
    )
)


def may_panic(node: ir.Statement | ir.Expression) -> Reason | None:
    """Return why the checks of a statement or an expression may fail, and what to do; None if they cannot.

    Its parts are not looked into.
    """
    match node:
        case ir.Assert():
            return _ASSERT
        case ir.Binary():
            return _arithmetic(node)
        case ir.Unary(kind, _, "neg", _):
            return _OVERFLOW if _is_integer(kind) else None
        case ir.Element(_, _, base, index):
            return None if _is_inside(base, index) else _BOUNDS
        case ir.ConvertScalar(kind, _, operand):
            if isinstance(kind, EnumType):
                return _MEMBER
            return None if _fits(operand.type, kind) else _CONVERSION
        case ir.Primitive(_, _, "panic"):
            return _STOP
        case ir.Primitive(_, _, "volatile_store" | "atomic_add", arguments):
            return None if _is_inside(arguments[0], arguments[1]) else _BOUNDS
        case ir.Primitive(_, _, name):
            return None if name in _SAFE else _VIEW
        case _:
            return None


def _is_integer(kind: Type) -> bool:
    return isinstance(kind, ScalarType) and kind.is_integer


def _arithmetic(node: ir.Binary) -> Reason | None:
    if isinstance(node.type, VecType) or not _is_integer(node.type):
        return None
    known = node.right.value if isinstance(node.right, ir.Constant) else None
    match node.operator:
        case "add" | "sub" | "mul":
            return _OVERFLOW
        case "shl" | "shr":
            return None if known is not None else _SHIFT
        case "floordiv" | "mod":
            return None if known is not None and int(known) > 0 else _DIVISION
        case _:
            return None


def _is_inside(base: ir.Expression, index: ir.Expression) -> bool:
    """Tell whether an index is a constant within an array, or within all of one."""
    if isinstance(base, ir.Primitive) and base.name == "all":
        base = base.arguments[0]
    if isinstance(base.type, SliceType) or not isinstance(base.type, ArrayRefType):
        return False
    return isinstance(index, ir.Constant) and 0 <= int(index.value) < base.type.count


def _fits(source: Type, target: Type) -> bool:
    """Tell whether every value of an integer type fits another."""
    if isinstance(source, BoolType):
        return True
    if not isinstance(target, ScalarType) or not target.is_integer:
        return False
    if isinstance(source, EnumType):
        least, most = 0, (1 << 32) - 1
    elif isinstance(source, ScalarType) and source.is_integer:
        least, most = source.integer.minimum, source.integer.maximum
    else:
        return False
    return target.integer.minimum <= least and most <= target.integer.maximum
