"""Element by element over numbers padded to a multiple of 16."""

from axiom.lang import Slice, f32, fn, urange, vload, vstore
from axiom.metal.ops.vector_math import silu


@fn
def add(x: Slice[f32], y: Slice[f32]) -> None:
    """Add y to x, in place; as many numbers as x has."""
    for i in urange(0, x.length, 16):
        vstore(x, i, vload(x, i, 16) + vload(y, i, 16))


@fn
def swiglu(gate: Slice[f32], up: Slice[f32]) -> None:
    """Set gate[i] = silu(gate[i]) * up[i], in place; as many numbers as gate has."""
    for i in urange(0, gate.length, 16):
        vstore(gate, i, silu(vload(gate, i, 16)) * vload(up, i, 16))
