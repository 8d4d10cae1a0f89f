"""Code of a program loaded into this process.

Every root gets a thunk with one C signature: `int thunk(void *result, uint64_t *arguments)`. A panic
fills a record and jumps back out of the thunk, which then returns 1; the frames that it leaves hold
nothing that must be released.
"""

import ctypes

import llvmlite.binding as llvm

from axiom.compiler import ir
from axiom.compiler.llvm.codegen import optimise, target_machine
from axiom.compiler.llvm.emit import emit_module
from axiom.compiler.llvm.names import PAIR, type_name
from axiom.compiler.types import (
    ArrayRefType,
    BoolType,
    EnumType,
    ScalarType,
    SliceType,
    StructType,
    TextType,
    Type,
)

TRIPLE = "x86_64-unknown-linux-gnu"
PANIC_RECORD_WORDS = 6
_SUPPORT = """
@ax.jump = global [32 x i64] zeroinitializer, align 16
@ax.panic.record = global [6 x i64] zeroinitializer
declare i32 @_setjmp(ptr) returns_twice
declare void @longjmp(ptr, i32) noreturn
declare ptr @llvm.returnaddress(i32)
define void @axiom_panic(i32 %reason, i64 %first, i64 %second, i64 %text, i64 %length) noinline noreturn {
  %wide = zext i32 %reason to i64
  store i64 %wide, ptr @ax.panic.record
  %p1 = getelementptr i64, ptr @ax.panic.record, i64 1
  store i64 %first, ptr %p1
  %p2 = getelementptr i64, ptr @ax.panic.record, i64 2
  store i64 %second, ptr %p2
  %p3 = getelementptr i64, ptr @ax.panic.record, i64 3
  store i64 %text, ptr %p3
  %p4 = getelementptr i64, ptr @ax.panic.record, i64 4
  store i64 %length, ptr %p4
  %p5 = getelementptr i64, ptr @ax.panic.record, i64 5
  %from = call ptr @llvm.returnaddress(i32 0)
  store ptr %from, ptr %p5
  call void @longjmp(ptr @ax.jump, i32 1)
  unreachable
}
"""

Thunk = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)


def thunk_name(instance: ir.Instance) -> str:
    """Return the symbol of a root's thunk."""
    return f"ax.thunk.{instance.symbol}"


def _argument(kind: Type, number: int, lines: list[str]) -> tuple[str, int]:
    """Read one argument from the words from `number` on; return its value and the words it took."""

    def word(at: int) -> str:
        lines.append(f"  %a{at} = getelementptr i64, ptr %arguments, i64 {at}")
        lines.append(f"  %w{at} = load i64, ptr %a{at}")
        return f"%w{at}"

    first, value = word(number), f"%x{number}"
    match kind:
        case SliceType() | TextType():
            second = word(number + 1)
            lines.append(f"  %q{number} = inttoptr i64 {first} to ptr")
            lines.append(f"  %y{number} = insertvalue {PAIR} poison, ptr %q{number}, 0")
            lines.append(f"  {value} = insertvalue {PAIR} %y{number}, i64 {second}, 1")
            return value, 2
        case StructType() | ArrayRefType():
            lines.append(f"  {value} = inttoptr i64 {first} to ptr")
        case BoolType():
            lines.append(f"  {value} = trunc i64 {first} to i1")
        case EnumType():
            lines.append(f"  {value} = trunc i64 {first} to i32")
        case ScalarType(scalar):
            bits = scalar.bits
            if kind.is_float:
                lines.append(f"  %t{number} = trunc i64 {first} to i{bits}" if bits < 64 else "")
                source = f"%t{number}" if bits < 64 else first
                lines.append(f"  {value} = bitcast i{bits} {source} to {type_name(kind)}")
            elif bits < 64:
                lines.append(f"  {value} = trunc i64 {first} to i{bits}")
            else:
                return first, 1
        case _:
            raise TypeError(f"a root cannot take {kind}")
    return value, 1


def _thunk(instance: ir.Instance) -> str:
    lines: list[str] = []
    arguments: list[str] = []
    aggregate = isinstance(instance.result, (StructType, ArrayRefType))
    if aggregate:
        arguments.append("ptr %result")
    number = 0
    for parameter in instance.parameters:
        value, words = _argument(parameter.type, number, lines)
        arguments.append(f"{type_name(parameter.type)} {value}")
        number += words
    result = "void" if aggregate else type_name(instance.result)
    convention = "" if instance.options.export else "fastcc "
    call = f'call {convention}{result} @"{instance.symbol}"({", ".join(arguments)})'
    if result == "void":
        lines.append(f"  {call}")
    else:
        lines.append(f"  %value = {call}")
        stored = "%value"
        if isinstance(instance.result, BoolType):
            lines.append("  %byte = zext i1 %value to i8")
            result, stored = "i8", "%byte"
        lines.append(f"  store {result} {stored}, ptr %result, align 1")
    body = "\n".join(lines)
    return f"""
define i32 @"{thunk_name(instance)}"(ptr %result, ptr %arguments) noinline {{
  %jumped = call i32 @_setjmp(ptr @ax.jump) returns_twice
  %first = icmp eq i32 %jumped, 0
  br i1 %first, label %go, label %out
go:
{body}
  ret i32 0
out:
  ret i32 1
}}
"""


class LoadedProgram:
    """A program in executable memory; keep it alive as long as its code may run.

    One thread at a time: the way out of a panic is one place per program.
    """

    def __init__(self, program: ir.Program, level: int) -> None:
        thunks = "".join(_thunk(root) for root in program.roots)
        text = emit_module(program, TRIPLE, extra=_SUPPORT + thunks, defines=("axiom_panic",))
        machine = target_machine(TRIPLE, level, jit=True)
        module = optimise(text, machine, level)
        self._engine = llvm.create_mcjit_compiler(module, machine)
        self._engine.finalize_object()
        record = self._engine.get_global_value_address("ax.panic.record")
        self.panic_record = (ctypes.c_uint64 * PANIC_RECORD_WORDS).from_address(record)

    def address(self, symbol: str) -> int:
        """Return the address of a function by its symbol."""
        return self._engine.get_function_address(symbol)
