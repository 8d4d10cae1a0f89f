"""Processors that code is compiled for.

A function inherits the target of its caller; `@fn(target=...)` starts a new one. Code that differs
by processor asks `current_target()`, which is a compile-time constant.
"""

from typing import Literal, NamedTuple

from axiom.lang.primitive import primitive

Architecture = Literal["x86_64", "aarch64"]


class Target(NamedTuple):
    """An LLVM processor name, its feature string, and what the ops ask about.

    `has_vnni` and `has_dotprod` are the instructions for dot products of bytes, of x86-64 and of AArch64;
    only `metal.arch` asks for these two. `has_tiles`: the matrix tiles of bytes of x86-64 (AMX-INT8).
    """

    name: str
    cpu: str
    features: str
    vector_bytes: int
    has_vnni: bool
    architecture: Architecture = "x86_64"
    vector_registers: int = 16
    has_dotprod: bool = False
    has_tiles: bool = False

    @property
    def many_registers(self) -> bool:
        """True when the vector registers hold 32 times 16 f32: a loop may keep that many sums."""
        return self.vector_registers * self.vector_bytes >= 32 * 64


BASELINE = Target("baseline", "x86-64", "+cx16,+popcnt,+sse4.2,+crc32", 16, False)
X86_64_V3 = Target("v3", "x86-64-v3", "", 32, False)
X86_64_V4_VNNI = Target("v4vnni", "x86-64-v4", "+avx512vnni", 64, True, vector_registers=32)
X86_64_V4_AMX = X86_64_V4_VNNI._replace(
    name="v4amx", features="+avx512vnni,+amx-tile,+amx-int8", has_tiles=True
)
AARCH64 = Target("aarch64", "generic", "+neon,+crc", 16, False, "aarch64", 32)
NEOVERSE_N1 = Target("neoverse-n1", "neoverse-n1", "", 16, False, "aarch64", 32, has_dotprod=True)


def without_vectors(target: Target) -> Target:
    """Return the same processor of x86-64 as far as its general registers go, for interrupt handlers."""
    features = ",".join(part for part in (target.features, "-mmx,-sse,-x87,+soft-float") if part)
    return target._replace(name=f"{target.name}-general", features=features)


_oracle_target = BASELINE


@primitive
def current_target() -> Target:
    """Return the target that this instance of the function is compiled for.

    Under CPython it is the baseline: the oracle takes the portable path.
    """
    return _oracle_target
