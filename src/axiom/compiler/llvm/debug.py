"""DWARF metadata: files, functions, lines, local variables and static storage.

Files of this package are named relative to `SOURCE_ROOT`, so that objects do not depend on where the
package lies; tools map that prefix back to the package's folder. Each Python file is a compile unit of its
own, so that a debugger takes a static of the file at hand before one of the same name elsewhere. Structs
and arrays are DWARF references, because a name stands for the object and not for its address: a debugger
then shows fields and takes `object.field`.
"""

import functools
from pathlib import Path
from typing import Any

from axiom.compiler import ir
from axiom.compiler.diagnostics import Span
from axiom.compiler.llvm.names import quoted
from axiom.compiler.types import (
    ENUM_BITS,
    ArrayRefType,
    BoolType,
    EnumType,
    ScalarType,
    SliceType,
    StructType,
    TextType,
    Type,
    VecType,
    of_element,
)
from axiom.lang.layout import size_of
from axiom.lang.scalars import u8

SOURCE_ROOT = "/axiom-src"
PACKAGE_PARENT = Path(__file__).resolve().parents[3]


@functools.cache
def file_parts(path: str) -> tuple[str, str]:
    """Return the directory and the name by which DWARF knows a file."""
    where = Path(path)
    if where.is_relative_to(PACKAGE_PARENT):
        return SOURCE_ROOT, str(where.relative_to(PACKAGE_PARENT))
    return str(where.parent), where.name


class DebugInfo:
    """Collects the metadata nodes of one module."""

    def __init__(self) -> None:
        self._nodes: list[str] = []
        self._cache: dict[Any, int] = {}
        self._units: dict[str, int] = {}
        self._statics: dict[str, list[int]] = {}
        self._signature = self._add("!DISubroutineType(types: !{null})")

    def _add(self, text: str) -> int:
        self._nodes.append(text)
        return len(self._nodes) - 1

    def _cached(self, key: Any, text: str) -> int:
        if key not in self._cache:
            self._cache[key] = self._add(text)
        return self._cache[key]

    def _file(self, path: str) -> int:
        directory, name = (quoted(part.encode()) for part in file_parts(path))
        return self._cached(("file", path), f'!DIFile(filename: "{name}", directory: "{directory}")')

    def _unit(self, path: str) -> int:
        if path not in self._units:
            self._units[path] = self._add("")
        return self._units[path]

    def rolled_loop(self) -> int:
        """Return a node of its own for the branch back of a loop that must not be unrolled."""
        disabled = self._cached("rolled", '!{!"llvm.loop.unroll.disable"}')
        loop = len(self._nodes)
        return self._add(f"distinct !{{!{loop}, !{disabled}}}")

    def function(self, instance: ir.Instance) -> int:
        """Return the node of a function, under its Python name."""
        file = self._file(instance.span.file)
        name = instance.function.__qualname__.split(".")[-1]
        return self._add(
            f'distinct !DISubprogram(name: "{name}", scope: !{file}, '
            f"file: !{file}, line: {instance.span.line}, type: !{self._signature}, "
            f"scopeLine: {instance.span.line}, spFlags: DISPFlagDefinition, "
            f"unit: !{self._unit(instance.span.file)})"
        )

    def static(self, name: str, kind: StructType | ArrayRefType, span: Span) -> int:
        """Return the node of static storage; span: of its use, as where it is made is not known."""
        base = self._struct(kind) if isinstance(kind, StructType) else self._array(kind.element, kind.count)
        file = self._file(span.file)
        variable = self._add(
            f'distinct !DIGlobalVariable(name: "{name}", scope: !{self._unit(span.file)}, file: !{file}, '
            f"type: !{base}, isLocal: true, isDefinition: true)"
        )
        node = self._add(f"!DIGlobalVariableExpression(var: !{variable}, expr: !DIExpression())")
        self._statics.setdefault(span.file, []).append(node)
        return node

    def location(self, span: Span, function: int) -> int:
        """Return the node of a place in a function."""
        key = ("at", span.line, span.column, function)
        if key not in self._cache:
            text = f"!DILocation(line: {span.line}, column: {span.column + 1}, scope: !{function})"
            self._cache[key] = self._add(text)
        return self._cache[key]

    def variable(self, name: str, kind: Type, argument: int, span: Span, function: int) -> int:
        """Return the node of a local variable; `argument` counts from 1, 0 for other locals."""
        place = f"arg: {argument}, " if argument else ""
        return self._add(
            f'!DILocalVariable(name: "{name}", {place}scope: !{function}, file: !{self._file(span.file)}, '
            f"line: {span.line}, type: !{self.type(kind)})"
        )

    def type(self, kind: Type) -> int:
        """Return the node of a type."""
        match kind:
            case ScalarType(scalar):
                encoding = "float" if kind.is_float else "signed" if kind.integer.signed else "unsigned"
                return self._basic(scalar.type_name, scalar.bits, encoding)
            case BoolType():
                return self._basic("bool", 8, "boolean")
            case EnumType():
                return self._enum(kind)
            case StructType():
                return self._reference(self._struct(kind))
            case ArrayRefType(element, count):
                return self._reference(self._array(element, count))
            case SliceType(element):
                return self._slice(kind, element)
            case TextType():
                return self._slice(kind, u8)
            case VecType(element, lanes):
                bits = 8 if element is bool else element.bits
                base = self.type(BoolType() if element is bool else ScalarType(element))
                count = self._cached(("range", lanes), f"!DISubrange(count: {lanes})")
                return self._cached(
                    kind,
                    f"!DICompositeType(tag: DW_TAG_array_type, flags: DIFlagVector, baseType: !{base}, "
                    f"size: {bits * lanes}, elements: !{{!{count}}})",
                )
            case _:
                return self._basic("None", 8, "unsigned")

    def _basic(self, name: str, bits: int, encoding: str) -> int:
        return self._cached(
            ("basic", name), f'!DIBasicType(name: "{name}", size: {bits}, encoding: DW_ATE_{encoding})'
        )

    def _pointer(self, base: int) -> int:
        text = f"!DIDerivedType(tag: DW_TAG_pointer_type, baseType: !{base}, size: 64)"
        return self._cached(("pointer", base), text)

    def _reference(self, base: int) -> int:
        text = f"!DIDerivedType(tag: DW_TAG_reference_type, baseType: !{base}, size: 64)"
        return self._cached(("reference", base), text)

    def _enum(self, kind: EnumType) -> int:
        if kind not in self._cache:
            members = [
                self._add(f'!DIEnumerator(name: "{kind}.{m.name}", value: {int(m)}, isUnsigned: true)')
                for m in kind.members
            ]
            self._cache[kind] = self._add(
                f'!DICompositeType(tag: DW_TAG_enumeration_type, name: "{kind}", size: {ENUM_BITS}, '
                f"baseType: !{self._basic('u32', 32, 'unsigned')}, "
                f"elements: !{{{', '.join(f'!{m}' for m in members)}}})"
            )
        return self._cache[kind]

    def _array(self, element: Any, count: int) -> int:
        base = self._stored(element)
        span = self._cached(("range", count), f"!DISubrange(count: {count})")
        return self._cached(
            ("array", base, count),
            f"!DICompositeType(tag: DW_TAG_array_type, baseType: !{base}, "
            f"size: {8 * size_of(element) * count}, elements: !{{!{span}}})",
        )

    def _stored(self, element: Any) -> int:
        """Return the node of a type as it lies in memory: structs and arrays by value."""
        kind = of_element(element)
        if isinstance(kind, StructType):
            return self._struct(kind)
        if isinstance(kind, ArrayRefType):
            return self._array(kind.element, kind.count)
        return self.type(kind)

    def _member(self, name: str, base: int, bits: int, offset: int) -> int:
        return self._add(
            f'!DIDerivedType(tag: DW_TAG_member, name: "{name}", baseType: !{base}, '
            f"size: {bits}, offset: {offset})"
        )

    def _slice(self, kind: Type, element: Any) -> int:
        if kind not in self._cache:
            first = self._member("address", self._pointer(self._stored(element)), 64, 0)
            second = self._member("length", self._basic("u64", 64, "unsigned"), 64, 64)
            self._cache[kind] = self._add(
                f'!DICompositeType(tag: DW_TAG_structure_type, name: "{kind}", size: 128, '
                f"elements: !{{!{first}, !{second}}})"
            )
        return self._cache[kind]

    def _struct(self, kind: StructType) -> int:
        key = ("struct", kind)
        if key not in self._cache:
            node = self._cache[key] = self._add("")
            members = [
                self._member(f.name, self._stored(f.type), 8 * size_of(f.type), 8 * f.offset)
                for f in kind.layout.fields.values()
            ]
            listed = ", ".join(f"!{m}" for m in members)
            self._nodes[node] = (
                f'!DICompositeType(tag: DW_TAG_structure_type, name: "{kind}", '
                f"size: {8 * kind.layout.size}, elements: !{{{listed}}})"
            )
        return self._cache[key]

    def lines(self) -> list[str]:
        """Return all metadata of the module."""
        for path, unit in self._units.items():
            statics = self._add(f"!{{{', '.join(f'!{node}' for node in self._statics.get(path, []))}}}")
            self._nodes[unit] = (
                f"distinct !DICompileUnit(language: DW_LANG_Python, file: !{self._file(path)}, "
                'producer: "axiom", isOptimized: true, runtimeVersion: 0, emissionKind: FullDebug, '
                f"globals: !{statics})"
            )
        flags = [
            self._add('!{i32 7, !"Dwarf Version", i32 4}'),
            self._add('!{i32 2, !"Debug Info Version", i32 3}'),
        ]
        named = [
            f"!llvm.dbg.cu = !{{{', '.join(f'!{unit}' for unit in self._units.values())}}}",
            f"!llvm.module.flags = !{{{', '.join(f'!{f}' for f in flags)}}}",
        ]
        return named + [f"!{i} = {text}" for i, text in enumerate(self._nodes)]
