"""Checks of a whole program on its typed IR, run before any code is made."""

from axiom.compiler import ir
from axiom.compiler.checks.borrows import check_borrows
from axiom.compiler.checks.interrupts import check_interrupts
from axiom.compiler.checks.phases import check_phases
from axiom.compiler.diagnostics import CompileError, Diagnostic


def check_program(program: ir.Program) -> None:
    """Run every check; raise all that they find as one `CompileError`."""
    found: list[Diagnostic] = [*check_phases(program), *check_borrows(program), *check_interrupts(program)]
    if found:
        raise CompileError(found)
