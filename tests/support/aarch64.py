"""Run functions of the language as AArch64 machine code: an ELF program for Linux, under `qemu-aarch64`.

`Emulated([f, g], AARCH64)` compiles and links; `call(f, ...)` runs one call in a process, `call_all` many.
Arrays are read and written in place, and come back with what is around them looked at: a store outside of
an array fails the call. A panic raises `Panic` with its reason.
"""

import shutil
import struct
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from axiom.compiler import ir
from axiom.compiler.checks import check_program
from axiom.compiler.frontend.program import build_program
from axiom.compiler.llvm.architectures import triple_of
from axiom.compiler.llvm.codegen import emit_object
from axiom.compiler.llvm.emit import emit_program
from axiom.compiler.llvm.jit import thunk_call, thunk_name
from axiom.compiler.types import BoolType, ScalarType, SliceType, Type, VoidType
from axiom.lang import AARCH64, NEOVERSE_N1, Panic, PanicReason, Target
from axiom.lang.layout import size_of
from axiom.lang.memory import Memory, load_value
from tests.support.aarch64_entry import ARENA, ARENA_BYTES, CALL_WORDS, ENTRY, HEADER_BYTES, table_of

PREFIX = "aarch64-linux-gnu-"
EMULATOR = "qemu-aarch64"
EMULATED: dict[str, Target] = {target.name: target for target in (AARCH64, NEOVERSE_N1)}
# One that has what each target asks for; cortex-a53 has no dot products.
PROCESSORS = {"aarch64": "cortex-a53", "neoverse-n1": "max"}
SECONDS = 120
GUARD = 64
GUARD_BYTE = 0xA5


def require_emulator() -> None:
    """Skip the test when the emulator or the assembler and linker are not installed."""
    programs = [EMULATOR, f"{PREFIX}as", f"{PREFIX}ld"]
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not found (packages qemu-user and binutils-aarch64-linux-gnu)")


@dataclass
class _Call:
    """One call in the arena: where its result lies, and where its arrays do."""

    root: ir.Instance
    record_at: int
    result_at: int
    arrays: list[tuple[Any, int]]


class _Arena:
    """What the program reads: calls first, then arguments and arrays with guards around them."""

    def __init__(self, n_calls: int) -> None:
        self.data = bytearray(HEADER_BYTES + n_calls * 8 * CALL_WORDS)
        self.guards: list[int] = []
        struct.pack_into("<Q", self.data, 0, n_calls)

    def put(self, raw: bytes) -> int:
        """Add bytes at a multiple of 64; return their offset."""
        self._guard()
        self.data += bytes(-len(self.data) % 64)
        at = len(self.data)
        self.data += raw
        self._guard()
        return at

    def _guard(self) -> None:
        self.guards.append(len(self.data))
        self.data += bytes([GUARD_BYTE]) * GUARD

    def check(self, left: bytes) -> None:
        """Fail when anything was written between the arrays."""
        wanted = bytes([GUARD_BYTE]) * GUARD
        assert all(left[at : at + GUARD] == wanted for at in self.guards), "a store outside of an array"


class Emulated:
    """Functions in one AArch64 program, by the functions that they were made from."""

    def __init__(self, functions: Sequence[Any], target: Target, level: int = 3) -> None:
        require_emulator()
        self.program = program = build_program(list(functions), target)
        check_program(program)
        self._target = target
        self._functions = list(functions)
        self._roots = program.roots
        self._folder = tempfile.TemporaryDirectory(prefix="aarch64-")
        code = _object(program, target, level)
        self.path = _linked(Path(self._folder.name), code, program.roots)

    def call(self, function: Any, *arguments: Any) -> Any:
        """Call a function in a process of its own; raises Panic."""
        outcome = self.call_all([(function, arguments)])[0]
        if isinstance(outcome, Panic):
            raise outcome
        return outcome

    def call_all(self, calls: Sequence[tuple[Any, tuple[Any, ...]]]) -> list[Any]:
        """Make calls one after the other in one process; return the result, or the Panic, of each."""
        arena = _Arena(len(calls))
        made = [self._prepare(arena, n, function, given) for n, (function, given) in enumerate(calls)]
        assert len(arena.data) < ARENA_BYTES - (1 << 20)
        command = [EMULATOR, "-cpu", PROCESSORS[self._target.name], str(self.path)]
        done = subprocess.run(command, input=bytes(arena.data), capture_output=True, timeout=SECONDS)
        assert (done.returncode, done.stderr) == (0, b"")
        assert len(done.stdout) == len(arena.data)
        arena.check(done.stdout)
        return [_outcome(call, done.stdout) for call in made]

    def _prepare(self, arena: _Arena, number: int, function: Any, given: tuple[Any, ...]) -> _Call:
        which = next(n for n, known in enumerate(self._functions) if known is function)
        root = self._roots[which]
        words = bytearray()
        arrays: list[tuple[Any, int]] = []
        for parameter, value in zip(root.parameters, given, strict=True):
            if isinstance(parameter.type, SliceType):
                array = cast("np.ndarray[Any, Any]", value)
                at = arena.put(array.tobytes())
                arrays.append((array, at))
                words += struct.pack("<QQ", ARENA + at, array.nbytes // size_of(parameter.type.element))
            else:
                words += _word(parameter.type, value)
        arguments_at, result_at = arena.put(bytes(words)), arena.put(bytes(64))
        record_at = HEADER_BYTES + number * 8 * CALL_WORDS
        struct.pack_into("<QQQ", arena.data, record_at, which, ARENA + arguments_at, ARENA + result_at)
        return _Call(root, record_at, result_at, arrays)


def _word(kind: Type, value: Any) -> bytes:
    if isinstance(kind, ScalarType):
        return struct.pack(kind.scalar.struct_code, kind.scalar(value).value).ljust(8, b"\0")
    if isinstance(kind, BoolType):
        return struct.pack("<Q", value)
    raise TypeError(f"{kind} is not passed to an emulated function")


def _outcome(call: _Call, left: bytes) -> Any:
    for array, at in call.arrays:
        array[...] = np.frombuffer(left, array.dtype, array.size, at).reshape(array.shape)
    panicked, reason, first, second = struct.unpack_from("<QQQQ", left, call.record_at + 24)
    if panicked:
        return Panic(PanicReason(reason), f"{first} {second}")
    kind = call.root.result
    if isinstance(kind, VoidType):
        return None
    if isinstance(kind, BoolType):
        return left[call.result_at] != 0
    assert isinstance(kind, ScalarType)
    return load_value(Memory(bytearray(left[call.result_at : call.result_at + 8])), 0, kind.scalar)


def _object(program: ir.Program, target: Target, level: int) -> bytes:
    thunks = "".join(
        f'define void @"{thunk_name(root.symbol)}"(ptr %result, ptr %arguments) {{\n'
        f"{thunk_call(root)}\n  ret void\n}}\n"
        for root in program.roots
    )
    module = emit_program(program, triple_of(target))
    assert not module.outside
    return emit_object(module.text() + thunks, triple_of(target), level)


def _linked(folder: Path, code: bytes, roots: list[ir.Instance]) -> Path:
    entry = folder / "entry.s"
    entry.write_text(ENTRY + table_of([thunk_name(root.symbol) for root in roots]))
    (folder / "code.o").write_bytes(code)
    path = folder / "program"
    parts = [str(folder / "entry.o"), str(folder / "code.o")]
    _run([f"{PREFIX}as", str(entry), "-o", parts[0]])
    _run([f"{PREFIX}ld", "-static", f"--section-start=.arena={ARENA:#x}", *parts, "-o", str(path)])
    return path


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, timeout=SECONDS)
    assert done.returncode == 0, done.stderr.decode()
