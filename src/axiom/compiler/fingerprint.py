"""A key of everything that decides what a set of functions compiles to, found without compiling them.

The functions are followed through their closures, globals and annotations to every value that they can
see. Code is known by the contents of its source files, storage by its bytes at start, and anything of
`lang` and the compiler by one digest of both. A value that is none of these gives no key.
"""

import ast
import dataclasses
import enum
import functools
import hashlib
import sys
import types
import typing
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import axiom.lang
from axiom.compiler.llvm.codegen import llvm_version
from axiom.lang.functions import Function
from axiom.lang.layout import StructLayout
from axiom.lang.memory import Array, Memory, Slice
from axiom.lang.scalars import Scalar
from axiom.lang.targets import Target
from axiom.lang.vectors import Vec

_PLAIN = (bool, int, float, complex, str, bytes, range, type(None), type(Ellipsis))
_OPAQUE_ROOMS = ("axiom.lang", "axiom.compiler")


class _NoKey(Exception):
    """A value whose contents cannot be told."""


@functools.cache
def _file_digest(path: str, _changed: float) -> bytes:
    return hashlib.sha256(Path(path).read_bytes()).digest()


def _digest_of(path: str) -> bytes:
    return _file_digest(path, Path(path).stat().st_mtime)


@functools.cache
def toolchain_digest() -> bytes:
    """Return a digest of the language, the compiler, LLVM and Python."""
    digest = hashlib.sha256(f"{llvm_version()}|{sys.version}".encode())
    package = Path(axiom.lang.__file__).parents[1]
    for room in ("lang", "compiler"):
        for file in sorted((package / room).rglob("*.py")):
            digest.update(str(file.relative_to(package)).encode() + _digest_of(str(file)))
    return digest.digest()


def fingerprint(functions: list[Any], target: Target, level: int) -> str | None:
    """Return the key of what `functions` compile to, or None when something that they see has no key."""
    walk = _Walk()
    try:
        walk.note("toolchain", toolchain_digest(), repr(target), level)
        for function in functions:
            walk.refer(function)
        return walk.finish()
    except (_NoKey, OSError):
        return None


@functools.cache
def _names(code: types.CodeType) -> tuple[str, ...]:
    """Return the names that code and the code inside it look up."""
    found = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            found.update(_names(constant))
    return tuple(sorted(found))


@functools.cache
def _outside(module: str) -> bool:
    """Tell whether a module is Python's or a library's: known by its name and Python's version."""
    if module.startswith(_OPAQUE_ROOMS) or module.partition(".")[0] in sys.stdlib_module_names:
        return True
    file = getattr(sys.modules.get(module), "__file__", None) or ""
    return "site-packages" in file


class _Walk:
    """Visits every value once, in the order in which it is met."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._numbers: dict[int, int] = {}
        self._pending: list[Any] = []

    def note(self, *parts: object) -> None:
        """Take plain facts into the key."""
        for part in parts:
            raw = part if isinstance(part, bytes) else repr(part).encode()
            self._hash.update(len(raw).to_bytes(8, "little") + raw)

    def refer(self, value: Any) -> None:
        """Take a value into the key: a plain one at once, any other by its number, to be visited later."""
        if type(value) in _PLAIN:
            self.note(type(value).__name__, value)
            return
        if id(value) not in self._numbers:
            self._numbers[id(value)] = len(self._pending)
            self._pending.append(value)
        self.note("see", self._numbers[id(value)])

    def finish(self) -> str:
        """Visit everything that was met; return the key."""
        at = 0
        while at < len(self._pending):
            self.note("value", at)
            self._visit(self._pending[at])
            at += 1
        return self._hash.hexdigest()[:40]

    def _each(self, kind: str, values: Iterable[Any]) -> None:
        items = list(values)
        self.note(kind, len(items))
        for item in items:
            self.refer(item)

    def _visit(self, value: Any) -> None:
        match value:
            case Function():
                self._each("fn", [value.options, value.python, value.owner])
            case types.FunctionType():
                self._function(value)
            case types.ModuleType():
                self.note("module", value.__name__)
            case enum.Enum():
                self.note("member", value.name)
                self.refer(type(value))
                self.refer(value.value)
            case type():
                self._class(cast("type[Any]", value))
            case tuple() | list():
                items = cast("list[Any]", value)
                self._each(type(items).__name__, items)
                if type(items) not in (tuple, list):
                    # A named tuple: its methods count as well.
                    self.refer(type(items))
            case set() | frozenset():
                self._each("set", sorted(cast("set[Any]", value), key=repr))
            case dict():
                pairs = cast("dict[Any, Any]", value)
                self._each("dict", [part for pair in pairs.items() for part in pair])
            case Scalar():
                self.note(value.type_name, value.value)
            case Vec():
                lanes = cast("Vec[Any]", value)
                self.refer(lanes.element)
                self.note("vec", lanes.data.tobytes())
            case Array() | Slice():
                view = cast("Array[Any] | Slice[Any]", value)
                self.note(type(view).__name__, view.place_offset, view.count)
                self._each("place", [view.place_memory, view.element])
            case Memory():
                self.note(value.initial, value.static_name, value.read_only, value.align, value.section)
                if not value.static_name:
                    self.note(bytes(value.data))
            case functools.partial():
                self._each("partial", [value.func, value.args, value.keywords])
            case types.MethodType():
                self._each("method", [value.__func__, value.__self__])
            case property():
                self._each("property", [value.fget])
            case staticmethod() | classmethod():
                self.refer(cast(Any, value).__func__)
            case functools.cached_property():
                self.refer(cast(Any, value).func)
            case types.BuiltinFunctionType() | types.MethodDescriptorType() | types.WrapperDescriptorType():
                self.note("builtin", value.__qualname__)
            case _:
                self._other(value)

    def _function(self, value: types.FunctionType) -> None:
        self.note("function", value.__module__, value.__qualname__)
        if _outside(value.__module__):
            return
        code = value.__code__
        self.note(code.co_filename, code.co_firstlineno, _digest_of(code.co_filename))
        self._each("annotations", [p for pair in value.__annotations__.items() for p in pair])
        self._each("defaults", value.__defaults__ or ())
        names = _names(code)
        for name, cell in zip(code.co_freevars, value.__closure__ or (), strict=True):
            self.note("closure", name)
            try:
                self.refer(cell.cell_contents)
            except ValueError:
                self.note("unset")
        for name in names:
            if name not in value.__globals__:
                continue
            found = value.__globals__[name]
            self.note("global", name)
            self.refer(found)
            if isinstance(found, types.ModuleType):
                self._attributes(found, names)

    def _attributes(self, module: types.ModuleType, names: tuple[str, ...]) -> None:
        if _outside(module.__name__):
            return
        for name in names:
            if hasattr(module, name):
                self.note("attribute", name)
                self.refer(getattr(module, name))

    def _class(self, cls: type[Any]) -> None:
        self.note("class", cls.__module__, cls.__qualname__)
        if cls.__module__ == "builtins" or _outside(cls.__module__):
            return
        self._each("bases", cls.__bases__)
        if issubclass(cls, enum.Enum):
            for member in cls:
                self.note(member.name, member.value)
        layout = cls.__dict__.get("__axiom_layout__")
        if isinstance(layout, StructLayout):
            self.note(layout.size, layout.align, layout.volatile)
            for field in layout.fields.values():
                self.note(field.name, field.offset)
                self.refer(field.type)
        for name, member in dict(vars(cls)).items():
            if not name.startswith("__") and isinstance(member, _METHODS):
                self.note(name)
                self.refer(member)

    def _other(self, value: Any) -> None:
        """Type variables, generic aliases, and instances known by their class and attributes."""
        origin = typing.get_origin(value)
        if origin is not None:
            self._each("alias", [origin, *typing.get_args(value)])
        elif isinstance(value, (typing.TypeVar, types.UnionType, ast.AST)):
            self.note(str(value))
        elif isinstance(cast(Any, type(value)).__dict__.get("__axiom_layout__"), StructLayout):
            self.note("struct", value.place_offset)
            self._each("place", [type(value), value.place_memory])
        elif dataclasses.is_dataclass(value):
            fields = dataclasses.fields(value)
            self._each("dataclass", [type(value), *(getattr(value, f.name) for f in fields)])
        elif _outside(type(value).__module__) and not hasattr(value, "__dict__"):
            if getattr(value, "__module__", "") and hasattr(value, "__qualname__"):
                self.note("outside", value.__module__, value.__qualname__)
                return
            raise _NoKey
        elif hasattr(value, "__dict__"):
            self._each("instance", [type(value), vars(value)])
        else:
            raise _NoKey


_METHODS = (types.FunctionType, Function, property, staticmethod, classmethod, functools.cached_property)
