"""Lowering of expressions.

`value` gives a run-time expression, a compile-time value or a bound method; `typed` insists on a
run-time expression of a known type and gives literals their type.
"""

import ast
import operator
from collections.abc import Callable
from typing import Any, cast

from axiom.compiler import ir
from axiom.compiler.frontend.context import BoundMethod, CompileTime, Context, Value, constant
from axiom.compiler.frontend.hints import agreement_hint, conversion_hint, fields_hint, operator_hint
from axiom.compiler.frontend.refusals import expression_refusal, operator_refusal
from axiom.compiler.types import (
    BOOL,
    TEXT,
    U64,
    ArrayRefType,
    BoolType,
    EnumType,
    ScalarType,
    SliceType,
    StructType,
    Type,
    VecType,
    VoidType,
    of_element,
)
from axiom.lang.functions import Function

BINARY: dict[type[ast.operator], ir.Operator] = {
    ast.Add: "add",
    ast.Sub: "sub",
    ast.Mult: "mul",
    ast.FloorDiv: "floordiv",
    ast.Mod: "mod",
    ast.Div: "div",
    ast.BitAnd: "and",
    ast.BitOr: "or",
    ast.BitXor: "xor",
    ast.LShift: "shl",
    ast.RShift: "shr",
}
COMPARE: dict[type[ast.cmpop], Any] = {
    ast.Eq: "eq",
    ast.NotEq: "ne",
    ast.Is: "eq",
    ast.IsNot: "ne",
    ast.Lt: "lt",
    ast.LtE: "le",
    ast.Gt: "gt",
    ast.GtE: "ge",
}
_python: Any = operator


def _is_in(item: Any, values: Any) -> bool:
    return item in values


def _is_not_in(item: Any, values: Any) -> bool:
    return item not in values


# What operators do to compile-time values: what Python does.
PYTHON: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: _python.add,
    ast.Sub: _python.sub,
    ast.Mult: _python.mul,
    ast.FloorDiv: _python.floordiv,
    ast.Mod: _python.mod,
    ast.Div: _python.truediv,
    ast.Pow: _python.pow,
    ast.MatMult: _python.matmul,
    ast.BitAnd: _python.and_,
    ast.BitOr: _python.or_,
    ast.BitXor: _python.xor,
    ast.LShift: _python.lshift,
    ast.RShift: _python.rshift,
    ast.Eq: _python.eq,
    ast.NotEq: _python.ne,
    ast.Lt: _python.lt,
    ast.LtE: _python.le,
    ast.Gt: _python.gt,
    ast.GtE: _python.ge,
    ast.Is: _python.is_,
    ast.IsNot: _python.is_not,
    ast.In: _is_in,
    ast.NotIn: _is_not_in,
    ast.USub: _python.neg,
    ast.UAdd: _python.pos,
    ast.Invert: _python.invert,
    ast.Not: _python.not_,
}
COLLECTIONS = "collections exist only while compiling; at run time there are `array(T, n)` and structs"
TEXT_HINT = "text is made at run time only where it goes: `write_to(sink, f'...')`"
CallHandler = Callable[["Expressions", ast.Call, Value], Value]


class Expressions:
    """Lowers the expressions of one function."""

    def __init__(self, context: Context, call: CallHandler) -> None:
        self.context = context
        self._call = call

    def value(self, node: ast.expr, expected: Type | None = None) -> Value:
        """Lower any expression."""
        match node:
            case ast.Constant():
                return CompileTime(node.value)
            case ast.Name():
                return self.context.look_up(node)
            case ast.Attribute():
                return self._attribute(node)
            case ast.Subscript():
                return self._subscript(node)
            case ast.BinOp():
                return self._binary(node, expected)
            case ast.UnaryOp():
                return self._unary(node, expected)
            case ast.Compare():
                return self._compare(node)
            case ast.BoolOp():
                return self._logical(node)
            case ast.IfExp():
                return self._conditional(node, expected)
            case ast.Call():
                return self._call(self, node, self.value(node.func))
            case ast.Tuple() | ast.List() | ast.Set():
                items = [self.compile_time(item, COLLECTIONS) for item in node.elts]
                return CompileTime(tuple(items) if isinstance(node, ast.Tuple) else items)
            case ast.JoinedStr() | ast.ListComp() | ast.GeneratorExp() | ast.DictComp() | ast.Dict():
                return self._python(node)
            case _:
                self.context.fail(node, *expression_refusal(node))

    def typed(self, node: ast.expr, expected: Type | None = None) -> ir.Expression:
        """Lower to a run-time expression; with `expected`, of exactly that type."""
        value = self.value(node, expected)
        if isinstance(value, BoundMethod):
            self.context.fail(node, f"the method `{value.name}` is not called", "write `()` after it")
        if isinstance(value, CompileTime):
            return self.literal(value.value, node, expected)
        if expected is not None and value.type != expected:
            self.context.fail(
                node, f"expected {expected}, found {value.type}", conversion_hint(expected, value.type)
            )
        if isinstance(value.type, VoidType):
            self.context.fail(node, "this has no value")
        self.refuse_register_array(node, value)
        return value

    def refuse_register_array(self, node: ast.expr, value: ir.Expression) -> None:
        """An array of registers has no value of its own: accesses through one would not be volatile."""
        if isinstance(value, ir.Field) and value.volatile and isinstance(value.type, ArrayRefType):
            self.context.fail(node, "an array of registers is indexed where it stands", "write `[index]`")

    def literal(self, value: Any, node: ast.expr, expected: Type | None) -> ir.Expression:
        """Give a compile-time value a run-time type."""
        span = self.context.span(node)
        if isinstance(value, str) and expected in (None, TEXT):
            return ir.Text(TEXT, span, value.encode())
        if expected is not None:
            return constant(value, expected, span, self.context, node)
        if isinstance(value, bool):
            return ir.Constant(BOOL, span, value)
        if isinstance(value, (int, float)) and type(value) not in (int, float):
            return ir.Constant(EnumType(cast(Any, type(value))), span, int(value))
        if isinstance(value, (int, float)):
            self.context.fail(
                node,
                f"the number {value} has no type here",
                f"say which: `{'u64' if isinstance(value, int) else 'f32'}({value})`",
            )
        self.context.fail(node, f"a {type(value).__name__} exists only while compiling")

    def compile_time(self, node: ast.expr, hint: str = "") -> Any:
        """Lower to a Python value; report a run-time expression."""
        value = self.value(node)
        if isinstance(value, CompileTime):
            return value.value
        if isinstance(value, ir.Constant) and isinstance(value.type, ScalarType):
            return value.type.scalar(value.value)
        self.context.fail(node, f"`{ast.unparse(node)}` must be known while compiling", hint)

    def condition(self, node: ast.expr) -> ir.Expression | bool:
        """Lower a condition: a bool known while compiling, or a run-time bool."""
        value = self.value(node)
        if isinstance(value, CompileTime):
            if isinstance(value.value, bool):
                return value.value
        elif not isinstance(value, BoundMethod) and isinstance(value.type, BoolType):
            return bool(value.value) if isinstance(value, ir.Constant) else value
        self.context.fail(node, "a condition must be a bool", "compare explicitly, for example `x != 0`")

    def _python(self, node: ast.expr) -> CompileTime:
        """Evaluate a comprehension, a dict or an f-string whose names are all compile-time values."""
        own = {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        scope: dict[str, Any] = {}
        for name in ast.walk(node):
            if isinstance(name, ast.Name) and name.id not in own and name.id not in scope:
                hint = TEXT_HINT if isinstance(node, ast.JoinedStr) else COLLECTIONS
                scope[name.id] = self.compile_time(name, hint)
        code = compile(ast.fix_missing_locations(ast.Expression(node)), "<compile time>", "eval")
        try:
            return CompileTime(eval(code, scope))
        except Exception as error:
            self.context.fail(node, f"while compiling: {type(error).__name__}: {error}")

    def _calculated(self, node: ast.AST, operate: Callable[..., Any], *values: Any) -> Any:
        """Evaluate an operator on compile-time values."""
        try:
            return operate(*values)
        except Exception as error:
            self.context.fail(node, f"while compiling: {type(error).__name__}: {error}")

    def _attribute(self, node: ast.Attribute) -> Value:
        base = self.value(node.value)
        if isinstance(base, BoundMethod):
            self.context.fail(node, f"the method `{base.name}` has no attributes")
        if isinstance(base, CompileTime):
            if not hasattr(base.value, node.attr):
                self.context.fail(node, f"{base.value!r} has no attribute `{node.attr}`")
            return self.context.wrap(getattr(base.value, node.attr), node, node.attr)
        span, kind = self.context.span(node), base.type
        match kind:
            case StructType():
                found = kind.layout.fields.get(node.attr)
                if found is not None:
                    return ir.Field(
                        of_element(found.type), span, base, found.offset, found.type, kind.layout.volatile
                    )
                method = getattr(kind.cls, node.attr, None)
                if isinstance(method, Function):
                    return BoundMethod(base, node.attr, method)
            case ArrayRefType() if node.attr == "length":
                return ir.Constant(U64, span, kind.count)
            case ArrayRefType() if node.attr == "all":
                self.refuse_register_array(node.value, base)
                return ir.Primitive(SliceType(kind.element), span, "all", [base])
            case SliceType() if node.attr == "length":
                return ir.Primitive(U64, span, "length", [base])
            case SliceType() if node.attr == "part":
                return BoundMethod(base, "part", None)
            case VecType() if node.attr == "lanes":
                return CompileTime(kind.lanes)
            case _:
                pass
        self.context.fail(node, f"{kind} has no field or method `{node.attr}`", fields_hint(kind))

    def _subscript(self, node: ast.Subscript) -> Value:
        base = self.value(node.value)
        if isinstance(base, CompileTime):
            index = self.compile_time(node.slice)
            try:
                return self.context.wrap(base.value[index], node, ast.unparse(node.value))
            except Exception as error:
                self.context.fail(node, f"while compiling: {type(error).__name__}: {error}")
        return self.element(node, base)

    def element(self, node: ast.Subscript, base: Value) -> ir.Element:
        """Lower `base[index]` at run time."""
        if isinstance(base, (BoundMethod, CompileTime)):
            self.context.fail(node, "this cannot be indexed")
        if isinstance(node.slice, ast.Slice):
            self.context.fail(node, "ranges are not in the language", "write `.part(start, count)`")
        kind = base.type
        if not isinstance(kind, (ArrayRefType, SliceType)):
            self.context.fail(node, f"{kind} cannot be indexed")
        index = self.index(node.slice)
        outside = isinstance(index, ir.Constant) and not 0 <= index.value < _count_of(kind)
        if isinstance(index, ir.Constant) and outside:
            self.context.fail(node.slice, f"index {index.value} is outside of {kind}")
        volatile = isinstance(base, ir.Field) and base.volatile
        return ir.Element(
            of_element(kind.element), self.context.span(node), base, index, kind.element, volatile
        )

    def index(self, node: ast.expr) -> ir.Expression:
        """Lower an index or a count: any integer type, literals as u64."""
        value = self.value(node)
        if isinstance(value, CompileTime):
            if isinstance(value.value, int) and value.value < 0:
                self.context.fail(
                    node, "an index counts from 0 up", "count from the length: `s[s.length - 1]`"
                )
            return self.literal(value.value, node, U64)
        if (
            isinstance(value, BoundMethod)
            or not isinstance(value.type, ScalarType)
            or not value.type.is_integer
        ):
            self.context.fail(node, "an index must be an integer")
        return value

    def _binary(self, node: ast.BinOp, expected: Type | None) -> Value:
        left, right = self.value(node.left, expected), self.value(node.right, expected)
        return self.binary(node, type(node.op), (node.left, left), (node.right, right))

    def binary(
        self,
        node: ast.AST,
        sign: type[ast.operator],
        left: tuple[ast.expr, Value],
        right: tuple[ast.expr, Value],
    ) -> Value:
        """Combine two lowered operands."""
        name = BINARY.get(sign)
        if isinstance(left[1], CompileTime) and isinstance(right[1], CompileTime):
            return CompileTime(self._calculated(node, PYTHON[sign], left[1].value, right[1].value))
        if name is None:
            self.context.fail(node, *operator_refusal(sign))
        first, second = self._operands(node, left, right)
        kind = first.type
        element = (
            kind.element
            if isinstance(kind, VecType)
            else kind.scalar
            if isinstance(kind, ScalarType)
            else None
        )
        if element is None or element is bool:
            self.context.fail(node, f"{kind} does not take part in arithmetic")
        is_float = ScalarType(element).is_float
        if (is_float and name not in ("add", "sub", "mul", "div")) or (not is_float and name == "div"):
            self.context.fail(node, f"{kind} has no such operator", operator_hint(name, is_float))
        if isinstance(kind, VecType) and name in ("floordiv", "mod"):
            self.context.fail(node, "vectors of integers do not divide")
        if isinstance(kind, VecType) and name in ("shl", "shr"):
            if not isinstance(second, ir.Constant):
                self.context.fail(node, "vectors shift by constants only")
            if not 0 <= second.value[0] < ScalarType(element).scalar.bits:
                self.context.fail(node, f"a shift by {second.value[0]} is outside of {kind}")
        return ir.Binary(kind, self.context.span(node), name, first, second)

    def _operands(
        self, node: ast.AST, left: tuple[ast.expr, Value], right: tuple[ast.expr, Value]
    ) -> tuple[ir.Expression, ir.Expression]:
        """Give two operands one type; a literal takes that of the other."""
        sides: list[ir.Expression] = []
        for (at, mine), (_, other) in ((left, right), (right, left)):
            if isinstance(mine, BoundMethod):
                self.context.fail(at, f"the method `{mine.name}` is not called")
            if isinstance(mine, CompileTime):
                other_type = other.type if isinstance(other, ir.Expression) else None
                sides.append(self.literal(mine.value, at, other_type))
            else:
                sides.append(mine)
        if sides[0].type != sides[1].type:
            self.context.fail(
                node,
                f"{sides[0].type} meets {sides[1].type}",
                agreement_hint(sides[0].type, sides[1].type),
            )
        return sides[0], sides[1]

    def _unary(self, node: ast.UnaryOp, expected: Type | None) -> Value:
        operand = self.value(node.operand, expected)
        if isinstance(operand, BoundMethod):
            self.context.fail(node, f"the method `{operand.name}` is not called")
        if isinstance(operand, CompileTime):
            return CompileTime(self._calculated(node, PYTHON[type(node.op)], operand.value))
        span, kind = self.context.span(node), operand.type
        match node.op:
            case ast.Not() if kind == BOOL:
                return ir.Unary(BOOL, span, "not", operand)
            case ast.USub() if isinstance(kind, (ScalarType, VecType)):
                return ir.Unary(kind, span, "neg", operand)
            case ast.Invert() if isinstance(kind, (ScalarType, VecType)):
                return ir.Unary(kind, span, "invert", operand)
            case _:
                self.context.fail(
                    node, f"{kind} has no such operator", "`not` is for bool, `~` for integers"
                )

    def _compare(self, node: ast.Compare) -> Value:
        if len(node.ops) != 1:
            self.context.fail(node, "comparisons do not chain", "write `a < b and b < c`")
        relation = COMPARE.get(type(node.ops[0]))
        left, right = self.value(node.left), self.value(node.comparators[0])
        if isinstance(left, CompileTime) and isinstance(right, CompileTime):
            return CompileTime(self._calculated(node, PYTHON[type(node.ops[0])], left.value, right.value))
        if relation is None:
            self.context.fail(node, "`in` is not in the language", "compare with each value in turn")
        first, second = self._operands(node, (node.left, left), (node.comparators[0], right))
        kind = first.type
        if isinstance(kind, VecType):
            return ir.Compare(VecType(bool, kind.lanes), self.context.span(node), relation, first, second)
        if not isinstance(kind, (ScalarType, EnumType, BoolType)):
            self.context.fail(node, f"{kind} cannot be compared", "compare its parts")
        if isinstance(kind, ScalarType) and isinstance(node.ops[0], (ast.Is, ast.IsNot)):
            self.context.fail(
                node, "`is` asks for identity, which numbers do not have", "write `==` or `!=`"
            )
        return ir.Compare(BOOL, self.context.span(node), relation, first, second)

    def _logical(self, node: ast.BoolOp) -> Value:
        is_and = isinstance(node.op, ast.And)
        made: ir.Expression | None = None
        for item in node.values:
            part = self.condition(item)
            if isinstance(part, bool):
                if part != is_and:
                    decided = ir.Constant(BOOL, self.context.span(item), part)
                    if made is None:
                        return CompileTime(part)
                    return ir.Logical(
                        BOOL, self.context.span(node), "and" if is_and else "or", made, decided
                    )
                continue
            made = (
                part
                if made is None
                else ir.Logical(BOOL, self.context.span(node), "and" if is_and else "or", made, part)
            )
        return made if made is not None else CompileTime(is_and)

    def _conditional(self, node: ast.IfExp, expected: Type | None) -> Value:
        condition = self.condition(node.test)
        if isinstance(condition, bool):
            return self.value(node.body if condition else node.orelse, expected)
        yes, no = self.value(node.body, expected), self.value(node.orelse, expected)
        if isinstance(yes, CompileTime) and isinstance(no, CompileTime) and expected is not None:
            first = self.literal(yes.value, node.body, expected)
            second = self.literal(no.value, node.orelse, expected)
        elif isinstance(yes, CompileTime) and isinstance(no, CompileTime) and isinstance(yes.value, str):
            first = self.literal(yes.value, node.body, TEXT)
            second = self.literal(no.value, node.orelse, TEXT)
        else:
            first, second = self._operands(node, (node.body, yes), (node.orelse, no))
        return ir.Conditional(first.type, self.context.span(node), condition, first, second)


def _count_of(kind: ArrayRefType | SliceType) -> int:
    """Return the number of elements, as far as it is known while compiling."""
    return kind.count if isinstance(kind, ArrayRefType) else 1 << 64
