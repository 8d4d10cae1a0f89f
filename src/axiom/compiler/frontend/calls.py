"""Lowering of calls: functions of the language, methods, conversions, constructors, primitives.

Anything else that is called must be an ordinary Python function of compile-time values; it runs
while compiling.
"""

import ast
import enum
from typing import Any

from axiom.compiler import ir
from axiom.compiler.frontend.context import BoundMethod, CompileTime, Value
from axiom.compiler.frontend.expressions import Expressions
from axiom.compiler.frontend.primitives import PRIMITIVES, lower_part
from axiom.compiler.types import (
    ArrayRefType,
    BoolType,
    EnumType,
    Pattern,
    ScalarType,
    StructType,
    Type,
    VecType,
    fits,
    of_annotation,
    of_element,
    pattern_name,
)
from axiom.lang import memory, structs
from axiom.lang.functions import Function
from axiom.lang.layout import is_scalar_type, struct_layout
from axiom.lang.primitive import INTRINSIC_MARK, PRIMITIVE_MARK, LlvmIntrinsic


def lower_call(expressions: Expressions, node: ast.Call, callee: Value) -> Value:
    """Lower a call whose callee is already lowered."""
    context = expressions.context
    if isinstance(callee, BoundMethod):
        if callee.function is None:
            return lower_part(expressions, node, callee.receiver)
        return call_function(expressions, node, callee.function, [callee.receiver])
    if not isinstance(callee, CompileTime):
        context.fail(node, f"{callee.type} cannot be called")
    target = callee.value
    if isinstance(target, Function):
        return call_function(expressions, node, target, [])
    mark = getattr(target, PRIMITIVE_MARK, None)
    if isinstance(mark, str):
        return PRIMITIVES[mark](expressions, node)
    intrinsic = getattr(target, INTRINSIC_MARK, None)
    if isinstance(intrinsic, LlvmIntrinsic):
        return _intrinsic(expressions, node, target, intrinsic)
    if is_scalar_type(target):
        return _convert(expressions, node, ScalarType(target))
    if isinstance(target, type) and issubclass(target, enum.IntEnum):
        return _to_enum(expressions, node, EnumType(target))
    if isinstance(target, type) and struct_layout(target) is not None:
        return _new_struct(expressions, node, target)
    if target is structs.zeroed:
        return ir.NewStruct(StructType(expressions.compile_time(node.args[0])), context.span(node), {})
    if target is memory.array:
        element, count = (expressions.compile_time(argument) for argument in node.args)
        return ir.NewArray(ArrayRefType(element, int(count)), context.span(node))
    return _run_while_compiling(expressions, node, target)


def _run_while_compiling(expressions: Expressions, node: ast.Call, target: Any) -> Value:
    if not callable(target):
        expressions.context.fail(node, f"`{ast.unparse(node.func)}` cannot be called")
    values = [expressions.value(argument) for argument in node.args]
    keywords = {k.arg: expressions.value(k.value) for k in node.keywords if k.arg is not None}
    if not all(isinstance(v, CompileTime) for v in (*values, *keywords.values())):
        expressions.context.fail(
            node,
            f"`{ast.unparse(node.func)}` is an ordinary Python function and its arguments are not known "
            "while compiling",
            "decorate it with @fn",
        )
    try:
        result = target(
            *(v.value for v in values if isinstance(v, CompileTime)),
            **{k: v.value for k, v in keywords.items() if isinstance(v, CompileTime)},
        )
    except Exception as error:
        expressions.context.fail(node, f"while compiling: {type(error).__name__}: {error}")
    return expressions.context.wrap(result, node, ast.unparse(node.func))


def parameter_patterns(function: Function, scope: dict[str, Any]) -> list[tuple[str, Pattern | None]]:
    """Return each parameter's name and what it accepts; None for a compile-time parameter."""
    code = function.python.__code__
    annotations = function.python.__annotations__
    made: list[tuple[str, Pattern | None]] = []
    for name in code.co_varnames[: code.co_argcount]:
        if name in annotations:
            made.append((name, of_annotation(resolve_annotation(annotations[name], scope))))
        elif function.owner is not None:
            made.append((name, StructType(function.owner)))
        else:
            made.append((name, None))
    return made


def resolve_annotation(annotation: Any, scope: dict[str, Any]) -> Any:
    """Evaluate an annotation that was written as a string."""
    return eval(annotation, dict(scope)) if isinstance(annotation, str) else annotation


def call_function(
    expressions: Expressions, node: ast.Call, function: Function, before: list[ir.Expression]
) -> Value:
    """Lower a call of a function of the language, specialising it."""
    context = expressions.context
    if node.keywords:
        context.fail(node, "functions of the language are called by position")
    patterns = context.builder.patterns(function)
    if len(patterns) != len(before) + len(node.args):
        context.fail(
            node,
            f"`{function.__qualname__}` takes {len(patterns) - len(before)} arguments, "
            f"{len(node.args)} given",
        )
    runtime: list[ir.Expression] = list(before)
    types: dict[str, Type] = {name: value.type for (name, _), value in zip(patterns, before, strict=False)}
    static: dict[str, Any] = {}
    for (name, pattern), argument in zip(patterns[len(before) :], node.args, strict=True):
        if pattern is None:
            static[name] = expressions.compile_time(argument)
            continue
        expected = pattern if isinstance(pattern, Type) else None
        value = expressions.typed(
            argument, None if isinstance(expected, (StructType, ArrayRefType)) else expected
        )
        if not fits(pattern, value.type):
            context.fail(
                argument, f"the parameter `{name}` takes {pattern_name(pattern)}, found {value.type}"
            )
        types[name] = value.type
        runtime.append(value)
    instance = context.builder.instance(function, types, static, context.target, context.span(node))
    context.instance.callees.append(instance)
    return ir.Call(instance.result, context.span(node), instance, runtime)


def _intrinsic(expressions: Expressions, node: ast.Call, target: Any, intrinsic: LlvmIntrinsic) -> Value:
    context = expressions.context
    annotations: dict[str, Any] = target.__annotations__
    names = [name for name in annotations if name != "return"]
    if len(names) != len(node.args):
        context.fail(node, f"`{target.__name__}` takes {len(names)} arguments, {len(node.args)} given")
    arguments: list[ir.Expression] = []
    for name, argument in zip(names, node.args, strict=True):
        pattern = of_annotation(annotations[name])
        assert pattern is not None
        value = expressions.typed(argument, pattern if isinstance(pattern, Type) else None)
        if not fits(pattern, value.type):
            context.fail(argument, f"`{name}` takes {pattern_name(pattern)}, found {value.type}")
        arguments.append(value)
    pattern = of_annotation(annotations.get("return"))
    if isinstance(pattern, Type):
        result: Type = pattern
    else:
        first = arguments[0].type
        lanes = intrinsic.lanes or (first.lanes if isinstance(first, VecType) else 1)
        result = VecType(getattr(pattern, "element", None), lanes)
    return ir.Intrinsic(result, context.span(node), intrinsic.name, arguments)


def _single(expressions: Expressions, node: ast.Call) -> ast.expr:
    if len(node.args) != 1 or node.keywords:
        expressions.context.fail(node, f"`{ast.unparse(node.func)}` takes one argument")
    return node.args[0]


def _convert(expressions: Expressions, node: ast.Call, kind: ScalarType) -> Value:
    argument = _single(expressions, node)
    value = expressions.value(argument)
    context = expressions.context
    if isinstance(value, CompileTime):
        number = value.value
        if isinstance(number, float) and kind.is_integer:
            context.fail(node, f"the constant {number} is not an integer")
        if isinstance(number, (bool, enum.IntEnum)):
            number = int(number)
        return expressions.literal(number, argument, kind)
    if isinstance(value, BoundMethod) or not isinstance(value.type, (ScalarType, BoolType, EnumType)):
        context.fail(argument, f"only a number converts to {kind}")
    if value.type == kind:
        return value
    return ir.ConvertScalar(kind, context.span(node), value)


def _to_enum(expressions: Expressions, node: ast.Call, kind: EnumType) -> Value:
    argument = _single(expressions, node)
    value = expressions.value(argument)
    if isinstance(value, CompileTime):
        return CompileTime(kind.members(value.value))
    if (
        isinstance(value, BoundMethod)
        or not isinstance(value.type, ScalarType)
        or not value.type.is_integer
    ):
        expressions.context.fail(argument, f"only an integer converts to {kind}")
    return ir.ConvertScalar(kind, expressions.context.span(node), value)


def _new_struct(expressions: Expressions, node: ast.Call, cls: Any) -> Value:
    context = expressions.context
    layout = struct_layout(cls)
    assert layout is not None
    if node.args:
        context.fail(node, f"`{cls.__name__}` is made with keywords: `{cls.__name__}(field=value)`")
    values: dict[str, ir.Expression] = {}
    for keyword in node.keywords:
        found = layout.fields.get(keyword.arg or "")
        if found is None:
            context.fail(keyword.value, f"`{cls.__name__}` has no field `{keyword.arg}`")
        values[found.name] = expressions.typed(keyword.value, of_element(found.type))
    return ir.NewStruct(StructType(cls), context.span(node), values)
