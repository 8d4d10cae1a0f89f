"""Diagnostics: what is wrong, where, and what to write instead.

A `Diagnostic` names a span of source; `render` underlines it. The front end collects several and
raises them together as one `CompileError`.
"""

import ast
import inspect
import linecache
import textwrap
from dataclasses import dataclass
from types import FunctionType


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
    """All that is wrong with a program."""

    def __init__(self, diagnostics: list[Diagnostic]) -> None:
        self.diagnostics = diagnostics
        super().__init__("\n".join(d.render() for d in diagnostics))


@dataclass
class Source:
    """The syntax tree of one function and the way back to its file."""

    file: str
    first_line: int
    indent: int
    tree: ast.FunctionDef
    name: str

    def span(self, node: ast.AST) -> Span:
        """Return where `node` stands in the file."""
        line = getattr(node, "lineno", 1)
        end_line = getattr(node, "end_lineno", line) or line
        column = getattr(node, "col_offset", 0)
        end_column = getattr(node, "end_col_offset", column + 1) or column + 1
        return Span(
            self.file,
            line + self.first_line - 1,
            column + self.indent,
            end_line + self.first_line - 1,
            end_column + self.indent,
        )


_sources: dict[FunctionType, Source] = {}


def source_of(function: FunctionType) -> Source:
    """Parse the source text of a Python function (decorators included)."""
    found = _sources.get(function)
    if found is not None:
        return found
    lines, first_line = inspect.getsourcelines(function)
    text = "".join(lines)
    tree = ast.parse(textwrap.dedent(text)).body[0]
    file = inspect.getsourcefile(function) or "<unknown>"
    if not isinstance(tree, ast.FunctionDef):
        span = Span(file, first_line, 0, first_line, 1)
        raise CompileError([Diagnostic(span, "only a plain `def` can be a function of the language")])
    indent = len(lines[0]) - len(lines[0].lstrip())
    _sources[function] = Source(file, first_line, indent, tree, function.__qualname__)
    return _sources[function]
