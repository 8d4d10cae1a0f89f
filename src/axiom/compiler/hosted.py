"""Compiled functions in this process, callable from Python.

`load_hosted([f, g])` compiles, or finds what was compiled before; `hosted(f, ...)` calls, from any number
of threads. A slice is passed as a C-contiguous NumPy array or a `Slice` over writable bytes, and is read
and written in place; a struct as a value made under CPython or as a NumPy byte array; scalars as Python
numbers or as scalars. Results come back as the types of the language. A panic raises `HostedPanic`, a
`Panic` that knows its places in the source.
"""

import contextlib
import ctypes
import struct
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from axiom.compiler import ir
from axiom.compiler.checks import check_program
from axiom.compiler.elf_symbols import code_offset
from axiom.compiler.fingerprint import fingerprint
from axiom.compiler.frontend.calls import parameter_patterns, resolve_annotation
from axiom.compiler.frontend.context import function_scope
from axiom.compiler.frontend.program import build_program
from axiom.compiler.llvm.jit import compile_hosted
from axiom.compiler.loaded_object import (
    FRAMES_AT,
    N_FRAMES_AT,
    CodePanic,
    LoadedObject,
    thunk_name,
)
from axiom.compiler.object_cache import StoredObject, read_object, write_object
from axiom.compiler.symbolise import Place, SymboliseError, symbolise
from axiom.compiler.types import (
    AnyArray,
    AnyVec,
    ArrayRefType,
    BoolType,
    EnumType,
    ScalarType,
    SliceType,
    StructType,
    TextType,
    Type,
    VecType,
    VoidType,
    of_annotation,
)
from axiom.lang.functions import Function
from axiom.lang.layout import size_of
from axiom.lang.memory import Memory, Slice, load_value
from axiom.lang.panic import Panic, PanicReason
from axiom.lang.targets import BASELINE, Target
from axiom.lang.vectors import Vec, dtype_of


def _buffer_address(data: bytearray | memoryview) -> int:
    return np.frombuffer(data, np.uint8).__array_interface__["data"][0] if len(data) else 0


def _slice_words(kind: SliceType, value: Any) -> list[int]:
    if isinstance(value, Slice):
        view = cast(Any, value)
        return [_buffer_address(view.place_memory.data) + int(view.place_offset), int(view.count)]
    if isinstance(value, np.ndarray):
        array = cast("np.ndarray[Any, Any]", value)
        if array.flags["C_CONTIGUOUS"]:
            return [array.__array_interface__["data"][0], array.nbytes // size_of(kind.element)]
    raise TypeError("a slice is passed as a C-contiguous NumPy array or a Slice")


def _words(kind: Type, value: Any) -> list[int]:
    match kind:
        case ScalarType(scalar):
            raw = struct.pack(scalar.struct_code, scalar(value).value)
            return [int.from_bytes(raw, "little")]
        case BoolType() | EnumType():
            return [int(value)]
        case SliceType():
            return _slice_words(kind, value)
        case TextType():
            raw = np.frombuffer(value.encode() + b"\0", np.uint8)
            return [raw.__array_interface__["data"][0], len(raw) - 1]
        case StructType() | ArrayRefType():
            if isinstance(value, np.ndarray):
                return [value.__array_interface__["data"][0]]
            if isinstance(value, int):
                return [value]
            return [_buffer_address(value.place_memory.data) + value.place_offset]
        case _:
            raise TypeError(f"{kind} is not passed from Python")


def _result_size(kind: Type) -> int:
    match kind:
        case VoidType():
            return 0
        case VecType(element, lanes):
            return lanes * (1 if element is bool else size_of(element))
        case StructType():
            return kind.layout.size
        case ArrayRefType(element, count):
            return count * size_of(element)
        case _:
            return 16


def _result(kind: Type, data: bytearray) -> Any:
    memory = Memory(data)
    match kind:
        case VoidType():
            return None
        case ScalarType(scalar):
            return load_value(memory, 0, scalar)
        case BoolType():
            return data[0] != 0
        case EnumType(members):
            return load_value(memory, 0, members)
        case VecType(element):
            return Vec[Any](element, np.frombuffer(data, dtype_of(element)).copy())
        case StructType(cls):
            return load_value(memory, 0, cls)
        case SliceType():
            return struct.unpack_from("<QQ", data)
        case _:
            raise TypeError(f"{kind} is not returned to Python")


@dataclass(frozen=True)
class _Root:
    """What is called under a function's name."""

    symbol: str
    parameters: list[Type]
    result: Type


class Hosted:
    """Compiled functions, by the functions that they were made from."""

    def __init__(self, functions: list[Function], stored: StoredObject) -> None:
        self._loaded = LoadedObject(stored.data)
        self._stored = stored
        self._functions = functions
        self._roots = {
            id(f): self._root(f, facts) for f, facts in zip(functions, stored.roots, strict=True)
        }

    def _root(self, function: Function, facts: dict[str, Any]) -> _Root:
        scope = function_scope(function)
        parameters = [kind for _, kind in parameter_patterns(function, scope) if isinstance(kind, Type)]
        written = resolve_annotation(function.python.__annotations__.get("return"), scope, function)
        result = of_annotation(written)
        if isinstance(result, AnyVec):
            result = VecType(result.element, facts["count"])
        elif isinstance(result, AnyArray):
            result = ArrayRefType(result.element, facts["count"])
        assert isinstance(result, Type)
        return _Root(facts["symbol"], parameters, result)

    def __call__(self, function: Any, *arguments: Any) -> Any:
        """Call the compiled form of `function`."""
        root = self._roots[id(function)]
        if len(arguments) != len(root.parameters):
            raise TypeError(f"{root.symbol} takes {len(root.parameters)} arguments")
        words: list[int] = []
        for parameter, argument in zip(root.parameters, arguments, strict=True):
            words += _words(parameter, argument)
        try:
            data = self._loaded.call(root.symbol, words, _result_size(root.result))
        except CodePanic as panic:
            raise hosted_panic(self._stored, self._loaded, panic) from None
        return _result(root.result, data[: max(1, _result_size(root.result))])

    @property
    def stored(self) -> StoredObject:
        """The object, and where it is kept."""
        return self._stored

    def symbol(self, function: Any) -> str:
        """Return the symbol of a function that was loaded."""
        return self._roots[id(function)].symbol

    def symbol_address(self, symbol: str) -> int:
        """Return the address of an exported function."""
        return self._loaded.address(symbol)


class HostedPanic(Panic):
    """A panic of compiled code. `frames` are return addresses in the object's code, the innermost first."""

    def __init__(self, reason: PanicReason, detail: str, stored: StoredObject, frames: list[int]) -> None:
        super().__init__(reason, detail)
        self.frames = frames
        self._stored = stored

    def places(self) -> list[Place]:
        """Return where each frame stands in the source, the outermost first, inlined ones included."""
        with contextlib.ExitStack() as stack:
            path = self._stored.path
            if path is None or not path.is_file():
                file = stack.enter_context(tempfile.NamedTemporaryFile(suffix=".o"))
                file.write(self._stored.data)
                file.flush()
                path = Path(file.name)
            groups = symbolise(path, [frame - 1 for frame in self.frames])
        return [place for group in reversed(groups) for place in reversed(group) if place.file]

    def traceback(self) -> str:
        """Return what Python would print of a panic there, without the last line."""
        lines = ["Traceback (most recent call last):"]
        try:
            places = self.places()
        except SymboliseError as error:
            return "\n".join([*lines, f"  (no places: {error})"])
        return "\n".join([*lines, *(line for place in places for line in place.lines())])

    def __getattr__(self, name: str) -> Any:
        """Give `__notes__`, which Python and pytest ask for when nobody catches the exception."""
        if name != "__notes__":
            raise AttributeError(name)
        return [f"In compiled code: {self.traceback()}"]


def hosted_panic(stored: StoredObject, loaded: LoadedObject, panic: CodePanic) -> HostedPanic:
    """Return the panic of compiled code as what Python raises."""
    reason, first, second, text, length, n_frames = panic.record[: N_FRAMES_AT + 1]
    detail = ctypes.string_at(text, length).decode() if length else ""
    if reason == PanicReason.BOUNDS:
        detail = f"index {first} of {second}"
    symbol = thunk_name(stored.roots[0]["symbol"])
    base = loaded.address(symbol) - code_offset(stored.data, symbol)
    frames = [frame - base for frame in panic.record[FRAMES_AT : FRAMES_AT + n_frames]]
    return HostedPanic(PanicReason(reason), detail, stored, frames)


def load_hosted(functions: list[Any], target: Target = BASELINE, level: int = 3) -> Hosted:
    """Load functions, compiled for `target` and checked, into this process.

    What was compiled before from the same sources and constants comes from the cache. Every parameter of a
    root needs one run-time type: wrap a generic function in a closure. Raises CompileError.
    """
    roots: list[Function] = list(functions)
    key = fingerprint(roots, target, level)
    stored = read_object(key) if key is not None else None
    if stored is None:
        stored = _compile(_checked(roots, target), level)
        if key is not None:
            stored = write_object(key, stored)
    return Hosted(roots, stored)


def load_at_levels(functions: list[Any], levels: Sequence[int], target: Target = BASELINE) -> list[Hosted]:
    """Load functions optimised to each of several levels, without keeping them. Raises CompileError."""
    roots: list[Function] = list(functions)
    program = _checked(roots, target)
    return [Hosted(roots, _compile(program, level)) for level in levels]


def load_without(
    functions: list[Any], without: frozenset[PanicReason], target: Target = BASELINE
) -> Hosted:
    """Load functions without some of their run-time checks, to measure what these cost. Nothing is kept.

    What a check would have stopped is undefined. Raises CompileError.
    """
    roots: list[Function] = list(functions)
    return Hosted(roots, _compile(_checked(roots, target), 3, without))


def _checked(roots: list[Function], target: Target) -> ir.Program:
    program = build_program(roots, target)
    check_program(program)
    return program


def _compile(
    program: ir.Program, level: int, without: frozenset[PanicReason] = frozenset()
) -> StoredObject:
    return StoredObject(compile_hosted(program, level, without), [_facts(root) for root in program.roots])


def _facts(root: ir.Instance) -> dict[str, Any]:
    """Return what the signature does not say of a root."""
    facts: dict[str, Any] = {"symbol": root.symbol}
    if isinstance(root.result, VecType):
        facts["count"] = root.result.lanes
    elif isinstance(root.result, ArrayRefType):
        facts["count"] = root.result.count
    return facts
