"""Functions to an object file for a machine with nothing beneath it."""

from typing import Any

from axiom.compiler.checks import check_program
from axiom.compiler.frontend.program import build_program
from axiom.compiler.llvm.codegen import emit_object, llvm_version
from axiom.compiler.llvm.emit import emit_module
from axiom.lang.functions import Function
from axiom.lang.targets import BASELINE, Target

METAL_TRIPLE = "x86_64-unknown-none-elf"


def compile_text(functions: list[Any], assembly: list[str], target: Target = BASELINE) -> str:
    """Return the LLVM text of `functions`, all that they call, and blocks of assembly.

    Raises CompileError with every diagnostic.
    """
    roots: list[Function] = list(functions)
    program = build_program(roots, target)
    check_program(program)
    return emit_module(program, METAL_TRIPLE, assembly)


def compile_object(
    functions: list[Any], assembly: list[str], target: Target = BASELINE, level: int = 3
) -> bytes:
    """Compile `functions` and all that they call, with blocks of assembly, into one ELF object."""
    return emit_object(compile_text(functions, assembly, target), METAL_TRIPLE, level)


def toolchain_version() -> str:
    """Return what besides the text decides the bytes of an object."""
    return f"llvm-{llvm_version()}"
