"""Processors that code is compiled for.

A function inherits the target of its caller; `@fn(target=...)` starts a new one. Code that differs
by processor asks `current_target()`, which is a compile-time constant.
"""

from dataclasses import dataclass

from axiom.lang.primitive import primitive


@dataclass(frozen=True)
class Target:
    """An LLVM processor name, its feature string, and what the ops ask about."""

    name: str
    cpu: str
    features: str
    vector_bytes: int
    has_vnni: bool


BASELINE = Target("baseline", "x86-64", "+cx16,+popcnt,+sse4.2,+crc32", 16, False)
X86_64_V3 = Target("v3", "x86-64-v3", "", 32, False)
X86_64_V4_VNNI = Target("v4vnni", "x86-64-v4", "+avx512vnni", 64, True)

_oracle_target = BASELINE


@primitive
def current_target() -> Target:
    """Return the target that this instance of the function is compiled for.

    Under CPython it is the baseline: the oracle takes the portable path.
    """
    return _oracle_target
