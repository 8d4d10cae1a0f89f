"""Functions to an object file for a machine with nothing beneath it."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from axiom.compiler import ir
from axiom.compiler.checks import check_program
from axiom.compiler.frontend.program import build_program
from axiom.compiler.llvm.architectures import TRIPLES, triple_of
from axiom.compiler.llvm.checks import checks_left
from axiom.compiler.llvm.codegen import emit_assembly, emit_object, llvm_version, optimised_text
from axiom.compiler.llvm.emit import emit_module, emit_program
from axiom.compiler.llvm.module import CheckSite
from axiom.compiler.units import compile_units, split_texts
from axiom.lang.functions import Function
from axiom.lang.targets import BASELINE, Target

METAL_TRIPLE = TRIPLES[BASELINE.architecture]


@dataclass(frozen=True)
class CheckCount:
    """The checks that a program's source asks for, and those that the optimiser could not prove away.

    Sites are places in the source; a site is kept when any of its copies (inlined, specialised) is.
    """

    asked: frozenset[CheckSite]
    kept: frozenset[CheckSite]


def _program(functions: list[Any], target: Target) -> ir.Program:
    roots: list[Function] = list(functions)
    program = build_program(roots, target)
    check_program(program)
    return program


def compile_text(functions: list[Any], assembly: list[str], target: Target = BASELINE) -> str:
    """Return the LLVM text of `functions`, all that they call, and blocks of assembly.

    Raises CompileError with every diagnostic.
    """
    return emit_module(_program(functions, target), triple_of(target), assembly)


def compile_object(
    functions: list[Any], assembly: list[str], target: Target = BASELINE, level: int = 3
) -> bytes:
    """Compile `functions` and all that they call, with blocks of assembly, into one ELF object."""
    return emit_object(compile_text(functions, assembly, target), triple_of(target), level)


def compile_objects(
    functions: list[Any],
    assembly: list[str],
    units: Collection[str],
    level: int = 3,
    as_written: tuple[str, ...] = (),
) -> list[bytes]:
    """Compile as `compile_object` does, but functions of the modules `units` into objects of their own.

    Functions of the packages `as_written` are not optimised: every line and every local is there. Objects
    are kept by their text: what has not changed is not compiled again.
    """
    program = _program(functions, BASELINE)
    texts = split_texts(program, units, METAL_TRIPLE, assembly, as_written)
    return compile_units(texts, METAL_TRIPLE, level)


def compile_listing(functions: list[Any], target: Target = BASELINE, level: int = 3) -> str:
    """Return the assembly of `functions`, in AT&T syntax, with the lines that it comes from as `.loc`."""
    return emit_assembly(_kept_text(functions, target), triple_of(target), level)


def compile_unoptimised(functions: list[Any], target: Target = BASELINE) -> str:
    """Return the LLVM text of `functions` as the compiler writes it, before LLVM has changed it."""
    return _kept_text(functions, target)


def compile_kept(functions: list[Any], target: Target = BASELINE, level: int = 3) -> bytes:
    """Compile `functions` into an object in which each one is a symbol, exported or not."""
    return emit_object(_kept_text(functions, target), triple_of(target), level)


def _kept_text(functions: list[Any], target: Target) -> str:
    program = _program(functions, target)
    for root in program.roots:
        root.kept = True
    return emit_module(program, triple_of(target))


def count_checks(functions: list[Any], target: Target = BASELINE, level: int = 3) -> CheckCount:
    """Compile `functions` and count the checks that stay in the code."""
    program = _program(functions, target)
    triple = triple_of(target)
    module = emit_program(program, triple)
    left = checks_left(optimised_text(module.text(), triple, level))
    return CheckCount(frozenset(module.checks), frozenset(left) & frozenset(module.checks))


def toolchain_version() -> str:
    """Return what besides the text decides the bytes of an object."""
    return f"llvm-{llvm_version()}"
