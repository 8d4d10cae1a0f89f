"""Code of a program for this process, compiled to an object.

Every root gets a thunk with one C signature:
`int thunk(void *result, uint64_t *arguments, uint64_t *record)`. A panic fills the record of the call that
its thread is in, return addresses included, and jumps back out of the thunk, which then returns 1; the
frames that it leaves hold nothing that must be released. Any number of threads may call at the same time.
"""

from axiom.compiler import ir
from axiom.compiler.diagnostics import CompileError, Diagnostic
from axiom.compiler.llvm.codegen import optimise, target_machine
from axiom.compiler.llvm.emit import emit_program
from axiom.compiler.llvm.names import PAIR, type_name
from axiom.compiler.loaded_object import (
    FRAMES_AT,
    JUMP_AT,
    MAX_FRAMES,
    N_FRAMES_AT,
    OUTER_FRAME_AT,
    thunk_name,
)
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
from axiom.lang.panic import PanicReason

TRIPLE = "x86_64-unknown-linux-gnu"
CODE_SECTION = ".text"

_SUPPORT = f"""
@ax.record.key = global i32 0
declare ptr @pthread_getspecific(i32)
declare i32 @pthread_setspecific(i32, ptr)
declare i32 @_setjmp(ptr) returns_twice
declare void @longjmp(ptr, i32) noreturn
declare ptr @llvm.frameaddress.p0(i32)
declare void @llvm.trap() noreturn
define void @axiom_panic(i32 %reason, i64 %first, i64 %second, {PAIR} %message)
    noinline noreturn "frame-pointer"="all" {{
  %key = load i32, ptr @ax.record.key
  %record = call ptr @pthread_getspecific(i32 %key)
  %none = icmp eq ptr %record, null
  br i1 %none, label %nowhere, label %fill
nowhere:
  call void @llvm.trap()
  unreachable
fill:
  %text = extractvalue {PAIR} %message, 0
  %length = extractvalue {PAIR} %message, 1
  %wide = zext i32 %reason to i64
  store i64 %wide, ptr %record
  %p1 = getelementptr i64, ptr %record, i64 1
  store i64 %first, ptr %p1
  %p2 = getelementptr i64, ptr %record, i64 2
  store i64 %second, ptr %p2
  %p3 = getelementptr i64, ptr %record, i64 3
  store ptr %text, ptr %p3
  %p4 = getelementptr i64, ptr %record, i64 4
  store i64 %length, ptr %p4
  %p5 = getelementptr i64, ptr %record, i64 {N_FRAMES_AT}
  %p6 = getelementptr i64, ptr %record, i64 {OUTER_FRAME_AT}
  %outer = load ptr, ptr %p6
  %own = call ptr @llvm.frameaddress.p0(i32 0)
  br label %frame
frame:
  %fp = phi ptr [ %own, %fill ], [ %next, %walk ]
  %n = phi i64 [ 0, %fill ], [ %more, %walk ]
  %from.at = getelementptr i64, ptr %fp, i64 1
  %from = load i64, ptr %from.at
  %to.word = add i64 %n, {FRAMES_AT}
  %to = getelementptr i64, ptr %record, i64 %to.word
  store i64 %from, ptr %to
  %more = add i64 %n, 1
  store i64 %more, ptr %p5
  %full = icmp eq i64 %more, {MAX_FRAMES}
  %next = load ptr, ptr %fp
  %at.end = icmp eq ptr %next, %outer
  %stop = or i1 %full, %at.end
  br i1 %stop, label %leave, label %walk
walk:
  %after = load ptr, ptr %next
  %last = icmp eq ptr %after, %outer
  br i1 %last, label %leave, label %frame
leave:
  %jump = getelementptr i64, ptr %record, i64 {JUMP_AT}
  call void @longjmp(ptr %jump, i32 1)
  unreachable
}}
"""


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


def thunk_call(instance: ir.Instance) -> str:
    """Return the instructions that call a root with %arguments and put what it returns at %result."""
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
    call = f'call {convention}{result} @"{instance.symbol}"({", ".join(arguments)}) noinline'
    if result == "void":
        lines.append(f"  {call}")
    else:
        lines.append(f"  %value = {call}")
        stored = "%value"
        if isinstance(instance.result, BoolType):
            lines.append("  %byte = zext i1 %value to i8")
            result, stored = "i8", "%byte"
        lines.append(f"  store {result} {stored}, ptr %result, align 1")
    return "\n".join(lines)


def _thunk(instance: ir.Instance) -> str:
    return f"""
define i32 @"{thunk_name(instance.symbol)}"(ptr %result, ptr %arguments, ptr %record)
    noinline "frame-pointer"="all" section "{CODE_SECTION}" {{
  %key = load i32, ptr @ax.record.key
  %outer = call ptr @pthread_getspecific(i32 %key)
  %set = call i32 @pthread_setspecific(i32 %key, ptr %record)
  %frame = call ptr @llvm.frameaddress.p0(i32 0)
  %frame.at = getelementptr i64, ptr %record, i64 {OUTER_FRAME_AT}
  store ptr %frame, ptr %frame.at
  %jump = getelementptr i64, ptr %record, i64 {JUMP_AT}
  %jumped = call i32 @_setjmp(ptr %jump) returns_twice
  %back = icmp ne i32 %jumped, 0
  br i1 %back, label %end, label %go
go:
{thunk_call(instance)}
  br label %end
end:
  %reset = call i32 @pthread_setspecific(i32 %key, ptr %outer)
  ret i32 %jumped
}}
"""


def compile_hosted(program: ir.Program, level: int, without: frozenset[PanicReason] = frozenset()) -> bytes:
    """Return the object of a program for this process, without some checks. Raises CompileError."""
    for root in program.roots:
        if root.options.interrupt:
            name = root.function.__qualname__
            text = f"`{name}` is an interrupt handler: only the processor can enter it"
            raise CompileError([Diagnostic(root.span, text, "call what it does, or compile an image")])
    thunks = "".join(_thunk(root) for root in program.roots)
    # Places in the source are found by the distance from a thunk, so that all code is in one section.
    module = emit_program(program, TRIPLE, defines=("axiom_panic",), section=CODE_SECTION, without=without)
    for symbol, span in module.outside.items():
        text = f"the symbol `{symbol}` is defined by the image and does not exist in a process"
        raise CompileError([Diagnostic(span, text)])
    machine = target_machine(TRIPLE, level, jit=True)
    return machine.emit_object(optimise(module.text() + _SUPPORT + thunks, machine, level))
