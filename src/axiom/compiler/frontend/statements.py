"""Lowering of statements: assignments, control flow, and the definite initialisation of locals."""

import ast
import itertools
from collections.abc import Callable
from typing import Any

from axiom.compiler import ir
from axiom.compiler.diagnostics import CompileError, Diagnostic, Poisoned
from axiom.compiler.frontend.calls import lower_call, resolve_annotation
from axiom.compiler.frontend.context import BoundMethod, CompileTime, CompileTimeLocal, Context, Loop, Value
from axiom.compiler.frontend.expressions import BINARY, Expressions
from axiom.compiler.frontend.matching import check_exhaustive, is_one_of, named_values
from axiom.compiler.frontend.refusals import operator_refusal, statement_refusal
from axiom.compiler.frontend.text import lower_write_to
from axiom.compiler.types import (
    U64,
    VOID,
    ArrayRefType,
    BoolType,
    EnumType,
    ScalarType,
    StructType,
    Type,
    UnsupportedType,
    fits,
    of_annotation,
    pattern_name,
)
from axiom.lang.control import static, unsafe, urange
from axiom.lang.scalars import Integer
from axiom.lang.text import write_to

UNROLL_LIMIT = 1 << 16
Branch = Callable[[], tuple[list[ir.Statement], bool]]


class Statements:
    """Lowers the body of one function."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.expressions = Expressions(context, lower_call)

    def body(self, nodes: list[ast.stmt]) -> tuple[list[ir.Statement], bool]:
        """Lower statements in order; also tell whether the end is never reached."""
        made: list[ir.Statement] = []
        for node in nodes:
            try:
                ended = self._statement(node, made)
            except Diagnostic as diagnostic:
                self.context.builder.report(diagnostic)
                self._poison(node)
                continue
            except Poisoned:
                self._poison(node)
                continue
            except CompileError:
                raise
            except UnsupportedType as error:
                self.context.builder.report(Diagnostic(self.context.span(node), str(error)))
                self._poison(node)
                continue
            except Exception as error:
                # Whatever the program is, its author sees a place and a sentence; the cause stays attached.
                text = f"the compiler cannot go on here: {type(error).__name__}: {error}"
                found = Diagnostic(self.context.span(node), text, "this is a defect of the compiler")
                found.__cause__ = error
                self.context.builder.report(found)
                self._poison(node)
                continue
            if ended:
                return made, True
        return made, False

    def _poison(self, node: ast.stmt) -> None:
        for name in ast.walk(node):
            if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store):
                self.context.poisoned.add(name.id)
            elif isinstance(name, (ast.FunctionDef, ast.ClassDef)):
                self.context.poisoned.add(name.name)

    def _statement(self, node: ast.stmt, made: list[ir.Statement]) -> bool:
        context = self.context
        match node:
            case ast.Pass():
                return False
            case ast.Expr():
                return self._expression(node, made)
            case ast.Assign():
                if len(node.targets) != 1:
                    context.fail(node, "assign to one target at a time", "write one statement for each")
                self._assign(node, node.targets[0], node.value, None, made)
                return False
            case ast.AnnAssign():
                if node.value is None:
                    context.fail(node, "a variable needs a value")
                self._annotated(node, node.value, made)
                return False
            case ast.AugAssign():
                self._augmented(node, made)
                return False
            case ast.If():
                return self._if(node, made)
            case ast.While():
                return self._while(node, made)
            case ast.For():
                return self._for(node, made)
            case ast.Return():
                self._return(node, made)
                return True
            case ast.Break() | ast.Continue():
                self._leave(node, made)
                return True
            case ast.Assert():
                self._assert(node, made)
                return False
            case ast.With():
                return self._with(node, made)
            case ast.Match():
                return self._match(node, made)
            case _:
                context.fail(node, *statement_refusal(node))

    def _annotated(self, node: ast.AnnAssign, source: ast.expr, made: list[ir.Statement]) -> None:
        context = self.context
        written = ast.unparse(node.annotation)
        pattern = of_annotation(resolve_annotation(written, context.scope, context.span(node.annotation)))
        if pattern is None and isinstance(node.target, ast.Name):
            self._bind_compile_time(node.target, self.expressions.compile_time(source))
            return
        self._assign(node, node.target, source, pattern if isinstance(pattern, Type) else None, made)
        last = made[-1] if made else None
        value = last.value if isinstance(last, (ir.Assign, ir.Store)) else None
        if pattern is None or value is None or not fits(pattern, value.type):
            found = "a compile-time value" if value is None else str(value.type)
            wanted = pattern_name(pattern) if pattern is not None else written
            context.fail(source, f"expected {wanted}, found {found}")

    def _expression(self, node: ast.Expr, made: list[ir.Statement]) -> bool:
        if isinstance(node.value, ast.Constant):
            return False
        if isinstance(node.value, ast.Call):
            callee = self.expressions.value(node.value.func)
            if isinstance(callee, CompileTime) and callee.value is write_to:
                made.extend(lower_write_to(self.expressions, node.value))
                return False
        value = self.expressions.value(node.value)
        if isinstance(value, CompileTime):
            return False
        if isinstance(value, BoundMethod):
            self.context.fail(node, f"the method `{value.name}` is not called", "write `()` after it")
        made.append(ir.Evaluate(self.context.span(node), value))
        return isinstance(value, ir.Primitive) and value.name == "panic"

    def _assign(
        self,
        node: ast.stmt,
        target: ast.expr,
        source: ast.expr,
        annotated: Type | None,
        made: list[ir.Statement],
    ) -> None:
        span = self.context.span(node)
        if isinstance(target, (ast.Tuple, ast.List)):
            self.context.fail(
                target, "assign to one target at a time", "there are no tuples at run time: use a struct"
            )
        if isinstance(target, ast.Name):
            known = annotated or self.context.instance.locals.get(target.id)
            value = self.expressions.value(source, known)
            flag = isinstance(source, ast.Constant) and isinstance(source.value, bool)
            if isinstance(value, CompileTime) and known is None and not flag:
                self._bind_compile_time(target, value.value)
                return
            made.append(self._set_local(node, target.id, self._coerce(source, value, known)))
            return
        place = self._place(target)
        value = self.expressions.typed(source, place.type)
        if isinstance(value.type, StructType) and value.type.layout.volatile:
            self.context.fail(node, f"the registers {value.type} cannot be copied", "assign their fields")
        made.append(ir.Store(span, place, value))

    def _coerce(self, node: ast.expr, value: Value, kind: Type | None) -> ir.Expression:
        if isinstance(value, BoundMethod):
            self.context.fail(node, f"the method `{value.name}` is not called")
        if isinstance(value, CompileTime):
            return self.expressions.literal(value.value, node, kind)
        if kind is not None and value.type != kind:
            self.context.fail(node, f"expected {kind}, found {value.type}")
        if value.type == VOID:
            self.context.fail(node, "this has no value")
        return value

    def _bind_compile_time(self, target: ast.Name, value: Any) -> None:
        context = self.context
        old = context.static.get(target.id)
        if target.id in context.assigned:
            context.fail(
                target, f"`{target.id}` holds a run-time value and cannot become a compile-time one"
            )
        if old is not None and old.region != context.region and context.encloses(old.region):
            context.fail(
                target,
                f"`{target.id}` is a compile-time constant and cannot change at run time",
                "start it with a typed value, for example `u64(0)`",
            )
        context.static[target.id] = CompileTimeLocal(value, context.region)

    def _set_local(self, node: ast.stmt, name: str, value: ir.Expression) -> ir.Statement:
        context = self.context
        if name in context.static:
            context.fail(
                node,
                f"`{name}` is a compile-time constant and cannot hold a run-time value",
                "start it with a typed value, for example `u64(0)`",
            )
        known = context.instance.locals.setdefault(name, value.type)
        if known != value.type:
            context.fail(node, f"`{name}` is {known} and cannot become {value.type}")
        if isinstance(known, (StructType, ArrayRefType)):
            site = context.aggregate_sites.setdefault(name, node.lineno)
            if site != node.lineno:
                context.fail(
                    node,
                    f"`{name}` names a {known} and cannot name another one",
                    "use a new name, or assign its fields",
                )
        context.assigned.add(name)
        return ir.Assign(context.span(node), name, value)

    def _place(self, target: ast.expr) -> ir.Field | ir.Element:
        if isinstance(target, ast.Subscript):
            return self.expressions.element(target, self.expressions.value(target.value))
        place = self.expressions.value(target)
        if isinstance(place, (ir.Field, ir.Element)):
            return place
        self.context.fail(target, f"cannot assign to `{ast.unparse(target)}`")

    def _augmented(self, node: ast.AugAssign, made: list[ir.Statement]) -> None:
        if type(node.op) not in BINARY:
            self.context.fail(node, *operator_refusal(type(node.op)))
        span = self.context.span(node)
        if isinstance(node.target, ast.Name):
            read = ast.copy_location(ast.Name(node.target.id, ast.Load()), node.target)
            old = self.expressions.value(read)
            result = self._combine(node, read, old)
            if isinstance(result, CompileTime):
                self._bind_compile_time(node.target, result.value)
            else:
                assert isinstance(result, ir.Expression)
                made.append(self._set_local(node, node.target.id, result))
            return
        place = self._evaluated_once(node, self._place(node.target), made)
        result = self._combine(node, node.target, place)
        assert isinstance(result, ir.Expression)
        made.append(ir.Store(span, place, result))

    def _evaluated_once(
        self, node: ast.AugAssign, place: ir.Field | ir.Element, made: list[ir.Statement]
    ) -> ir.Field | ir.Element:
        """Keep what leads to a place that is read and then written: it is evaluated before both."""
        place.base = self._kept(node, place.base, made)
        if isinstance(place, ir.Element):
            place.index = self._kept(node, place.index, made)
        return place

    def _kept(self, node: ast.AugAssign, value: ir.Expression, made: list[ir.Statement]) -> ir.Expression:
        if isinstance(value, (ir.Constant, ir.ReadLocal, ir.StaticPlace)):
            return value
        if isinstance(value, (ir.Field, ir.Element)) and isinstance(value.type, (StructType, ArrayRefType)):
            # A place inside of a place: only what leads to it can have effects.
            value.base = self._kept(node, value.base, made)
            if isinstance(value, ir.Element):
                value.index = self._kept(node, value.index, made)
            return value
        name = self.context.hidden("kept")
        made.append(self._set_local(node, name, value))
        return ir.ReadLocal(value.type, value.span, name)

    def _combine(self, node: ast.AugAssign, at: ast.expr, old: Value) -> Value:
        expected = old.type if isinstance(old, ir.Expression) else None
        right = self.expressions.value(node.value, expected)
        return self.expressions.binary(node, type(node.op), (at, old), (node.value, right))

    def _if(self, node: ast.If, made: list[ir.Statement]) -> bool:
        condition = self.expressions.condition(node.test)
        if isinstance(condition, bool):
            chosen, ended = self.body(node.body if condition else node.orelse)
            made.extend(chosen)
            return ended
        yes, no, ended = self._branches(lambda: self.body(node.body), lambda: self.body(node.orelse))
        made.append(ir.If(self.context.span(node.test), condition, yes, no))
        return ended

    def _branches(
        self, first: Branch, second: Branch
    ) -> tuple[list[ir.Statement], list[ir.Statement], bool]:
        """Lower what one of two ways does, each from the same state; also tell whether both end."""
        context = self.context
        before = set(context.assigned)
        outer = context.enter_region()
        yes, yes_ended = first()
        after_yes = context.assigned
        context.assigned = set(before)
        context.region = outer
        context.enter_region()
        no, no_ended = second()
        context.region = outer
        if yes_ended and not no_ended:
            return yes, no, False
        context.assigned = after_yes if no_ended and not yes_ended else after_yes & context.assigned
        return yes, no, yes_ended and no_ended

    def _while(self, node: ast.While, made: list[ir.Statement]) -> bool:
        context = self.context
        if node.orelse:
            context.fail(node, "loops have no `else` in the language")
        condition = self.expressions.condition(node.test)
        if condition is False:
            return False
        before = set(context.assigned)
        body, loop = self._loop_body(node.body)
        forever = condition is True
        made.append(
            ir.While(context.span(node.test), None if isinstance(condition, bool) else condition, body)
        )
        if not forever:
            context.assigned = before
            return False
        if not loop.break_assigned:
            return True
        context.assigned = set[str].intersection(*loop.break_assigned)
        return False

    def _loop_body(self, nodes: list[ast.stmt]) -> tuple[list[ir.Statement], Loop]:
        context = self.context
        loop = Loop(unrolled=False)
        context.loops.append(loop)
        outer = context.enter_region()
        body, _ = self.body(nodes)
        context.region = outer
        context.loops.pop()
        return body, loop

    def _for(self, node: ast.For, made: list[ir.Statement]) -> bool:
        context = self.context
        if node.orelse:
            context.fail(node, "loops have no `else` in the language")
        if not isinstance(node.iter, ast.Call):
            hint = "count: `for i in urange(s.length)`, and index"
            context.fail(node.iter, "loop over `urange(...)`, or over `static(...)` to unroll", hint)
        callee = self.expressions.value(node.iter.func)
        kind = callee.value if isinstance(callee, CompileTime) else None
        if kind is static:
            return self._unrolled(node, node.iter, made)
        if kind is urange and isinstance(node.target, ast.Name):
            self._counted(node, node.iter, node.target, made)
            return False
        hint = "write `urange`" if kind is range else ""
        context.fail(node.iter, "loop over `urange(...)`, or over `static(...)` to unroll", hint)

    def _unrolled(self, node: ast.For, call: ast.Call, made: list[ir.Statement]) -> bool:
        context = self.context
        if len(call.args) != 1 or call.keywords:
            context.fail(call, "`static` takes the values to unroll over", "write `static(range(n))`")
        values = self._unrolled_values(call.args[0])
        if isinstance(node.target, ast.Name) and node.target.id in context.assigned:
            context.fail(node.target, f"`{node.target.id}` already holds a run-time value")
        context.loops.append(Loop(unrolled=True))
        ended = False
        for value in values:
            self._bind_target(node.target, value)
            part, ended = self.body(node.body)
            made.extend(part)
            if ended:
                break
        context.loops.pop()
        return ended

    def _unrolled_values(self, node: ast.expr) -> list[Any]:
        values = self.expressions.compile_time(node)
        try:
            made: list[Any] = list(itertools.islice(iter(values), UNROLL_LIMIT + 1))
        except Exception as error:
            self.context.fail(node, f"`static` cannot unroll this: {error}")
        if len(made) > UNROLL_LIMIT:
            self.context.fail(
                node, f"a loop is unrolled at most {UNROLL_LIMIT} times", "use `urange` for long loops"
            )
        return made

    def _bind_target(self, target: ast.expr, value: Any) -> None:
        if isinstance(target, ast.Name):
            self.context.static[target.id] = CompileTimeLocal(value, self.context.region)
            return
        if isinstance(target, ast.Tuple):
            try:
                parts = list(value)
            except TypeError:
                parts = []
            if len(parts) != len(target.elts):
                self.context.fail(target, f"{value!r} does not have {len(target.elts)} parts")
            for item, part in zip(target.elts, parts, strict=True):
                self._bind_target(item, part)
            return
        self.context.fail(target, "a loop variable is a name")

    def _counted(self, node: ast.For, call: ast.Call, target: ast.Name, made: list[ir.Statement]) -> None:
        context, expressions = self.context, self.expressions
        arguments = list(call.args)
        step = expressions.compile_time(arguments[2]) if len(arguments) == 3 else 1
        if isinstance(step, Integer):
            step = step.value
        if not isinstance(step, int) or step < 1 or not 1 <= len(arguments) <= 3:
            context.fail(
                call, "write urange(stop), urange(start, stop) or urange(start, stop, step) with step >= 1"
            )
        rolled = False
        for keyword in call.keywords:
            if keyword.arg != "rolled":
                context.fail(keyword, "urange takes no keyword but `rolled`")
            rolled = expressions.compile_time(keyword.value)
            if not isinstance(rolled, bool):
                context.fail(keyword.value, "`rolled` is True or False")
        bounds = [expressions.value(a) for a in arguments[:2]]
        kind = next((b.type for b in bounds if isinstance(b, ir.Expression)), U64)
        if not isinstance(kind, ScalarType) or not kind.is_integer:
            context.fail(call, f"urange counts integers, not {kind}")
        if step > kind.integer.maximum:
            context.fail(arguments[2], f"the step {step} does not fit {kind}")
        typed = [expressions.typed(a, kind) for a in arguments[:2]]
        start = typed[0] if len(typed) == 2 else ir.Constant(kind, context.span(call), 0)
        known = context.instance.locals.setdefault(target.id, kind)
        if known != kind or target.id in context.static:
            context.fail(target, f"`{target.id}` already has another type")
        before = set(context.assigned)
        context.assigned.add(target.id)
        body, _ = self._loop_body(node.body)
        context.assigned = before
        made.append(ir.CountLoop(context.span(node), target.id, start, typed[-1], step, body, rolled))

    def _leave(self, node: ast.Break | ast.Continue, made: list[ir.Statement]) -> None:
        context = self.context
        if not context.loops:
            context.fail(node, "this stands outside of a loop")
        if context.loops[-1].unrolled:
            context.fail(node, "an unrolled loop cannot be left early", "use `urange`")
        if isinstance(node, ast.Break):
            context.loops[-1].break_assigned.append(set(context.assigned))
            made.append(ir.Break(context.span(node)))
        else:
            made.append(ir.Continue(context.span(node)))

    def _return(self, node: ast.Return, made: list[ir.Statement]) -> None:
        context, instance = self.context, self.context.instance
        pattern = context.result_pattern
        span = context.span(node)
        if node.value is None or (isinstance(node.value, ast.Constant) and node.value.value is None):
            if pattern != VOID:
                context.fail(node, f"this function returns {pattern_name(pattern)}")
            made.append(ir.Return(span, None))
            return
        if pattern == VOID:
            context.fail(node, "this function is declared to return None")
        expected = (
            pattern if isinstance(pattern, Type) else None if instance.result == VOID else instance.result
        )
        value = self.expressions.typed(node.value, expected)
        if not fits(pattern, value.type):
            context.fail(node.value, f"expected {pattern_name(pattern)}, found {value.type}")
        if isinstance(value.type, StructType) and value.type.layout.volatile:
            context.fail(
                node.value,
                f"the registers {value.type} cannot be returned: that would copy them",
                "return what leads to them, or pass them down as a parameter",
            )
        instance.result = value.type
        made.append(ir.Return(span, value))

    def _assert(self, node: ast.Assert, made: list[ir.Statement]) -> None:
        condition = self.expressions.condition(node.test)
        text = self.expressions.compile_time(node.msg) if node.msg is not None else ""
        if condition is True:
            return
        if condition is False:
            self.context.fail(node, f"this assertion never holds: {text}")
        made.append(ir.Assert(self.context.span(node), condition, str(text).encode()))

    def _with(self, node: ast.With, made: list[ir.Statement]) -> bool:
        context = self.context
        manager = self.expressions.value(node.items[0].context_expr)
        if len(node.items) != 1 or not isinstance(manager, CompileTime) or manager.value is not unsafe:
            context.fail(node.items[0].context_expr, "`with` is only for `with unsafe:`")
        if not context.source.comment_above(node).startswith("SAFETY: "):
            context.fail(
                node.items[0].context_expr,
                "unsafe code without a reason",
                "write a comment `# SAFETY: ...` above that says why it is right",
            )
        context.unsafe_depth += 1
        context.instance.unsafe_blocks += 1
        body, ended = self.body(node.body)
        context.unsafe_depth -= 1
        made.extend(body)
        return ended

    def _match(self, node: ast.Match, made: list[ir.Statement]) -> bool:
        context = self.context
        subject = self.expressions.value(node.subject)
        if isinstance(subject, CompileTime):
            return self._match_compile_time(node, subject.value, made)
        if (
            isinstance(subject, BoundMethod)
            or not isinstance(subject.type, (ScalarType, EnumType, BoolType))
            or (isinstance(subject.type, ScalarType) and subject.type.is_float)
        ):
            context.fail(node.subject, "match is for integers, bools and enums")
        name = context.hidden("match")
        made.append(self._set_local(node, name, subject))
        read = ir.ReadLocal(subject.type, subject.span, name)
        check_exhaustive(self.expressions, node, subject.type)
        statements, ended = self._match_cases(node.cases, read)
        made.extend(statements)
        return ended

    def _match_compile_time(self, node: ast.Match, value: Any, made: list[ir.Statement]) -> bool:
        for case in node.cases:
            named = named_values(self.context, case.pattern)
            if named is None or value in [self.expressions.compile_time(item) for item in named]:
                body, ended = self.body(case.body)
                made.extend(body)
                return ended
        return False

    def _match_cases(
        self, cases: list[ast.match_case], subject: ir.ReadLocal
    ) -> tuple[list[ir.Statement], bool]:
        """Lower the first case and, as its other branch, the rest."""
        context = self.context
        if not cases:
            if isinstance(subject.type, EnumType):
                span = subject.span
                unreachable = ir.Primitive(VOID, span, "panic", [], (b"no such member of the enum",))
                return [ir.Evaluate(span, unreachable)], True
            return [], False
        case = cases[0]
        if case.guard is not None:
            context.fail(case.guard, "cases have no guards in the language")
        named = named_values(context, case.pattern)
        if named is None:
            return self.body(case.body)
        condition = is_one_of(self.expressions, named, subject)
        yes, no, ended = self._branches(
            lambda: self.body(case.body), lambda: self._match_cases(cases[1:], subject)
        )
        return [ir.If(condition.span, condition, yes, no)], ended
