"""One LLVM module as text: declarations, static storage, literals, functions, assembly, metadata."""

from axiom.compiler import ir
from axiom.compiler.diagnostics import Span
from axiom.compiler.llvm.architectures import layout_line
from axiom.compiler.llvm.debug import DebugInfo
from axiom.compiler.llvm.names import PAIR, quoted
from axiom.compiler.types import ArrayRefType, StructType, referred_size
from axiom.lang.memory import Memory
from axiom.lang.panic import PanicReason

PANIC = "axiom_panic"


# A check of the source: its reason, and the file, line and column that it stands at.
CheckSite = tuple[PanicReason, str, int, int]


class Module:
    """Collects what functions refer to, and writes the module."""

    def __init__(
        self,
        triple: str,
        assembly: list[str],
        section: str = "",
        as_written: tuple[str, ...] = (),
        without: frozenset[PanicReason] = frozenset(),
    ) -> None:
        """as_written: packages whose functions are compiled line by line, for a debugger.

        without: checks that are left out, to measure what they cost; never in an image.
        """
        self.triple = triple
        self._as_written = as_written
        self.without = without
        self.section = f'section "{section}" ' if section else ""
        self.debug = DebugInfo()
        self._assembly = assembly
        self._declarations: dict[str, str] = {}
        self._defined: set[str] = set()
        self._literals: dict[bytes, str] = {}
        self._statics: dict[int, str] = {}
        self._places: dict[int, list[ir.StaticPlace]] = {}
        self._attributes: dict[str, int] = {}
        self._kept: list[Memory] = []
        self.functions: list[str] = []
        self.outside: dict[str, Span] = {}
        self.checks: set[CheckSite] = set()

    def declare(self, symbol: str, text: str) -> None:
        """Declare an intrinsic or an outside function once."""
        self._declarations[symbol] = text

    def refer(self, symbol: str, span: Span) -> None:
        """Declare a symbol that assembly or the linker script defines."""
        self.declare(symbol, f'@"{quoted(symbol.encode())}" = external global i8')
        self.outside.setdefault(symbol, span)

    def define(self, symbol: str) -> None:
        """Note that this module defines a symbol itself."""
        self._defined.add(symbol)

    def literal(self, data: bytes) -> str:
        """Return the symbol of constant bytes."""
        if data not in self._literals:
            self._literals[data] = f"@ax.text.{len(self._literals)}"
        return self._literals[data]

    def static(self, place: ir.StaticPlace) -> str:
        """Return the symbol of the static storage that a place lies in."""
        memory = place.memory
        if id(memory) not in self._statics:
            self._statics[id(memory)] = f'@"ax.static.{place.hint}.{len(self._statics)}"'
            self._kept.append(memory)
        self._places.setdefault(id(memory), []).append(place)
        return self._statics[id(memory)]

    def _static_line(self, memory: Memory) -> str:
        """Return the definition of static storage, with its contents at compile time."""
        data = memory.initial
        kind = "constant" if memory.read_only else "global"
        value = f'c"{quoted(data)}"' if any(data) else "zeroinitializer"
        section = f', section "{memory.section}"' if memory.section else ""
        debug = ""
        for place in self._places[id(memory)]:
            # The name of a part of it would be misleading.
            assert isinstance(place.type, (StructType, ArrayRefType))
            if place.offset == 0 and referred_size(place.type) == len(data):
                debug = f", !dbg !{self.debug.static(place.hint, place.type, place.span)}"
                break
        return (
            f"{self._statics[id(memory)]} = internal {kind} [{len(data)} x i8] {value}{section}, "
            f"align {max(memory.align, 64)}{debug}"
        )

    @property
    def has_state(self) -> bool:
        """True when the module refers to static storage that may change."""
        return any(not memory.read_only for memory in self._kept)

    def attributes(self, instance: ir.Instance) -> str:
        """Return the attribute group of a function."""
        target = instance.target
        extra = {"always": " alwaysinline", "never": " noinline"}.get(instance.options.inline, "")
        home = instance.function.__module__
        if any(home == package or home.startswith(f"{package}.") for package in self._as_written):
            extra = " noinline optnone"
        text = (
            f'nounwind noredzone{extra} "target-cpu"="{target.cpu}" "target-features"="{target.features}" '
            f'"prefer-vector-width"="{8 * target.vector_bytes}" '
            f'"min-legal-vector-width"="{8 * target.vector_bytes}" '
            '"frame-pointer"="all" "disable-tail-calls"="true"'
        )
        number = self._attributes.setdefault(text, len(self._attributes) + 2)
        return f"#{number}"

    def text(self) -> str:
        """Return the whole module."""
        self.declare(PANIC, f"declare void @{PANIC}(i32, i64, i64, {PAIR}) #1")
        lines = [*layout_line(self.triple), f'target triple = "{self.triple}"']
        for block in self._assembly:
            lines += [f'module asm "{quoted(line.encode())}"' for line in block.splitlines()]
        lines += [self._static_line(memory) for memory in self._kept]
        for data, symbol in self._literals.items():
            lines.append(f'{symbol} = private unnamed_addr constant [{len(data)} x i8] c"{quoted(data)}"')
        lines += [text for symbol, text in self._declarations.items() if symbol not in self._defined]
        lines += self.functions
        lines.append("attributes #1 = { cold noreturn nounwind nomerge }")
        lines += [f"attributes #{number} = {{ {text} }}" for text, number in self._attributes.items()]
        lines += self.debug.lines()
        return "\n".join(lines) + "\n"
