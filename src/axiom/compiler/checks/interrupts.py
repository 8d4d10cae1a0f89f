"""Interrupt handlers: entered between any two instructions, they disturb nothing and always return.

A handler is a leaf: it calls only what is written into it (`inline='always'`), so that it saves the few
registers that it uses and its stack is its own frame. It cannot panic, because there is nobody to report to
in the middle of somebody else's work; it does not wait, allocates nothing, and touches no vector register:
its code is made for a processor without them (see `frontend.program`). What the check cannot see to be safe
is refused; `wrapping_add`, `truncate` and constant indexes say that it is.
"""

import dataclasses
from collections.abc import Iterator
from typing import cast

from axiom.compiler import ir
from axiom.compiler.checks.may_panic import may_panic
from axiom.compiler.diagnostics import Diagnostic, Span
from axiom.compiler.types import VOID, ArrayRefType, ScalarType, StructType, Type, VecType
from axiom.lang.scalars import u64

FRAME_BYTES = 40
_COPIES = ("copy", "fill_zero")
_FRAME_HINT = "take nothing, or a struct of five u64 and, where the processor pushes one, a u64 error code"


def check_interrupts(program: ir.Program) -> Iterator[Diagnostic]:
    """Yield a diagnostic for each call of a handler, and for all that a handler may not do."""
    if not any(instance.options.interrupt for instance in program.instances):
        return
    for instance in program.instances:
        if instance.options.interrupt:
            yield from _form(instance)
            yield from _inside(instance, instance, set())
        for node in nodes_of(instance.body):
            if isinstance(node, ir.Call) and node.callee.options.interrupt:
                name = node.callee.function.__qualname__
                text = f"`{name}` is an interrupt handler: only the processor can enter it"
                yield Diagnostic(node.span, text, "put what both need into a function of its own")


def nodes_of(value: object) -> Iterator[ir.Statement | ir.Expression]:
    """Yield every statement and expression within a value; what is called is not entered."""
    if isinstance(value, (list, tuple)):
        for item in cast("list[object]", value):
            yield from nodes_of(item)
    elif isinstance(value, dict):
        yield from nodes_of(list(cast("dict[str, object]", value).values()))
    elif isinstance(value, (ir.Statement, ir.Expression)):
        yield value
        for field in dataclasses.fields(value):
            if field.name != "type":
                yield from nodes_of(getattr(value, field.name))


def _form(handler: ir.Instance) -> Iterator[Diagnostic]:
    """Check how a handler is declared."""
    name = handler.function.__qualname__
    if handler.target.architecture != "x86_64":
        text = f"interrupt handlers have no form on {handler.target.architecture}"
        yield Diagnostic(handler.span, text, "write its entry in assembly")
    if not handler.options.export:
        text = f"the interrupt handler `{name}` has no symbol, so that no table can name it"
        yield Diagnostic(handler.span, text, "give it one: `@fn(interrupt=True, export=...)`")
    if handler.options.target is not None:
        text = f"the interrupt handler `{name}` is compiled without vector registers, for any processor"
        yield Diagnostic(handler.span, text, "leave `target=` out")
    if handler.result != VOID:
        yield Diagnostic(handler.span, f"the interrupt handler `{name}` has nobody to return a value to")
    kinds = [parameter.type for parameter in handler.parameters]
    if not (kinds == [] or (_is_frame(kinds[0]) and kinds[1:] in ([], [ScalarType(u64)]))):
        text = f"the processor gives the interrupt handler `{name}` no such parameters"
        yield Diagnostic(handler.span, text, _FRAME_HINT)


def _is_frame(kind: Type) -> bool:
    return isinstance(kind, StructType) and kind.layout.size == FRAME_BYTES and not kind.layout.volatile


def _inside(handler: ir.Instance, instance: ir.Instance, seen: set[int]) -> Iterator[Diagnostic]:
    """Check what a handler does, and what is written into it."""
    seen.add(id(instance))
    told: set[Span] = set()
    for node in nodes_of(instance.body):
        found = _refusal(handler, node)
        # The outermost of several that begin at the same place says most.
        if found is not None and found.span not in told:
            told.add(found.span)
            yield found
        if found is None and isinstance(node, ir.Call) and id(node.callee) not in seen:
            yield from _inside(handler, node.callee, seen)


def _refusal(handler: ir.Instance, node: ir.Statement | ir.Expression) -> Diagnostic | None:
    name = f"the interrupt handler `{handler.function.__qualname__}`"
    if isinstance(node, ir.Call):
        callee = node.callee.function.__qualname__
        if node.callee.options.phase == "init":
            return Diagnostic(
                node.span, f"{name} reaches the init-phase `{callee}`", "do this work at start"
            )
        if node.callee.target != handler.target:
            text = f"{name} reaches `{callee}`, which is compiled for {node.callee.target.name}"
            return Diagnostic(node.span, text, "leave `target=` out of what handlers use")
        if node.callee.options.inline != "always":
            hint = "make it `inline='always'`, or note the event and do the work outside of the handler"
            return Diagnostic(node.span, f"{name} calls `{callee}`, and a handler is a leaf", hint)
    if isinstance(node, ir.While):
        hint = "note the event and let the scheduler wait"
        return Diagnostic(node.span, f"{name} may loop for good here, and a handler does not wait", hint)
    if isinstance(node, ir.Expression) and _in_vector_registers(node.type):
        hint = "compute with integers, or outside of the handler"
        return Diagnostic(
            node.span, f"{name} computes {node.type} here, which is in a vector register", hint
        )
    if _copies(node):
        hint = "keep it in a `static_var`, and store field by field"
        return Diagnostic(node.span, f"{name} makes or copies storage here, which calls a routine", hint)
    if reason := may_panic(node):
        return Diagnostic(node.span, f"{name} may panic here: {reason[0]}", reason[1])
    return None


def _in_vector_registers(kind: Type) -> bool:
    return isinstance(kind, VecType) or (isinstance(kind, ScalarType) and kind.is_float)


def _copies(node: ir.Statement | ir.Expression) -> bool:
    """Tell what becomes a call of `memset` or `memmove` when it is large."""
    match node:
        case ir.NewStruct() | ir.NewArray():
            return True
        case ir.Call(kind):
            return isinstance(kind, (StructType, ArrayRefType))
        case ir.Store(_, _, value):
            return isinstance(value.type, (StructType, ArrayRefType))
        case ir.Return(_, value) if value is not None:
            return isinstance(value.type, (StructType, ArrayRefType))
        case ir.Primitive(_, _, name):
            return name in _COPIES
        case _:
            return False
