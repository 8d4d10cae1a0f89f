"""What is not in the language, in the author's terms, and what to write instead."""

import ast
import builtins
from typing import Any

Refusal = tuple[str, str]

STATEMENTS: dict[str, Refusal] = {
    "Delete": ("`del` is not in the language", "a local variable ends with its function"),
    "Try": ("exceptions are not in the language", "return a status, or `panic(...)` when nothing can help"),
    "TryStar": (
        "exceptions are not in the language",
        "return a status, or `panic(...)` when nothing can help",
    ),
    "Raise": ("exceptions are not in the language", "return a status, or write `panic(...)`"),
    "Import": ("an import stands at the top of the file", "move it out of the function"),
    "ImportFrom": ("an import stands at the top of the file", "move it out of the function"),
    "Global": (
        "`global` is not in the language",
        "keep the value in a field of a struct made by `static_var`",
    ),
    "Nonlocal": (
        "`nonlocal` is not in the language",
        "keep the value in a field of a struct made by `static_var`",
    ),
    "FunctionDef": (
        "a function inside a function is not in the language",
        "define it outside, with @fn, and pass what it needs",
    ),
    "ClassDef": ("a class inside a function is not in the language", "define it at module level"),
    "AsyncFunctionDef": ("coroutines are not in the language", "write a function that does one step"),
    "AsyncFor": ("coroutines are not in the language", "write a function that does one step"),
    "AsyncWith": ("coroutines are not in the language", "write a function that does one step"),
}

EXPRESSIONS: dict[str, Refusal] = {
    "Lambda": ("a lambda is not in the language", "define a function with @fn"),
    "Await": ("coroutines are not in the language", "write a function that does one step"),
    "Yield": ("generators are not in the language", "write a function that does one step"),
    "YieldFrom": ("generators are not in the language", "write a function that does one step"),
    "NamedExpr": ("`:=` is not in the language", "assign in a statement of its own"),
    "Starred": ("`*` does not spread arguments in the language", "write each one out"),
    "SetComp": ("a set comprehension is not in the language", "use a tuple of compile-time values"),
}

OPERATORS: dict[type[ast.operator], Refusal] = {
    ast.Pow: ("`**` is not in the language at run time", "multiply, or shift `1 << n`"),
    ast.MatMult: ("`@` is not in the language", "call a function"),
}

# What a beginner calls on run-time values, and what the language has instead.
CALLS: dict[str, str] = {
    "len": "write `.length`",
    "range": "write `urange(...)` after `for ... in`",
    "min": "write `minimum(a, b)`",
    "max": "write `maximum(a, b)`",
    "abs": "write `absolute(x)` for floats; compare and negate integers",
    "int": "convert to a type of stated width, for example `u64(x)`",
    "float": "convert to a type of stated width, for example `f32(x)`",
    "round": "write `round_even(x)`",
    "sum": "add in a loop",
    "bool": "compare explicitly, for example `x != 0`",
    "str": "write text with `write_to(sink, f'...')`",
    "print": "write text with `write_to(sink, f'...')`",
}

# Builtins that act instead of computing: they would act on the compiler.
_ACTING = ("breakpoint", "compile", "delattr", "eval", "exec", "exit", "globals", "input", "locals")
ACTIONS: tuple[Any, ...] = tuple(
    getattr(builtins, name)
    for name in (*_ACTING, "open", "print", "quit", "setattr", "vars", "__import__")
    if hasattr(builtins, name)
)


def statement_refusal(node: ast.stmt) -> Refusal:
    """Return why a statement is refused, and a hint."""
    name = type(node).__name__
    return STATEMENTS.get(name, (f"`{name.lower()}` statements are not in the language", ""))


def expression_refusal(node: ast.expr) -> Refusal:
    """Return why an expression is refused, and a hint."""
    return EXPRESSIONS.get(type(node).__name__, (f"`{ast.unparse(node)}` is not in the language", ""))


def operator_refusal(operator: type[ast.operator]) -> Refusal:
    """Return why an operator is refused, and a hint."""
    return OPERATORS.get(operator, ("this operator is not in the language", ""))
