"""Diagnostics: what is wrong, where, and what to write instead.

A `Diagnostic` names a span of source; `render` underlines it. The front end collects several and
raises them together as one `CompileError`.
"""

import ast
import inspect
import linecache
from dataclasses import dataclass
from types import FunctionType

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
    """The syntax tree of one function and the way back to its file."""

    file: str
    first_line: int
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
            self.file,
            line + self.first_line - 1,
            self._character(line, column),
            end_line + self.first_line - 1,
            self._character(end_line, end_column),
        )

    def _character(self, line: int, column: int) -> int:
        """Turn a column in UTF-8 bytes, as `ast` counts, into characters."""
        if not 1 <= line <= len(self.lines):
            return column
        return len(self.lines[line - 1].encode()[:column].decode(errors="replace"))

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


def source_of(function: FunctionType) -> Source:
    """Parse the source text of a Python function (decorators included). Raises Diagnostic."""
    found = _sources.get(function)
    if found is not None:
        return found
    code = function.__code__
    span = Span(code.co_filename, code.co_firstlineno, 0, code.co_firstlineno, 1)
    try:
        lines, first_line = inspect.getsourcelines(function)
        file = inspect.getsourcefile(function) or code.co_filename
        # An indented function is parsed as the body of an `if`, so that columns stay as they are.
        nested = lines[0][:1].isspace()
        module = ast.parse("if 1:\n" + "".join(lines) if nested else "".join(lines))
    except (OSError, SyntaxError, TypeError):
        hint = "functions of the language are written in files"
        raise Diagnostic(span, f"the source of `{function.__qualname__}` cannot be found", hint) from None
    tree = module.body[0]
    if isinstance(tree, ast.If):
        tree = tree.body[0]
        first_line, lines = first_line - 1, ["", *lines]
    if not isinstance(tree, ast.FunctionDef):
        raise Diagnostic(span, "only a plain `def` can be a function of the language")
    _sources[function] = Source(file, first_line, lines, tree, function.__qualname__)
    return _sources[function]
