"""Root-mean-square normalisation."""

from axiom.lang import (
    Slice,
    convert,
    f32,
    f64,
    fn,
    reduce_add,
    splat,
    square_root,
    urange,
    vload,
    vstore,
)


@fn
def rmsnorm(x: Slice[f32], weight: Slice[f32], out: Slice[f32], n: int, epsilon: float) -> None:
    """Set out[i] = (x[i] * s) * weight[i], where s = 1 / sqrt(sum(x*x) / n + epsilon).

    All three are padded to a multiple of 16; the padding of x is zero, and so becomes that of out.
    Of squares in f32, lane l sums those of x[l], x[l + 8], ... in f64, in order; the lanes are added
    pairwise. The mean is rounded once: an error in it would turn a whole row.
    """
    squares = splat(f64, 8, 0.0)
    for i in urange(0, n, 8):
        part = vload(x, i, 8)
        squares = squares + convert(f64, part * part)
    mean = f32(reduce_add(squares) / float(n))
    scale = splat(f32, 16, f32(1.0) / square_root(mean + epsilon))
    for i in urange(0, n, 16):
        vstore(out, i, (vload(x, i, 16) * scale) * vload(weight, i, 16))
