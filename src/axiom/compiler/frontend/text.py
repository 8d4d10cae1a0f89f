"""Lowering of `write_to(sink, f"...")`: one method call per piece of the f-string."""

import ast

from axiom.compiler import ir
from axiom.compiler.frontend.calls import call_function
from axiom.compiler.frontend.context import CompileTime
from axiom.compiler.frontend.expressions import Expressions
from axiom.compiler.types import TEXT, U64, BoolType, EnumType, ScalarType, StructType, TextType
from axiom.lang.functions import Function
from axiom.lang.scalars import i64


def lower_write_to(e: Expressions, node: ast.Call) -> list[ir.Statement]:
    """Return the calls that write the message's pieces to the sink."""
    context = e.context
    if len(node.args) != 2:
        context.fail(node, "`write_to` takes a sink and a message")
    sink = e.typed(node.args[0])
    if not isinstance(sink.type, StructType):
        context.fail(node.args[0], "a sink is a struct")
    message = node.args[1]
    pieces = message.values if isinstance(message, ast.JoinedStr) else [message]
    made: list[ir.Statement] = []
    for piece in pieces:
        if not isinstance(piece, ast.FormattedValue):
            made.append(_send(e, node, sink, "text", e.typed(piece, TEXT)))
            continue
        spec = ast.unparse(piece.format_spec)[2:-1] if piece.format_spec is not None else ""
        value = e.value(piece.value)
        if isinstance(value, CompileTime):
            text = ir.Text(TEXT, context.span(piece), format(value.value, spec).encode())
            made.append(_send(e, node, sink, "text", text))
            continue
        typed = e.typed(piece.value)
        if isinstance(typed.type, TextType) and not spec:
            made.append(_send(e, node, sink, "text", typed))
        elif spec in ("x", "#x"):
            if spec == "#x":
                made.append(_send(e, node, sink, "text", ir.Text(TEXT, typed.span, b"0x")))
            made.append(_send(e, node, sink, "hexadecimal", _widen(e, piece, typed, U64)))
        elif spec:
            context.fail(piece, f"the format `{spec}` is not in the language", "use none, `x` or `#x`")
        elif isinstance(typed.type, ScalarType) and typed.type.is_integer and typed.type.integer.signed:
            made.append(_send(e, node, sink, "signed", _widen(e, piece, typed, ScalarType(i64))))
        else:
            made.append(_send(e, node, sink, "unsigned", _widen(e, piece, typed, U64)))
    return made


def _widen(
    e: Expressions, node: ast.FormattedValue, value: ir.Expression, kind: ScalarType
) -> ir.Expression:
    if value.type == kind:
        return value
    whole = isinstance(value.type, ScalarType) and value.type.is_integer
    if not whole and not isinstance(value.type, (EnumType, BoolType)):
        e.context.fail(node, f"{value.type} cannot be written as text")
    return ir.ConvertScalar(kind, value.span, value)


def _send(
    e: Expressions, node: ast.Call, sink: ir.Expression, method: str, argument: ir.Expression
) -> ir.Statement:
    assert isinstance(sink.type, StructType)
    function = getattr(sink.type.cls, method, None)
    if not isinstance(function, Function):
        e.context.fail(node.args[0], f"the sink {sink.type} has no method `{method}`")
    bare = ast.copy_location(ast.Call(node.func, [], []), node)
    call = call_function(e, bare, function, [sink, argument])
    assert isinstance(call, ir.Expression)
    return ir.Evaluate(argument.span, call)
