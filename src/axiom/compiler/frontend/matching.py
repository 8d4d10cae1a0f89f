"""What the cases of a `match` name, and whether they name everything."""

import ast

from axiom.compiler import ir
from axiom.compiler.frontend.context import Context
from axiom.compiler.frontend.expressions import Expressions
from axiom.compiler.types import BoolType, EnumType, Type


def named_values(context: Context, pattern: ast.pattern) -> list[ast.expr] | None:
    """Return the values that a pattern names; None for `_`, which is all there are."""
    match pattern:
        case ast.MatchValue():
            return [pattern.value]
        case ast.MatchSingleton():
            return [ast.copy_location(ast.Constant(pattern.value), pattern)]
        case ast.MatchOr():
            found: list[ast.expr] = []
            for item in pattern.patterns:
                named = named_values(context, item)
                if named is None:
                    return None
                found += named
            return found
        case ast.MatchAs(pattern=None, name=None):
            return None
        case _:
            context.fail(pattern, "patterns are constants, `|` and `_`")


def check_exhaustive(expressions: Expressions, node: ast.Match, kind: Type) -> None:
    """Refuse a match over an enum that leaves out some of its members."""
    if not isinstance(kind, EnumType):
        return
    seen: set[int] = set()
    for case in node.cases:
        named = named_values(expressions.context, case.pattern)
        if named is None:
            return
        seen |= {int(expressions.compile_time(item)) for item in named}
    missing = [m.name for m in kind.members if int(m) not in seen]
    if missing:
        hint = "add the cases, or `case _:`"
        expressions.context.fail(node, f"match leaves out {', '.join(missing)} of {kind}", hint)


def is_one_of(expressions: Expressions, named: list[ast.expr], subject: ir.ReadLocal) -> ir.Expression:
    """Return the test of whether the subject is one of some values, at least one."""
    tests: list[ir.Expression] = []
    for item in named:
        value = expressions.typed(item, subject.type)
        tests.append(ir.Compare(BoolType(), expressions.context.span(item), "eq", subject, value))
    condition = tests[0]
    for test in tests[1:]:
        condition = ir.Logical(BoolType(), test.span, "or", condition, test)
    return condition
