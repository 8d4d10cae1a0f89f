"""Phases: what may be done only while starting cannot be reached from what runs for good.

`@fn(phase='init')` marks a function that allocates or programs the machine; `@fn(phase='run')` marks
one that is entered after the allocator is sealed. The check walks the call graph.
"""

from collections.abc import Iterator

from axiom.compiler import ir
from axiom.compiler.diagnostics import Diagnostic


def check_phases(program: ir.Program) -> Iterator[Diagnostic]:
    """Yield a diagnostic for each init function reached from a run function."""
    for instance in program.instances:
        if instance.options.phase != "run":
            continue
        path = _path_to_init(instance, {id(instance)})
        if path is not None:
            chain = " -> ".join(i.function.__qualname__ for i in [instance, *path])
            yield Diagnostic(
                instance.span,
                f"the init-phase `{path[-1].function.__qualname__}` is reached from the run phase: {chain}",
                "do this work before the allocator is sealed",
            )


def _path_to_init(instance: ir.Instance, seen: set[int]) -> list[ir.Instance] | None:
    for callee in instance.callees:
        if callee.options.phase == "init":
            return [callee]
        if id(callee) in seen:
            continue
        seen.add(id(callee))
        path = _path_to_init(callee, seen)
        if path is not None:
            return [callee, *path]
    return None
