"""Borrows: a slice never outlives the storage that it points to.

References to structs and arrays are second-class: they are passed down, and storing or returning one copies
the bytes. Only slices can carry an address away, by being returned or stored, alone or inside of a struct.
The check follows, through the whole program, which storage each slice may point to.

A *root* is a piece of storage: local storage by where it is made, static storage (which includes what
unsafe code vouches for), storage that a parameter refers to, or what such storage points to in turn. What
local storage holds is kept per piece, without regard to fields or order; a function is summed up by what
its result may point to and by what it may store where, so that callers are checked without its body.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from axiom.compiler import ir
from axiom.compiler.diagnostics import Diagnostic, Span
from axiom.compiler.types import ArrayRefType, SliceType, StructType, TextType, Type, holds_slices


@dataclass(frozen=True)
class Static:
    """Storage that lives as long as the program."""


@dataclass(frozen=True)
class Local:
    """Storage of the function itself, made at one place in it."""

    number: int


@dataclass(frozen=True)
class Given:
    """What a parameter refers to: its storage, or (`inside`) whatever that holds addresses of."""

    number: int
    inside: bool


Root = Static | Local | Given
Roots = frozenset[Root]
NOTHING: Roots = frozenset()
STATIC: Roots = frozenset({Static()})
_VIEWS = ("all", "part", "reinterpret", "bytes_of", "struct_in", "utf8")


@dataclass
class Summary:
    """What a call may do with addresses: `result` is what its value points to, or holds if copied."""

    result: set[Root] = field(default_factory=set[Root])
    stores: set[tuple[Root, Root]] = field(default_factory=set[tuple[Root, Root]])


def check_borrows(program: ir.Program) -> Iterator[Diagnostic]:
    """Yield a diagnostic for each place where a slice would outlive its storage."""
    summaries: dict[int, Summary] = {}
    for instance in program.instances:
        flow = _Flow(instance, summaries)
        flow.settle()
        summaries[id(instance)] = flow.summary
        yield from flow.found.values()


def _refers(kind: Type) -> bool:
    return isinstance(kind, (SliceType, StructType, ArrayRefType, TextType))


def _element_of(kind: Type) -> Any:
    """Return what lies in the storage that a value of this type refers to."""
    if isinstance(kind, StructType):
        return kind.cls
    return kind.element if isinstance(kind, (SliceType, ArrayRefType)) else None


class _Flow:
    """Follows the addresses of one function until nothing new is found."""

    def __init__(self, instance: ir.Instance, summaries: dict[int, Summary]) -> None:
        self.instance, self._summaries = instance, summaries
        self.summary = Summary()
        self.found: dict[tuple[Span, str], Diagnostic] = {}
        self._places: dict[int, Local] = {}
        self._holds: dict[Local, set[Root]] = {}
        self._variables: dict[str, set[Root]] = {
            parameter.name: {Given(number, False)}
            for number, parameter in enumerate(instance.parameters)
            if _refers(parameter.type)
        }
        self._changed = False

    def settle(self) -> None:
        """Walk the function until the roots of every variable and every place are known."""
        self._changed = True
        while self._changed:
            self._changed = False
            self._body(self.instance.body)

    def _add(self, known: set[Root], roots: Roots) -> None:
        if not roots <= known:
            known |= roots
            self._changed = True

    # Statements

    def _body(self, body: list[ir.Statement]) -> None:
        for statement in body:
            self._statement(statement)

    def _statement(self, statement: ir.Statement) -> None:
        match statement:
            case ir.Assign(_, name, value):
                roots = self._roots(value)
                self._add(self._variables.setdefault(name, set()), roots)
            case ir.Store(span, place, value):
                target = self._roots(place.base)
                if isinstance(place, ir.Element):
                    self._roots(place.index)
                self._store(span, target, self._carried(value))
            case ir.Evaluate(_, value):
                self._roots(value)
            case ir.If(_, condition, yes, no):
                self._roots(condition)
                self._body(yes)
                self._body(no)
            case ir.While(_, condition, body):
                if condition is not None:
                    self._roots(condition)
                self._body(body)
            case ir.CountLoop(_, _, start, stop, _, body, _):
                self._roots(start)
                self._roots(stop)
                self._body(body)
            case ir.Return(span, value) if value is not None:
                self._return(span, self._carried(value))
            case ir.Assert(_, condition, _):
                self._roots(condition)
            case _:
                pass

    def _return(self, span: Span, roots: Roots) -> None:
        if any(isinstance(root, Local) for root in roots):
            name = self.instance.function.__name__
            text = f"this returns a slice of local storage, which ends with `{name}`"
            self._report(span, text, "take the storage as a parameter, or make it a `static_var`")
        self._add(self.summary.result, frozenset(r for r in roots if not isinstance(r, Local)))

    def _store(self, span: Span, target: Roots, roots: Roots) -> None:
        """Put addresses into every place that `target` may be."""
        for place in target:
            if isinstance(place, Local):
                self._add(self._holds.setdefault(place, set()), roots)
                continue
            for root in roots:
                if isinstance(root, Local):
                    name = self.instance.function.__name__
                    text = f"this stores a slice of local storage where it outlives `{name}`"
                    self._report(span, text, "take the storage as a parameter, or make it a `static_var`")
                elif isinstance(root, Given) and (root, place) not in self.summary.stores:
                    self.summary.stores.add((root, place))
                    self._changed = True

    def _report(self, span: Span, text: str, hint: str) -> None:
        self.found.setdefault((span, text), Diagnostic(span, text, hint))

    # Expressions

    def _local(self, expression: ir.Expression) -> Local:
        return self._places.setdefault(id(expression), Local(len(self._places)))

    def _held(self, roots: Roots) -> Roots:
        """Return what storage holds addresses of."""
        found: set[Root] = set()
        for root in roots:
            match root:
                case Static():
                    found.add(root)
                case Local():
                    found |= self._holds.get(root, set())
                case Given(number):
                    found.add(Given(number, True))
        return frozenset(found)

    def _carried(self, value: ir.Expression) -> Roots:
        """Return the addresses that a copy of a value takes along."""
        roots = self._roots(value)
        if isinstance(value.type, (SliceType, TextType)):
            return roots
        if isinstance(value.type, (StructType, ArrayRefType)) and holds_slices(_element_of(value.type)):
            return self._held(roots)
        return NOTHING

    def _roots(self, e: ir.Expression) -> Roots:
        """Return the storage that a value refers to, and take the effects of its parts."""
        match e:
            case ir.ReadLocal(_, _, name):
                return frozenset(self._variables.get(name, set()))
            case ir.StaticPlace() | ir.Text():
                return STATIC
            case ir.Field(kind, _, base):
                inner = self._roots(base)
                return self._held(inner) if isinstance(kind, SliceType) else self._only(kind, inner)
            case ir.Element(kind, _, base, index):
                inner = self._roots(base)
                self._roots(index)
                return self._held(inner) if isinstance(kind, SliceType) else self._only(kind, inner)
            case ir.NewStruct(_, _, values):
                place: Roots = frozenset({self._local(e)})
                for value in values.values():
                    self._store(e.span, place, self._carried(value))
                return place
            case ir.NewArray():
                return frozenset({self._local(e)})
            case ir.Call():
                return self._call(e)
            case ir.Conditional(kind, _, condition, yes, no):
                self._roots(condition)
                return self._only(kind, self._roots(yes) | self._roots(no))
            case ir.Primitive():
                return self._primitive(e)
            case ir.Binary(_, _, _, left, right) | ir.Compare(_, _, _, left, right):
                self._roots(left)
                self._roots(right)
            case ir.Logical(_, _, _, left, right):
                self._roots(left)
                self._roots(right)
            case ir.Unary(_, _, _, operand) | ir.ConvertScalar(_, _, operand):
                self._roots(operand)
            case ir.Intrinsic(_, _, _, arguments):
                for argument in arguments:
                    self._roots(argument)
            case _:
                pass
        return NOTHING

    def _only(self, kind: Type, roots: Roots) -> Roots:
        return roots if _refers(kind) else NOTHING

    def _primitive(self, e: ir.Primitive) -> Roots:
        arguments = [self._roots(argument) for argument in e.arguments]
        if e.name == "copy" and holds_slices(_element_of(e.arguments[0].type)):
            self._store(e.span, arguments[0], self._held(arguments[1]))
        if e.name in _VIEWS:
            return arguments[0]
        # What unsafe code makes of an address, it vouches for.
        return STATIC if _refers(e.type) else NOTHING

    def _call(self, e: ir.Call) -> Roots:
        arguments = [self._roots(argument) for argument in e.arguments]

        def actual(root: Root) -> Roots:
            if not isinstance(root, Given):
                return frozenset({root})
            given = arguments[root.number]
            if not root.inside:
                return given
            reached, last = self._held(given), NOTHING
            while reached != last:
                reached, last = reached | self._held(reached), reached
            return reached

        summary = self._summaries.get(id(e.callee), Summary())
        for root, place in summary.stores:
            self._store(e.span, actual(place), actual(root))
        result: Roots = frozenset[Root]().union(*(actual(root) for root in summary.result))
        if isinstance(e.type, (StructType, ArrayRefType)):
            made: Roots = frozenset({self._local(e)})
            self._store(e.span, made, result)
            return made
        return self._only(e.type, result)
