"""Lowering of calls: functions of the language, methods, conversions, constructors, primitives.

Anything else that is called must be an ordinary Python function of compile-time values; it runs
while compiling.
"""

import ast
import enum
from typing import Any

from axiom.compiler import ir
from axiom.compiler.diagnostics import Diagnostic, Poisoned, Span, source_of
from axiom.compiler.frontend import vector_primitives
from axiom.compiler.frontend.context import BoundMethod, CompileTime, Value
from axiom.compiler.frontend.expressions import Expressions
from axiom.compiler.frontend.primitives import PRIMITIVES, lower_part
from axiom.compiler.frontend.refusals import ACTIONS, CALLS, expression_refusal
from axiom.compiler.types import (
    ArrayRefType,
    BoolType,
    EnumType,
    Pattern,
    ScalarType,
    StructType,
    Type,
    UnsupportedType,
    VecType,
    fits,
    of_annotation,
    of_element,
    pattern_name,
)
from axiom.lang import memory, structs
from axiom.lang.functions import Function
from axiom.lang.layout import is_scalar_type, size_of, struct_layout
from axiom.lang.primitive import INTRINSIC_MARK, PRIMITIVE_MARK, LlvmIntrinsic
from axiom.lang.scalars import Integer

MAX_ARRAY_BYTES = 1 << 20

# How LLVM names the instructions of one architecture.
INTRINSICS_OF = {"x86_64": "llvm.x86.", "aarch64": "llvm.aarch64."}

assert vector_primitives.MAX_LANES, "importing `vector_primitives` registers its primitives"


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
        cls = expressions.compile_time(_single(expressions, node))
        if struct_layout(cls) is None:
            context.fail(node.args[0], "this must be a @struct class")
        return _refuse_registers(expressions, node, ir.NewStruct(StructType(cls), context.span(node), {}))
    if target is memory.array:
        return _new_array(expressions, node)
    return _run_while_compiling(expressions, node, target)


def _refuse_registers(expressions: Expressions, node: ast.Call, made: ir.NewStruct) -> ir.NewStruct:
    if isinstance(made.type, StructType) and made.type.layout.volatile:
        expressions.context.fail(
            node,
            f"registers such as {made.type} are not made but found",
            "write `struct_at` or `struct_in`",
        )
    return made


def _new_array(expressions: Expressions, node: ast.Call) -> Value:
    context = expressions.context
    if len(node.args) != 2 or node.keywords:
        context.fail(node, "an array is made as `array(element, count)`")
    element, count = (expressions.compile_time(argument) for argument in node.args)
    count = count.value if isinstance(count, Integer) else count
    of_element(element)
    if type(count) is not int or not 0 < count * size_of(element) <= MAX_ARRAY_BYTES:
        context.fail(node.args[1], f"an array has 1 element or more, and {MAX_ARRAY_BYTES} bytes at most")
    return ir.NewArray(ArrayRefType(element, count), context.span(node))


def _run_while_compiling(expressions: Expressions, node: ast.Call, target: Any) -> Value:
    if not callable(target):
        expressions.context.fail(node, f"`{ast.unparse(node.func)}` cannot be called")
    if any(target is action for action in ACTIONS):
        name = ast.unparse(node.func)
        expressions.context.fail(node, f"`{name}` is not in the language", CALLS.get(name, ""))
    values = [expressions.value(argument) for argument in node.args]
    keywords = {k.arg: expressions.value(k.value) for k in node.keywords if k.arg is not None}
    if not all(isinstance(v, CompileTime) for v in (*values, *keywords.values())):
        expressions.context.fail(
            node,
            f"`{ast.unparse(node.func)}` is an ordinary Python function and its arguments are not known "
            "while compiling",
            CALLS.get(ast.unparse(node.func), "decorate it with @fn"),
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
            annotation = resolve_annotation(annotations[name], scope, function)
            try:
                made.append((name, of_annotation(annotation)))
            except UnsupportedType as error:
                raise Diagnostic(_parameter_span(function, name), str(error)) from None
        elif function.owner is not None:
            made.append((name, StructType(function.owner)))
        else:
            made.append((name, None))
    return made


def _parameter_span(function: Function, name: str) -> Span:
    source = source_of(function.python)
    found = next((a for a in source.tree.args.args if a.arg == name), None)
    return source.span(found) if found is not None else source.header()


def resolve_annotation(annotation: Any, scope: dict[str, Any], at: Function | Span) -> Any:
    """Evaluate an annotation that was written as a string. Raises Diagnostic."""
    if not isinstance(annotation, str):
        return annotation
    try:
        return eval(annotation, dict(scope))
    except Exception as error:
        span = at if isinstance(at, Span) else source_of(at.python).header()
        raise Diagnostic(span, f"the type `{annotation}` cannot be found: {error}") from None


def call_function(
    expressions: Expressions, node: ast.Call, function: Function, before: list[ir.Expression]
) -> Value:
    """Lower a call of a function of the language, specialising it."""
    context = expressions.context
    if node.keywords:
        context.fail(node, "functions of the language are called by position")
    for argument in node.args:
        if isinstance(argument, ast.Starred):
            context.fail(argument, *expression_refusal(argument))
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
    if instance.result_unknown:
        raise Poisoned
    context.instance.callees.append(instance)
    return ir.Call(instance.result, context.span(node), instance, runtime)


def _intrinsic(expressions: Expressions, node: ast.Call, target: Any, intrinsic: LlvmIntrinsic) -> Value:
    context = expressions.context
    _check_architecture(expressions, node, target.__name__, intrinsic.name)
    annotations: dict[str, Any] = target.__annotations__
    names = [name for name in annotations if name != "return"]
    if len(names) != len(node.args):
        context.fail(node, f"`{target.__name__}` takes {len(names)} arguments, {len(node.args)} given")
    arguments: list[ir.Expression] = []
    for name, argument in zip(names, node.args, strict=True):
        pattern = of_annotation(annotations[name])
        if pattern is None:
            context.fail(argument, f"the parameter `{name}` of an intrinsic has no run-time type")
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


def _check_architecture(expressions: Expressions, node: ast.Call, function: str, symbol: str) -> None:
    """Refuse an instruction of another architecture; LLVM would end the whole process."""
    architecture = expressions.context.target.architecture
    for other, prefix in INTRINSICS_OF.items():
        if other != architecture and symbol.startswith(prefix):
            expressions.context.fail(
                node,
                f"`{function}` is an instruction of {other}, and this is compiled for {architecture}",
                "choose by `current_target().architecture`",
            )


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
        try:
            return CompileTime(kind.members(value.value))
        except ValueError:
            expressions.context.fail(argument, f"{value.value!r} is not a member of {kind}")
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
    _refuse_registers(expressions, node, ir.NewStruct(StructType(cls), context.span(node), values))
    for keyword in node.keywords:
        found = layout.fields.get(keyword.arg or "")
        if found is None:
            known = f"it has {', '.join(layout.fields)}"
            context.fail(keyword, f"`{cls.__name__}` has no field `{keyword.arg}`", known)
        values[found.name] = expressions.typed(keyword.value, of_element(found.type))
    return ir.NewStruct(StructType(cls), context.span(node), values)
