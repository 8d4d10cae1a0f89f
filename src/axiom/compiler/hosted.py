"""Compiled functions in this process, callable from Python.

`load_hosted([f, g])` compiles; `hosted(f, ...)` calls. A slice is passed as a C-contiguous NumPy array
or a `Slice` over writable bytes, and is read and written in place; a struct as a value made under
CPython or as a NumPy byte array; scalars as Python numbers or as scalars. Results come back as
the types of the language. A panic raises `axiom.lang.Panic`.
"""

import ctypes
import struct
from typing import Any, cast

import numpy as np

from axiom.compiler import ir
from axiom.compiler.checks import check_program
from axiom.compiler.frontend.program import build_program
from axiom.compiler.llvm.jit import LoadedProgram, Thunk, thunk_name
from axiom.compiler.types import (
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


class Hosted:
    """Compiled functions, by the functions that they were made from."""

    def __init__(self, program: ir.Program, level: int) -> None:
        self._loaded = LoadedProgram(program, level)
        self._roots = {id(root.function): root for root in program.roots}
        self._thunks = {
            id(root.function): Thunk(self._loaded.address(thunk_name(root))) for root in program.roots
        }

    def __call__(self, function: Any, *arguments: Any) -> Any:
        """Call the compiled form of `function`."""
        root = self._roots[id(function)]
        if len(arguments) != len(root.parameters):
            raise TypeError(f"{root.symbol} takes {len(root.parameters)} arguments")
        words: list[int] = []
        for parameter, argument in zip(root.parameters, arguments, strict=True):
            words += _words(parameter.type, argument)
        packed = (ctypes.c_uint64 * max(1, len(words)))(*words)
        data = bytearray(max(16, _result_size(root.result)))
        place = (ctypes.c_char * len(data)).from_buffer(data)
        if self._thunks[id(function)](ctypes.addressof(place), ctypes.addressof(packed)):
            raise self._panic()
        del place
        return _result(root.result, data[: max(1, _result_size(root.result))])

    def _panic(self) -> Panic:
        reason, first, second, text, length, _ = self._loaded.panic_record
        detail = ctypes.string_at(text, length).decode() if length else ""
        if reason == PanicReason.BOUNDS:
            detail = f"index {first} of {second}"
        return Panic(PanicReason(reason), detail)

    def panic_address(self) -> int:
        """Return the return address of the last panic, for symbolisation."""
        return int(self._loaded.panic_record[5])

    def symbol_address(self, symbol: str) -> int:
        """Return the address of an exported function."""
        return self._loaded.address(symbol)


def load_hosted(functions: list[Any], target: Target = BASELINE, level: int = 3) -> Hosted:
    """Compile functions for `target`, check them, and load them into this process.

    Every parameter of a root needs one run-time type: wrap a generic function in a closure.
    """
    roots: list[Function] = list(functions)
    program = build_program(roots, target)
    check_program(program)
    return Hosted(program, level)
