"""Specialisation: one instance per function, argument types, compile-time values and target.

Instances are lowered depth first, callees before callers; the language has no recursion, so a call
of an instance that is still being lowered is an error here.
"""

import hashlib
import sys
from typing import Any

from axiom.compiler import ir
from axiom.compiler.diagnostics import CompileError, Diagnostic, Poisoned, Span, source_of
from axiom.compiler.frontend.calls import parameter_patterns, resolve_annotation
from axiom.compiler.frontend.context import Context, function_scope
from axiom.compiler.frontend.statements import Statements
from axiom.compiler.types import VOID, Pattern, StructType, Type, UnsupportedType, of_annotation, type_text
from axiom.lang.functions import Function
from axiom.lang.targets import BASELINE, Target, without_vectors

LOWERING_DEPTH = 20_000
Key = tuple[int, tuple[tuple[str, Type], ...], tuple[tuple[str, Any], ...], Target]


class ProgramBuilder:
    """Collects the instances that a set of roots needs."""

    def __init__(self) -> None:
        self._instances: dict[Key, ir.Instance] = {}
        self._finished: list[ir.Instance] = []
        self._active: list[ir.Instance] = []
        self._symbols: set[str] = set()
        self._diagnostics: list[Diagnostic] = []
        self._patterns: dict[Function, list[tuple[str, Pattern | None]]] = {}

    def report(self, diagnostic: Diagnostic) -> None:
        """Keep a diagnostic and go on."""
        self._diagnostics.append(diagnostic)

    def patterns(self, function: Function) -> list[tuple[str, Pattern | None]]:
        """Return what each parameter of a function accepts."""
        if function not in self._patterns:
            _check_parameters(function)
            self._patterns[function] = parameter_patterns(function, function_scope(function))
        return self._patterns[function]

    def root(self, function: Function, target: Target = BASELINE) -> ir.Instance:
        """Lower a function whose parameters all have one run-time type."""
        source = source_of(function.python)
        types: dict[str, Type] = {}
        for name, pattern in self.patterns(function):
            if not isinstance(pattern, Type):
                raise Diagnostic(
                    source.header(),
                    f"the parameter `{name}` of `{function.__qualname__}` has no type of its own, "
                    "and nothing calls it here",
                    "compile a function that calls it",
                )
            types[name] = pattern
        return self.instance(function, types, {}, target, source.header())

    def instance(
        self,
        function: Function,
        types: dict[str, Type],
        static: dict[str, Any],
        target: Target,
        caller: Span,
    ) -> ir.Instance:
        """Return the instance for these arguments, lowering it when it is new."""
        own = function.options.target
        if own is not None and own.architecture != target.architecture:
            raise Diagnostic(
                caller,
                f"`{function.__qualname__}` is compiled for {own.name}, a processor of {own.architecture}, "
                f"but this program is for {target.architecture}",
                "a program is for one architecture; choose the function by `current_target()`",
            )
        target = own or target
        if function.options.interrupt and target.architecture == "x86_64":
            target = without_vectors(target)
        try:
            key: Key = (id(function), tuple(types.items()), tuple(static.items()), target)
            known = self._instances.get(key)
        except TypeError:
            raise Diagnostic(
                caller,
                f"a compile-time argument of `{function.__qualname__}` is not hashable",
                "use a tuple or a frozen dataclass",
            ) from None
        if known is not None:
            if known in self._active:
                names = [i.function.__qualname__ for i in self._active[self._active.index(known) :]]
                chain = " -> ".join([*names, function.__qualname__])
                raise Diagnostic(caller, f"recursion is not in the language: {chain}", "use a loop")
            return known
        made = self._lower(function, types, static, target, key)
        self._finished.append(made)
        return made

    def _lower(
        self, function: Function, types: dict[str, Type], static: dict[str, Any], target: Target, key: Key
    ) -> ir.Instance:
        source = source_of(function.python)
        scope = function_scope(function)
        span = source.header()
        annotation = resolve_annotation(function.python.__annotations__.get("return"), scope, function)
        try:
            pattern = of_annotation(annotation)
        except UnsupportedType as error:
            at = source.span(source.tree.returns) if source.tree.returns is not None else span
            raise Diagnostic(at, str(error)) from None
        instance = ir.Instance(
            function=function,
            symbol=self._symbol(function, types, static, target),
            target=target,
            options=function.options,
            parameters=[ir.Parameter(name, kind) for name, kind in types.items()],
            span=span,
            result=pattern if isinstance(pattern, Type) else VOID,
        )
        instance.locals.update(types)
        self._instances[key] = instance
        self._active.append(instance)
        context = Context(self, instance, source, static)
        context.result_pattern = pattern
        before = len(self._diagnostics)
        if isinstance(pattern, StructType) and pattern.layout.volatile:
            pattern_hint = "return what leads to them, or pass them down as a parameter"
            text = f"the registers {pattern} cannot be returned: that would copy them"
            self.report(Diagnostic(source.span(source.tree.returns or source.tree), text, pattern_hint))
        elif pattern is None:
            at = source.span(source.tree.returns) if source.tree.returns is not None else span
            text = f"`{function.__qualname__}` returns {type_text(annotation)}, which has no run-time form"
            self.report(Diagnostic(at, text))
        else:
            body, ended = Statements(context).body(source.tree.body)
            instance.body = body
            if not ended and pattern != VOID and len(self._diagnostics) == before:
                self.report(
                    Diagnostic(
                        span,
                        f"`{function.__qualname__}` may end without returning a value",
                        "return on every path",
                    )
                )
        failed = len(self._diagnostics) > before
        instance.result_unknown = failed and not isinstance(pattern, Type)
        self._active.pop()
        return instance

    def _symbol(
        self, function: Function, types: dict[str, Type], static: dict[str, Any], target: Target
    ) -> str:
        if function.options.export:
            self._exported(function, types, static, target)
            return function.options.export
        module = function.__module__.removeprefix("axiom.")
        name = f"{module}.{function.__qualname__.replace('<locals>.', '')}"
        varying = [str(t) for t in types.values()] + [repr(v) for v in static.values()] + [target.name]
        digest = hashlib.sha256("|".join(varying).encode()).hexdigest()[:6]
        symbol, number = f"{name}.{digest}", 1
        while symbol in self._symbols:
            number += 1
            symbol = f"{name}.{digest}.{number}"
        self._symbols.add(symbol)
        return symbol

    def _exported(
        self, function: Function, types: dict[str, Type], static: dict[str, Any], target: Target
    ) -> None:
        """An exported name stands for one function, made for one set of arguments and one processor."""
        symbol = function.options.export
        if symbol in self._symbols:
            raise Diagnostic(
                source_of(function.python).header(),
                f"two functions are exported as `{symbol}`",
                "an exported function has one form: no compile-time parameters, one target",
            )
        self._symbols.add(symbol)

    def finish(self, roots: list[ir.Instance]) -> ir.Program:
        """Return the program, or raise everything that was reported."""
        if self._diagnostics:
            raise CompileError(self._diagnostics)
        return ir.Program(self._finished, roots)


def build_program(functions: list[Function], target: Target = BASELINE) -> ir.Program:
    """Lower `functions` and all that they call."""
    builder = ProgramBuilder()
    roots: list[ir.Instance] = []
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(max(limit, LOWERING_DEPTH))
    try:
        for function in functions:
            try:
                roots.append(builder.root(function, target))
            except Diagnostic as diagnostic:
                builder.report(diagnostic)
            except Poisoned:
                continue
    finally:
        sys.setrecursionlimit(limit)
    return builder.finish(roots)


def _check_parameters(function: Function) -> None:
    """Raise Diagnostic for a parameter that the language does not have."""
    source = source_of(function.python)
    given = source.tree.args
    found = next((d for d in (*given.defaults, *given.kw_defaults) if d is not None), None)
    if found is not None:
        hint = "give every argument where the function is called"
        raise Diagnostic(source.span(found), "parameters have no defaults in the language", hint)
    extra = given.vararg or given.kwarg or next(iter(given.kwonlyargs), None)
    if extra is not None:
        text = "a function takes a fixed number of arguments by position"
        raise Diagnostic(source.span(extra), text, "name each parameter")
