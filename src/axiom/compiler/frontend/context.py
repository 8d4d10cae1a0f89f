"""What the front end knows while it lowers one function.

A name is a local variable (with a type), a compile-time local (with a Python value), or a Python
object from the closure or the module. Compile-time values are ordinary Python objects; static
storage and functions of the language are the exceptions, recognised in `wrap`.
"""

import ast
import builtins
import typing
from dataclasses import dataclass, field
from typing import Any, NoReturn, cast

from axiom.compiler import ir
from axiom.compiler.diagnostics import Diagnostic, Poisoned, Source, Span
from axiom.compiler.types import (
    BOOL,
    ArrayRefType,
    EnumType,
    ScalarType,
    SliceType,
    StructType,
    Type,
    VecType,
)
from axiom.lang.functions import Function
from axiom.lang.layout import struct_layout
from axiom.lang.memory import Array, Memory, Slice
from axiom.lang.scalars import Scalar
from axiom.lang.targets import Target
from axiom.lang.vectors import Vec

if typing.TYPE_CHECKING:
    from axiom.compiler.frontend.program import ProgramBuilder


@dataclass(frozen=True)
class CompileTime:
    """A value known while compiling."""

    value: Any


@dataclass(frozen=True)
class BoundMethod:
    """A method of a run-time value, not yet called."""

    receiver: ir.Expression
    name: str
    function: Function | None


Value = ir.Expression | CompileTime | BoundMethod


@dataclass
class CompileTimeLocal:
    """A local name bound to a compile-time value, and the region of control flow it belongs to."""

    value: Any
    region: tuple[int, ...]


@dataclass
class Loop:
    """A loop being lowered: what is assigned on each way out, and whether it is unrolled."""

    unrolled: bool
    break_assigned: list[set[str]] = field(default_factory=list[set[str]])


class Context:
    """The state of one function's lowering."""

    def __init__(
        self,
        builder: "ProgramBuilder",
        instance: ir.Instance,
        source: Source,
        static_arguments: dict[str, Any],
    ) -> None:
        self.builder, self.instance, self.source = builder, instance, source
        self.static: dict[str, CompileTimeLocal] = {
            name: CompileTimeLocal(value, ()) for name, value in static_arguments.items()
        }
        self.assigned: set[str] = {p.name for p in instance.parameters}
        self.aggregate_sites: dict[str, int] = {}
        self.poisoned: set[str] = set()
        self.loops: list[Loop] = []
        self.region: tuple[int, ...] = ()
        self.region_count = 0
        self._hidden = 0
        self.unsafe_depth = 0
        self.result_pattern: Any = None
        self.scope = function_scope(instance.function)

    @property
    def target(self) -> Target:
        """The processor that this instance is for."""
        return self.instance.target

    def fail(self, node: ast.AST, message: str, hint: str = "") -> NoReturn:
        """Report what is wrong with `node`."""
        raise Diagnostic(self.span(node), message, hint)

    def span(self, node: ast.AST) -> Span:
        """Return where `node` stands in the file."""
        return self.source.span(node)

    def hidden(self, purpose: str) -> str:
        """Return the name of a local variable that the program's author does not see."""
        self._hidden += 1
        return f"{purpose}.{self._hidden}"

    def encloses(self, region: tuple[int, ...]) -> bool:
        """Tell whether what happened in `region` has happened wherever this place is reached."""
        return self.region[: len(region)] == region

    def enter_region(self) -> tuple[int, ...]:
        """Start code that may run any number of times, or not at all."""
        outer = self.region
        self.region_count += 1
        self.region = (*outer, self.region_count)
        return outer

    def look_up(self, node: ast.Name) -> Value:
        """Return what a name stands for."""
        name = node.id
        if name in self.poisoned:
            raise Poisoned
        if name in self.static:
            if not self.encloses(self.static[name].region):
                self.fail(
                    node,
                    f"`{name}` may be used before it has a value",
                    f"give `{name}` a value on every path that leads here",
                )
            return self.wrap(self.static[name].value, node, name)
        if name in self.instance.locals:
            if name not in self.assigned:
                self.fail(
                    node,
                    f"`{name}` may be used before it has a value",
                    f"give `{name}` a value on every path that leads here",
                )
            return ir.ReadLocal(self.instance.locals[name], self.span(node), name)
        if name in self.instance.function.python.__code__.co_varnames:
            self.fail(
                node,
                f"`{name}` may be used before it has a value",
                "a name that is assigned anywhere in a function is local to it",
            )
        if name in self.scope:
            return self.wrap(self.scope[name], node, name)
        if hasattr(builtins, name):
            return CompileTime(getattr(builtins, name))
        self.fail(node, f"the name `{name}` is not defined")

    def wrap(self, value: Any, node: ast.AST, hint: str) -> Value:
        """Turn a Python object met while compiling into a value of the language."""
        span = self.span(node)
        if isinstance(value, Scalar):
            return ir.Constant(ScalarType(type(value)), span, value.value)
        if isinstance(value, Vec):
            lanes = cast(Any, value)
            return ir.Constant(VecType(lanes.element, lanes.lanes), span, tuple(lanes.data.tolist()))
        if isinstance(value, (Array, Slice)):
            view = cast(Any, value)
            self._require_static(view.place_memory, node, hint)
            kind: Type = ArrayRefType(view.element, view.count)
            place = ir.StaticPlace(kind, span, view.place_memory, view.place_offset, hint)
            if isinstance(value, Slice):
                return ir.Primitive(SliceType(view.element), span, "all", [place])
            return place
        if not isinstance(value, type) and struct_layout(type(value)) is not None:
            self._require_static(value.place_memory, node, hint)
            return ir.StaticPlace(
                StructType(type(value)), span, value.place_memory, value.place_offset, hint
            )
        return CompileTime(value)

    def _require_static(self, memory: Memory, node: ast.AST, hint: str) -> None:
        if not memory.static_name:
            self.fail(
                node,
                f"`{hint}` is memory that exists only while compiling",
                f"make it static storage: `{hint} = static_var(...)`, or a `table(...)`",
            )


def function_scope(function: Function) -> dict[str, Any]:
    """Return the names that a function sees: its closure over its module."""
    python = function.python
    scope = dict(python.__globals__)
    for name, cell in zip(python.__code__.co_freevars, python.__closure__ or (), strict=True):
        try:
            scope[name] = cell.cell_contents
        except ValueError:
            continue
    if function.owner is not None:
        scope.setdefault(function.owner.__name__, function.owner)
    return scope


def constant(value: Any, kind: Type, span: Span, context: Context, node: ast.AST) -> ir.Expression:
    """Give a compile-time number the type `kind`; report it when it does not fit."""
    if isinstance(value, bool):
        if kind == BOOL:
            return ir.Constant(BOOL, span, value)
    elif isinstance(kind, EnumType):
        if isinstance(value, kind.members):
            return ir.Constant(kind, span, int(value))
    elif isinstance(kind, ScalarType) and isinstance(value, (int, float)):
        if kind.is_integer:
            scalar = kind.integer
            if isinstance(value, int):
                if not scalar.minimum <= value <= scalar.maximum:
                    context.fail(node, f"the constant {int(value)} does not fit {kind}")
                return ir.Constant(kind, span, int(value))
        else:
            try:
                return ir.Constant(kind, span, float(value))
            except OverflowError:
                context.fail(node, f"the constant does not fit {kind}")
    elif isinstance(kind, VecType) and kind.element is not bool and isinstance(value, (int, float)):
        lane = constant(value, ScalarType(kind.element), span, context, node)
        assert isinstance(lane, ir.Constant)
        return ir.Constant(kind, span, (lane.value,) * kind.lanes)
    context.fail(node, f"expected {kind}, found the constant {value!r}")
