"""Root-mean-square normalisation."""

from axiom.lang import Slice, f32, fma, fn, reduce_add, splat, square_root, urange, vload, vstore


@fn
def rmsnorm(x: Slice[f32], weight: Slice[f32], out: Slice[f32], n: int, epsilon: float) -> None:
    """Set out[i] = (x[i] * s) * weight[i], where s = 1 / sqrt(sum(x*x) / n + epsilon).

    All three are padded to a multiple of 16; the padding of x is zero, and so becomes that of out.
    Lane l sums the squares of x[l], x[l + 16], ... in order, fused; the lanes are added pairwise.
    """
    squares = splat(f32, 16, 0.0)
    for i in urange(0, n, 16):
        part = vload(x, i, 16)
        squares = fma(part, part, squares)
    mean = reduce_add(squares) / float(n)
    scale = splat(f32, 16, f32(1.0) / square_root(mean + epsilon))
    for i in urange(0, n, 16):
        vstore(out, i, (vload(x, i, 16) * scale) * vload(weight, i, 16))
