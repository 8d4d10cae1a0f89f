"""Marks of what the compiler treats specially.

A *primitive* is a Python function whose body is its meaning and for which the compiler has its own
lowering. An *LLVM intrinsic* is the same for one machine instruction: the compiler emits a call of
the named intrinsic.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

PRIMITIVE_MARK = "__axiom_primitive__"
INTRINSIC_MARK = "__axiom_intrinsic__"


class LlvmIntrinsic(NamedTuple):
    """The LLVM name of an intrinsic and the number of lanes of its result.

    `lanes` 0 means "as many as the first argument", for a vector result.
    """

    name: str
    lanes: int


def primitive(function: F) -> F:
    """Mark `function` as known to the compiler by its name."""
    setattr(function, PRIMITIVE_MARK, function.__name__)
    return function


def llvm_intrinsic(name: str, *, lanes: int = 0) -> Callable[[F], F]:
    """Mark a function whose compiled form is a call of the LLVM intrinsic `name`.

    Parameters and result keep the types of the Python signature; the body is the oracle.
    """

    def mark(function: F) -> F:
        setattr(function, INTRINSIC_MARK, LlvmIntrinsic(name, lanes))
        return function

    return mark
