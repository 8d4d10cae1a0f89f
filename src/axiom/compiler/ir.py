"""The typed IR: a tree of statements and expressions, every one with its type and source span.

The front end makes it, checks read it, `llvm` turns it into code. Control flow stays structured, so
that a check can follow it as its author wrote it.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

from axiom.compiler.diagnostics import Span
from axiom.compiler.types import Type
from axiom.lang.functions import Function, FunctionOptions
from axiom.lang.memory import Memory
from axiom.lang.targets import Target


@dataclass
class Expression:
    """Something with a value."""

    type: Type
    span: Span


@dataclass
class Constant(Expression):
    """A number, a truth value, or a tuple of them for a vector."""

    value: Any


@dataclass
class Text(Expression):
    """The bytes of a literal."""

    data: bytes


@dataclass
class ReadLocal(Expression):
    """The value of a local variable."""

    name: str


@dataclass
class StaticPlace(Expression):
    """A reference to static storage: `memory` plus a byte offset."""

    memory: Memory
    offset: int
    hint: str


@dataclass
class Field(Expression):
    """A field of a struct: read for scalars and slices, a reference for aggregates."""

    base: Expression
    offset: int
    element: Any
    volatile: bool


@dataclass
class Element(Expression):
    """An element of an array or a slice, checked."""

    base: Expression
    index: Expression
    element: Any
    volatile: bool


Operator = Literal["add", "sub", "mul", "floordiv", "mod", "div", "and", "or", "xor", "shl", "shr"]


@dataclass
class Binary(Expression):
    """An arithmetic operator; scalar integers trap, vector lanes wrap."""

    operator: Operator
    left: Expression
    right: Expression


@dataclass
class Unary(Expression):
    """`-x`, `~x` or `not x`."""

    operator: Literal["neg", "invert", "not"]
    operand: Expression


@dataclass
class Compare(Expression):
    """A comparison; a mask for vectors."""

    operator: Literal["eq", "ne", "lt", "le", "gt", "ge"]
    left: Expression
    right: Expression


@dataclass
class Logical(Expression):
    """`and` and `or`, which leave out what they need not evaluate."""

    operator: Literal["and", "or"]
    left: Expression
    right: Expression


@dataclass
class Conditional(Expression):
    """`a if c else b`."""

    condition: Expression
    yes: Expression
    no: Expression


@dataclass
class ConvertScalar(Expression):
    """`T(x)`: panics when the value does not fit."""

    operand: Expression


@dataclass
class Call(Expression):
    """A call of another instance."""

    callee: "Instance"
    arguments: list[Expression]


@dataclass
class Intrinsic(Expression):
    """A call of an LLVM intrinsic."""

    name: str
    arguments: list[Expression]


@dataclass
class Primitive(Expression):
    """A primitive of the language; `static` holds its compile-time arguments."""

    name: str
    arguments: list[Expression]
    static: tuple[Any, ...] = ()


@dataclass
class NewStruct(Expression):
    """A fresh local struct: zero, then the given fields."""

    values: dict[str, Expression]


@dataclass
class NewArray(Expression):
    """A fresh zeroed local array."""


@dataclass
class Statement:
    """Something done."""

    span: Span


@dataclass
class Assign(Statement):
    """Give a local variable a value."""

    name: str
    value: Expression


@dataclass
class Store(Statement):
    """Write to a `Field` or an `Element`; aggregates are copied."""

    place: Field | Element
    value: Expression


@dataclass
class Evaluate(Statement):
    """Evaluate for the effect."""

    value: Expression


@dataclass
class If(Statement):
    """A branch at run time."""

    condition: Expression
    yes: list[Statement]
    no: list[Statement]


@dataclass
class While(Statement):
    """A loop; condition None means forever."""

    condition: Expression | None
    body: list[Statement]


@dataclass
class CountLoop(Statement):
    """`for name in urange(start, stop, step)`."""

    name: str
    start: Expression
    stop: Expression
    step: int
    body: list[Statement]
    rolled: bool = False


@dataclass
class Return(Statement):
    """Leave the function."""

    value: Expression | None


@dataclass
class Break(Statement):
    """Leave the innermost loop."""


@dataclass
class Continue(Statement):
    """Go on with the innermost loop."""


@dataclass
class Assert(Statement):
    """Panic unless the condition holds."""

    condition: Expression
    message: bytes


@dataclass
class Parameter:
    """A run-time parameter."""

    name: str
    type: Type


@dataclass
class Instance:
    """A function specialised for argument types, compile-time values and a target."""

    function: Function
    symbol: str
    target: Target
    options: FunctionOptions
    parameters: list[Parameter]
    span: Span
    result: Type
    locals: dict[str, Type] = field(default_factory=dict[str, Type])
    body: list[Statement] = field(default_factory=list[Statement])
    callees: list["Instance"] = field(default_factory=list["Instance"])
    unsafe_blocks: int = 0
    result_unknown: bool = False
    kept: bool = False


@dataclass
class Program:
    """All instances, callees before callers, and the roots they were made for."""

    instances: list[Instance]
    roots: list[Instance]
