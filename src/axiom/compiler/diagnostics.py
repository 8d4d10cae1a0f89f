"""Diagnostics: what is wrong, where, and what to write instead.

A `Diagnostic` names a span of source; `render` underlines it. The front end collects several and
raises them together as one `CompileError`.
"""

import ast
import linecache
from dataclasses import dataclass
from types import FunctionType
from typing import cast

SHOWN_DIAGNOSTICS = 20


@dataclass(frozen=True)
class Span:
    """A place in a source file; lines count from 1, columns from 0."""

    file: str
    line: int
    column: int
    end_line: int
    end_column: int


class Diagnostic(Exception):
    """One thing wrong with a program."""

    def __init__(self, span: Span, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.span, self.message, self.hint = span, message, hint

    def render(self) -> str:
        """Return the message with its source line underlined."""
        span = self.span
        text = linecache.getline(span.file, span.line).rstrip("\n")
        end = span.end_column if span.end_line == span.line else len(text)
        marks = " " * span.column + "^" * max(1, end - span.column)
        number = str(span.line)
        margin = " " * len(number)
        lines = [
            f"{span.file}:{span.line}:{span.column + 1}: error: {self.message}",
            f"{number} | {text}",
            f"{margin} | {marks}",
        ]
        if self.hint:
            lines.append(f"{margin} = hint: {self.hint}")
        return "\n".join(lines)


class Poisoned(Exception):
    """An expression uses a name whose definition was already reported."""


class CompileError(Exception):
    """All that is wrong with a program, in the order of its lines."""

    def __init__(self, diagnostics: list[Diagnostic]) -> None:
        places = [(d.span.file, d.span.line, d.span.column, d.message) for d in diagnostics]
        unique = {place: d for place, d in zip(reversed(places), reversed(diagnostics), strict=True)}
        self.diagnostics = [unique[place] for place in sorted(unique)]
        shown = [d.render() for d in self.diagnostics[:SHOWN_DIAGNOSTICS]]
        rest = len(self.diagnostics) - len(shown)
        super().__init__("\n".join([*shown, f"and {rest} more"] if rest else shown))


@dataclass
class Source:
    """The syntax tree of one function and the lines of its file."""

    file: str
    lines: list[str]
    tree: ast.FunctionDef
    name: str

    def span(self, node: ast.AST) -> Span:
        """Return where `node` stands in the file."""
        line = getattr(node, "lineno", 1)
        end_line = getattr(node, "end_lineno", line) or line
        column = getattr(node, "col_offset", 0)
        end_column = getattr(node, "end_col_offset", column + 1) or column + 1
        return Span(
            self.file, line, self._character(line, column), end_line, self._character(end_line, end_column)
        )

    def _character(self, line: int, column: int) -> int:
        """Turn a column in UTF-8 bytes, as `ast` counts, into characters."""
        text = self.lines[line - 1] if line <= len(self.lines) else ""
        return column if text.isascii() else len(text.encode()[:column].decode(errors="replace"))

    def header(self) -> Span:
        """Return the span of `def name`."""
        tree = self.tree
        span = self.span(tree)
        end = span.column + len("def ") + len(tree.name)
        return Span(span.file, span.line, span.column, span.line, end)

    def comment_above(self, node: ast.stmt) -> str:
        """Return the comment lines directly above a statement, joined."""
        found: list[str] = []
        for line in reversed(self.lines[: node.lineno - 1]):
            text = line.strip()
            if not text.startswith("#"):
                break
            found.insert(0, text.lstrip("# "))
        return " ".join(found)


_sources: dict[FunctionType, Source] = {}
# The functions of a file by the line at which they begin, decorators included, and the text they are from.
_files: dict[str, tuple[list[str], dict[int, ast.FunctionDef]]] = {}


def _functions_of(file: str) -> tuple[list[str], dict[int, ast.FunctionDef]]:
    linecache.checkcache(file)
    lines = linecache.getlines(file)
    if file not in _files or _files[file][0] != lines:
        found: dict[int, ast.FunctionDef] = {}
        pending: list[ast.AST] = [ast.parse("".join(lines))]
        while pending:
            node = pending.pop()
            if isinstance(node, ast.FunctionDef):
                found[min([node.lineno, *(d.lineno for d in node.decorator_list)])] = node
            for block in ("body", "orelse", "finalbody", "handlers", "cases"):
                inner = getattr(node, block, None)
                pending += cast("list[ast.AST]", inner) if isinstance(inner, list) else []
        _files[file] = (lines, found)
    return _files[file]


def source_of(function: FunctionType) -> Source:
    """Return the syntax tree of a Python function. Raises Diagnostic."""
    found = _sources.get(function)
    if found is not None:
        return found
    code = function.__code__
    span = Span(code.co_filename, code.co_firstlineno, 0, code.co_firstlineno, 1)
    try:
        lines, trees = _functions_of(code.co_filename)
    except (OSError, SyntaxError):
        lines, trees = [], {}
    if not lines:
        hint = "functions of the language are written in files"
        raise Diagnostic(span, f"the source of `{function.__qualname__}` cannot be found", hint)
    tree = trees.get(code.co_firstlineno)
    if tree is None or tree.name != function.__name__:
        raise Diagnostic(span, "only a plain `def` can be a function of the language")
    _sources[function] = Source(code.co_filename, lines, tree, function.__qualname__)
    return _sources[function]
