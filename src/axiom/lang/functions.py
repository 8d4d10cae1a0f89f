"""`@fn`: a function of the language.

Under CPython it is called as any function (methods too). The compiler specialises it for the types
of its arguments, for the values of parameters whose annotation is an ordinary Python type (`int`,
`Target`, ...; they are compile-time constants), and for the target of its caller.
"""

from collections.abc import Callable
from functools import partial
from types import FunctionType
from typing import Any, Literal, NamedTuple, TypeVar, cast, overload

from axiom.lang.targets import Target

F = TypeVar("F", bound=Callable[..., Any])
Phase = Literal["any", "init", "run"]
Inline = Literal["auto", "always", "never"]


class FunctionOptions(NamedTuple):
    """What `@fn(...)` was given."""

    export: str = ""
    phase: Phase = "any"
    inline: Inline = "auto"
    target: Target | None = None
    interrupt: bool = False


class Function:
    """A function of the language: the Python function and its options."""

    def __init__(self, python: FunctionType, options: FunctionOptions) -> None:
        self.python = python
        self.options = options
        self.owner: type | None = None
        self.__name__ = python.__name__
        self.__qualname__ = python.__qualname__
        self.__doc__ = python.__doc__
        self.__module__ = python.__module__

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        result = self.python(*args, **kwargs)
        copy = getattr(result, "__axiom_copy__", None)
        return copy() if copy is not None else result

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        if instance is None:
            return self
        return partial(self, instance)

    def __repr__(self) -> str:
        return f"<fn {self.__module__}.{self.__qualname__}>"


@overload
def fn(function: F) -> F: ...
@overload
def fn(
    *,
    export: str = "",
    phase: Phase = "any",
    inline: Inline = "auto",
    target: Target | None = None,
    interrupt: bool = False,
) -> Callable[[F], F]: ...
def fn(
    function: F | None = None,
    *,
    export: str = "",
    phase: Phase = "any",
    inline: Inline = "auto",
    target: Target | None = None,
    interrupt: bool = False,
) -> F | Callable[[F], F]:
    """Make a function of the language.

    export: the symbol under which assembly or the host finds it (arguments are scalars only).
    phase:  'init' functions may not be reached from 'run' functions.
    inline: 'always' or 'never' overrules the optimiser.
    target: compile it and what it calls for this processor.
    interrupt: it is entered by the processor, through a descriptor that holds the address of its symbol.
    """
    options = FunctionOptions(export, phase, inline, target, interrupt)

    def wrap(python: F) -> F:
        return cast(F, Function(cast(FunctionType, python), options))

    return wrap if function is None else wrap(function)
