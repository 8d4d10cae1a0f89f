"""A whole program as LLVM text."""

from axiom.compiler import ir
from axiom.compiler.llvm import vectors
from axiom.compiler.llvm.arithmetic import emit_binary, emit_compare, emit_convert, emit_unary
from axiom.compiler.llvm.function import FunctionEmitter, declaration
from axiom.compiler.llvm.module import Module
from axiom.compiler.llvm.primitives import EMIT
from axiom.lang.panic import PanicReason

assert vectors.shuffled in vars(vectors).values(), "importing `vectors` registers its primitives"


def _operation(f: FunctionEmitter, e: ir.Expression) -> str:
    match e:
        case ir.Primitive():
            return EMIT[e.name](f, e)
        case ir.Binary():
            return emit_binary(f, e)
        case ir.Unary():
            return emit_unary(f, e)
        case ir.Compare():
            return emit_compare(f, e)
        case ir.ConvertScalar():
            return emit_convert(f, e)
        case _:
            raise TypeError(f"no code for {e}")


def emit_module(program: ir.Program, triple: str, assembly: list[str] | None = None) -> str:
    """Return the LLVM text of a program."""
    return emit_program(program, triple, assembly).text()


def emit_program(
    program: ir.Program,
    triple: str,
    assembly: list[str] | None = None,
    defines: tuple[str, ...] = (),
    section: str = "",
    as_written: tuple[str, ...] = (),
    without: frozenset[PanicReason] = frozenset(),
) -> Module:
    """Return the module of a program.

    defines: symbols that are defined by text appended later. section: where all code goes; by default LLVM
    sets apart what it finds unlikely. as_written: packages whose functions LLVM leaves as they are.
    without: checks to leave out.
    """
    module = Module(triple, assembly or [], section, as_written, without)
    for symbol in defines:
        module.define(symbol)
    for instance in program.instances:
        FunctionEmitter(module, instance, _operation).write()
        for callee in instance.callees:
            # A function of another unit; the declaration of one of this module is left out again.
            module.declare(callee.symbol, declaration(callee))
    return module
