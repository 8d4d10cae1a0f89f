"""Code of operators, comparisons and conversions. Scalar integers trap; vector lanes wrap."""

from axiom.compiler import ir
from axiom.compiler.llvm.function import FunctionEmitter
from axiom.compiler.llvm.names import constant, number, type_name
from axiom.compiler.types import BoolType, EnumType, ScalarType, Type, VecType
from axiom.lang.panic import PanicReason

FLOAT_OPERATORS = {"add": "fadd", "sub": "fsub", "mul": "fmul", "div": "fdiv"}


def lane_type(kind: Type) -> ScalarType | None:
    """Return the scalar type of a scalar or of a vector's lanes; None for bools and enums."""
    if isinstance(kind, VecType):
        return None if kind.element is bool else ScalarType(kind.element)
    return kind if isinstance(kind, ScalarType) else None


def emit_binary(f: FunctionEmitter, e: ir.Binary) -> str:
    """Write an arithmetic operator."""
    left, right = f.expression(e.left), f.expression(e.right)
    name, lane = type_name(e.type), lane_type(e.type)
    assert lane is not None
    if lane.is_float:
        return f.value(f"{FLOAT_OPERATORS[e.operator]} {name} {left}, {right}")
    if e.operator in ("and", "or", "xor"):
        return f.value(f"{e.operator} {name} {left}, {right}")
    if e.operator in ("shl", "shr"):
        if not isinstance(e.type, VecType):
            inside = f.value(f"icmp ult {name} {right}, {lane.scalar.bits}")
            f.require(inside, PanicReason.SHIFT)
        operator = "shl" if e.operator == "shl" else "ashr" if lane.integer.signed else "lshr"
        return f.value(f"{operator} {name} {left}, {right}")
    if isinstance(e.type, VecType):
        return f.value(f"{e.operator} {name} {left}, {right}")
    if e.operator in ("floordiv", "mod"):
        return _divide(f, e, lane, left, right)
    return trapping(f, e.operator, lane, left, right)


def trapping(f: FunctionEmitter, operator: str, kind: ScalarType, left: str, right: str) -> str:
    """Add, subtract or multiply integers; panic when the result does not fit."""
    name = type_name(kind)
    symbol = f"llvm.{'s' if kind.integer.signed else 'u'}{operator}.with.overflow.{name}"
    pair = f"{{{name}, i1}}"
    both = f.intrinsic(symbol, pair, [(name, left), (name, right)])
    fits = f.value(f"xor i1 {f.value(f'extractvalue {pair} {both}, 1')}, true")
    f.require(fits, PanicReason.OVERFLOW)
    return f.value(f"extractvalue {pair} {both}, 0")


def _divide(f: FunctionEmitter, e: ir.Binary, kind: ScalarType, left: str, right: str) -> str:
    """Divide with Python's meaning: the quotient is rounded down, the rest has the divisor's sign."""
    name = type_name(kind)
    f.require(f.value(f"icmp ne {name} {right}, 0"), PanicReason.DIVIDE_BY_ZERO)
    if not kind.integer.signed:
        return f.value(f"{'udiv' if e.operator == 'floordiv' else 'urem'} {name} {left}, {right}")
    is_least = f.value(f"icmp eq {name} {left}, {kind.integer.minimum}")
    is_minus_one = f.value(f"icmp eq {name} {right}, -1")
    overflows = f.value(f"and i1 {is_least}, {is_minus_one}")
    if e.operator == "floordiv":
        f.require(f.value(f"xor i1 {overflows}, true"), PanicReason.OVERFLOW)
        divisor = right
    else:
        divisor = f.value(f"select i1 {overflows}, {name} 1, {name} {right}")
    rest = f.value(f"srem {name} {left}, {divisor}")
    mixed = f.value(f"icmp slt {name} {f.value(f'xor {name} {rest}, {divisor}')}, 0")
    adjust = f.value(f"and i1 {f.value(f'icmp ne {name} {rest}, 0')}, {mixed}")
    if e.operator == "mod":
        return f.value(
            f"select i1 {adjust}, {name} {f.value(f'add {name} {rest}, {divisor}')}, {name} {rest}"
        )
    quotient = f.value(f"sdiv {name} {left}, {divisor}")
    lower = f.value(f"sub {name} {quotient}, 1")
    return f.value(f"select i1 {adjust}, {name} {lower}, {name} {quotient}")


def emit_unary(f: FunctionEmitter, e: ir.Unary) -> str:
    """Write `-x`, `~x` or `not x`."""
    operand = f.expression(e.operand)
    name, lane = type_name(e.type), lane_type(e.type)
    if lane is None:
        if isinstance(e.type, VecType):
            return f.value(f"xor {name} {operand}, {constant(e.type, (True,) * e.type.lanes)}")
        return f.value(f"xor i1 {operand}, true")
    if e.operator == "invert":
        ones = constant(e.type, (-1,) * e.type.lanes) if isinstance(e.type, VecType) else "-1"
        return f.value(f"xor {name} {operand}, {ones}")
    if lane.is_float:
        return f.value(f"fneg {name} {operand}")
    if isinstance(e.type, VecType):
        return f.value(f"sub {name} zeroinitializer, {operand}")
    return trapping(f, "sub", lane, "0", operand)


def emit_compare(f: FunctionEmitter, e: ir.Compare) -> str:
    """Write a comparison; comparisons with NaN are false, `!=` is true."""
    left, right = f.expression(e.left), f.expression(e.right)
    name, lane = type_name(e.left.type), lane_type(e.left.type)
    if lane is not None and lane.is_float:
        operator = "une" if e.operator == "ne" else f"o{e.operator}"
        return f.value(f"fcmp {operator} {name} {left}, {right}")
    signed = lane is not None and lane.integer.signed
    prefix = "" if e.operator in ("eq", "ne") else "s" if signed else "u"
    return f.value(f"icmp {prefix}{e.operator} {name} {left}, {right}")


def emit_convert(f: FunctionEmitter, e: ir.ConvertScalar) -> str:
    """Write `T(x)`."""
    value = f.expression(e.operand)
    source, target = e.operand.type, e.type
    if isinstance(target, EnumType):
        return _to_enum(f, source, target, value)
    assert isinstance(target, ScalarType)
    name = type_name(target)
    if isinstance(source, BoolType):
        if target.is_integer:
            return f.value(f"zext i1 {value} to {name}")
        return f.value(f"uitofp i1 {value} to {name}")
    if isinstance(source, EnumType):
        return _integer(f, value, 32, False, target)
    assert isinstance(source, ScalarType)
    if source.is_integer and target.is_integer:
        return _integer(f, value, source.scalar.bits, source.integer.signed, target)
    origin = type_name(source)
    if source.is_integer:
        return f.value(f"{'sitofp' if source.integer.signed else 'uitofp'} {origin} {value} to {name}")
    if target.is_float:
        operator = "fpext" if target.scalar.bits > source.scalar.bits else "fptrunc"
        return f.value(f"{operator} {origin} {value} to {name}")
    return _float_to_integer(f, value, source, target)


def _integer(f: FunctionEmitter, value: str, bits: int, signed: bool, target: ScalarType) -> str:
    """Convert between integers; panic when the value changes."""
    kind, name = target.integer, f"i{bits}"
    least = -(1 << (bits - 1)) if signed else 0
    most = (1 << (bits - 1)) - 1 if signed else (1 << bits) - 1
    if least < kind.minimum:
        f.require(f.value(f"icmp sge {name} {value}, {kind.minimum}"), PanicReason.CONVERSION)
    if most > kind.maximum:
        prefix = "s" if signed else "u"
        f.require(f.value(f"icmp {prefix}le {name} {value}, {kind.maximum}"), PanicReason.CONVERSION)
    if kind.bits == bits:
        return value
    operator = "trunc" if kind.bits < bits else "sext" if signed else "zext"
    return f.value(f"{operator} {name} {value} to {type_name(target)}")


def _float_to_integer(f: FunctionEmitter, value: str, source: ScalarType, target: ScalarType) -> str:
    """Cut towards zero; panic when the result does not fit, or for NaN."""
    kind, origin = target.integer, type_name(source)
    below = kind.minimum - 1
    exact = source.scalar(float(below)).value == below
    lower = number(source.scalar, float(below if exact else kind.minimum))
    above = f.value(f"fcmp {'ogt' if exact else 'oge'} {origin} {value}, {lower}")
    f.require(above, PanicReason.CONVERSION)
    upper = number(source.scalar, float(kind.maximum + 1))
    f.require(f.value(f"fcmp olt {origin} {value}, {upper}"), PanicReason.CONVERSION)
    if kind.signed:
        return f.value(f"fptosi {origin} {value} to {type_name(target)}")
    # Frozen, so that code generation does not take its minimum with a literal zero for a saturating
    # conversion to an integer of no bits, over which LLVM 22 ends the process (PerformUMinFpToSatCombine).
    made = f.value(f"fptoui {origin} {value} to {type_name(target)}")
    return f.value(f"freeze {type_name(target)} {made}")


def _to_enum(f: FunctionEmitter, source: Type, target: EnumType, value: str) -> str:
    """Check that an integer is a member."""
    assert isinstance(source, ScalarType)
    name = type_name(source)
    known = "false"
    for member in target.members:
        same = f.value(f"icmp eq {name} {value}, {int(member)}")
        known = same if known == "false" else f.value(f"or i1 {known}, {same}")
    f.require(known, PanicReason.CONVERSION)
    bits = source.scalar.bits
    if bits == 32:
        return value
    return f.value(f"{'trunc' if bits > 32 else 'zext'} {name} {value} to i32")
