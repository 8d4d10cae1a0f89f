"""Writing the instructions of one function: names, blocks, stack slots, and checks that panic.

What panics is written to the function's end, out of the way of what usually runs.
"""

from axiom.compiler.diagnostics import Span
from axiom.compiler.llvm.debug import file_parts
from axiom.compiler.llvm.module import PANIC, Module
from axiom.compiler.llvm.names import PAIR
from axiom.lang.panic import PanicReason


class InstructionWriter:
    """Writes instructions, each with the place in the source (`span`, within `scope`) that is current.

    entry: the stack slots, before all else. lines: the instructions. cold: what panics, behind them.
    ended: nothing after the last instruction is reached, until a block starts.
    """

    def __init__(self, module: Module, scope: int, span: Span) -> None:
        self.module, self.scope, self.span = module, scope, span
        self.entry: list[str] = []
        self.lines: list[str] = []
        self.cold: list[str] = []
        self.ended = False
        self._counter = 0

    def name(self) -> str:
        """Return a fresh value name."""
        self._counter += 1
        return f"%v{self._counter}"

    def label(self) -> str:
        """Return a fresh block name."""
        self._counter += 1
        return f"b{self._counter}"

    def emit(self, text: str) -> None:
        """Write an instruction without a result."""
        if not self.ended:
            location = self.module.debug.location(self.span, self.scope)
            self.lines.append(f"  {text}, !dbg !{location}")

    def value(self, text: str) -> str:
        """Write an instruction and return its result."""
        name = self.name()
        self.emit(f"{name} = {text}")
        return name

    def block(self, label: str) -> None:
        """Start a block."""
        self.lines.append(f"{label}:")
        self.ended = False

    def branch(self, label: str, note: str = "") -> None:
        """Go to a block; note: metadata of the branch."""
        self.emit(f"br label %{label}{note}")
        self.ended = True

    def branch_if(self, condition: str, yes: str, no: str) -> None:
        """Go to one of two blocks."""
        self.emit(f"br i1 {condition}, label %{yes}, label %{no}")
        self.ended = True

    def slot(self, llvm_type: str, align: int = 0) -> str:
        """Reserve stack for the whole call."""
        name = self.name()
        self.entry.append(f"  {name} = alloca {llvm_type}{f', align {align}' if align else ''}")
        return name

    def intrinsic(self, symbol: str, result: str, arguments: list[tuple[str, str]]) -> str:
        """Call an LLVM intrinsic and return its result (empty for void)."""
        types = ", ".join(kind for kind, _ in arguments)
        self.module.declare(symbol, f"declare {result} @{symbol}({types})")
        text = f"call {result} @{symbol}({', '.join(f'{kind} {value}' for kind, value in arguments)})"
        if result == "void":
            self.emit(text)
            return ""
        return self.value(text)

    def require(
        self, condition: str, reason: PanicReason, first: str = "0", second: str = "0", message: bytes = b""
    ) -> None:
        """Panic unless the i1 `condition` holds."""
        if self.ended or condition == "true" or reason in self.module.without:
            return
        span = self.span
        self.module.checks.add((reason, file_parts(span.file)[1], span.line, span.column + 1))
        good, bad = self.label(), self.label()
        self.branch_if(condition, good, bad)
        self.cold.append(f"{bad}:")
        location = self.module.debug.location(self.span, self.scope)
        self.cold.append(f"  {self._panic_call(reason, first, second, message)}, !dbg !{location}")
        self.cold.append(f"  unreachable, !dbg !{location}")
        self.block(good)

    def _panic_call(self, reason: PanicReason, first: str, second: str, message: bytes) -> str:
        text = "zeroinitializer"
        if message:
            text = f"{{ptr {self.module.literal(message)}, i64 {len(message)}}}"
        return f"call void @{PANIC}(i32 {int(reason)}, i64 {first}, i64 {second}, {PAIR} {text}) #1"

    def panic(self, message: bytes) -> None:
        """Panic for good."""
        self.emit(self._panic_call(PanicReason.EXPLICIT, "0", "0", message))
        self.emit("unreachable")
        self.ended = True
