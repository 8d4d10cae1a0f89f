"""Functions of vectors: exp, sigmoid, silu in f32; sine and cosine in f64.

Lane by lane, from additions, multiplications and fused multiply-adds only: the same bits on every
processor. Nothing here looks at neighbouring lanes.
"""

from axiom.lang import (
    Vec,
    bitcast,
    convert,
    equal,
    f32,
    f64,
    fma,
    fn,
    i32,
    i64,
    maximum,
    minimum,
    round_even,
    select,
    splat,
    static,
)

LOG2_E = 1.4426950408889634
# ln 2 in two parts. The first has 15 bits after the point, so that n * LN2_HIGH is exact for |n| < 256.
LN2_HIGH = 0.693145751953125
LN2_LOW = 1.4286068203094173e-06
EXP_LOWEST = -104.0  # exp of it and of all below rounds to 0
EXP_HIGHEST = 89.0  # exp of it and of all above overflows

# The polynomial that meets (exp(r) - 1 - r) / r**2 in the six Chebyshev nodes of |r| <= 1.0001 * ln(2)/2,
# highest power first. Its error in exp(r) is 0.004 units of 2**-24.
EXP_LEADING = 0.00019890991097781807
EXP_OTHERS = (
    0.0013933649752289057,
    0.00833331048488617,
    0.04166646674275398,
    0.1666666716337204,
    0.5,
)

TWO_OVER_PI = 0.6366197723675814
HALF_PI_HIGH = 1.5707963267948966
HALF_PI_LOW = 6.123233995736766e-17
ROUND_TO_INTEGER = 6755399441055744.0  # 1.5 * 2**52: adding it leaves the integer in the low bits

# Taylor coefficients 1/n! with alternating signs, highest first; on |r| <= pi/4 the next terms
# are below 5e-17.
SINE_LEADING = -1.0 / 1307674368000.0
SINE_OTHERS = (
    1.0 / 6227020800.0,
    -1.0 / 39916800.0,
    1.0 / 362880.0,
    -1.0 / 5040.0,
    1.0 / 120.0,
    -1.0 / 6.0,
)
COSINE_LEADING = 1.0 / 20922789888000.0
COSINE_OTHERS = (
    -1.0 / 87178291200.0,
    1.0 / 479001600.0,
    -1.0 / 3628800.0,
    1.0 / 40320.0,
    -1.0 / 720.0,
    1.0 / 24.0,
)


@fn(inline="always")
def exp(x: Vec[f32]) -> Vec[f32]:
    """Return e to the power of every lane, within 1 ulp (1.5 where the result is denormal).

    Infinity above 88.72284, 0 below -103.98, NaN for NaN.
    """
    # The constant stands first: minimum and maximum then hand a NaN in x on.
    bounded = maximum(splat(f32, x.lanes, EXP_LOWEST), minimum(splat(f32, x.lanes, EXP_HIGHEST), x))
    n = round_even(bounded * LOG2_E)
    r = fma(n, splat(f32, x.lanes, -LN2_HIGH), bounded)
    r = fma(n, splat(f32, x.lanes, -LN2_LOW), r)
    p = splat(f32, x.lanes, EXP_LEADING)
    for coefficient in static(EXP_OTHERS):
        p = fma(p, r, splat(f32, x.lanes, coefficient))
    p = fma(p * r, r, r) + 1.0
    # Two factors, since 2**n alone leaves the range of f32: the last product rounds denormals once.
    whole = convert(i32, n)
    half = whole >> 1
    first = bitcast(f32, (half + 127) << 23)
    second = bitcast(f32, (whole - half + 127) << 23)
    return p * first * second


@fn(inline="always")
def sigmoid(x: Vec[f32]) -> Vec[f32]:
    """Return 1 / (1 + exp(-x))."""
    return splat(f32, x.lanes, 1.0) / (exp(-x) + 1.0)


@fn(inline="always")
def silu(x: Vec[f32]) -> Vec[f32]:
    """Return x * sigmoid(x), computed as x / (1 + exp(-x))."""
    return x / (exp(-x) + 1.0)


@fn(inline="always")
def _quarter_turns(x: Vec[f64]) -> Vec[f64]:
    # The low bits of the result's pattern are the nearest integer to x / (pi/2).
    return x * TWO_OVER_PI + ROUND_TO_INTEGER


@fn(inline="always")
def _circular(x: Vec[f64], ahead: int) -> Vec[f64]:
    """Return sin(x + ahead * pi/2) for `ahead` 0 or 1."""
    turns = _quarter_turns(x)
    n = turns - ROUND_TO_INTEGER
    r = fma(n, splat(f64, x.lanes, -HALF_PI_HIGH), x)
    r = fma(n, splat(f64, x.lanes, -HALF_PI_LOW), r)
    t = r * r
    s = splat(f64, x.lanes, SINE_LEADING)
    for coefficient in static(SINE_OTHERS):
        s = fma(s, t, splat(f64, x.lanes, coefficient))
    s = fma(s * t, r, r)
    c = splat(f64, x.lanes, COSINE_LEADING)
    for coefficient in static(COSINE_OTHERS):
        c = fma(c, t, splat(f64, x.lanes, coefficient))
    c = fma(c * t, t, t * -0.5) + 1.0
    quadrant = bitcast(i64, turns) + ahead
    chosen = select(equal(quadrant & 1, splat(i64, x.lanes, 0)), s, c)
    return select(equal(quadrant & 2, splat(i64, x.lanes, 0)), chosen, -chosen)


@fn(inline="always")
def sine(x: Vec[f64]) -> Vec[f64]:
    """Return the sine of every lane in radians; error below 1e-15 for |x| <= 2**20."""
    return _circular(x, 0)


@fn(inline="always")
def cosine(x: Vec[f64]) -> Vec[f64]:
    """Return the cosine of every lane in radians; error below 1e-15 for |x| <= 2**20."""
    return _circular(x, 1)
