"""Choose the next token from logits: greedy, or by temperature, then top-k, then top-p.

Deterministic and exact. A token's weight is exp((logit - max) / temperature) in units of 2**-30, an
integer; integers are summed in any order with the same result. A token less likely than 2**-30 times
the likeliest is never drawn. Candidates are ordered by logit, then by lowest index; top-k keeps the
first k, top-p the shortest run of them whose weight reaches that part of the total. The run's end is
found by bisection on the 32 bits of the logit, so vocabularies of any size need only one number of
workspace per token. The random number is a function of the seed and the token's index alone.
"""

from axiom.lang import (
    Slice,
    Vec,
    any_lane,
    bitcast,
    convert,
    equal,
    f32,
    f64,
    fn,
    i32,
    i64,
    multiply_high,
    panic,
    reduce_add,
    select,
    splat,
    u32,
    u64,
    urange,
    vload,
    vstore,
    wrapping_add,
    wrapping_mul,
)
from axiom.metal.ops.argmax import LOWEST_I32, argmax
from axiom.metal.ops.softmax import MINUS_INFINITY
from axiom.metal.ops.vector_math import exp

WEIGHT_ONE = 1073741824.0  # 2**30
GOLDEN_RATIO_64 = 0x9E3779B97F4A7C15
SIGN_BIT = 0x80000000


@fn
def scramble(number: u64) -> u64:
    """Mix 64 bits (the finaliser of SplitMix64; Steele, Lea, Flood, 2014)."""
    x = wrapping_mul(number ^ (number >> 30), u64(0xBF58476D1CE4E5B9))
    x = wrapping_mul(x ^ (x >> 27), u64(0x94D049BB133111EB))
    return x ^ (x >> 31)


@fn
def random_bits(seed: u64, index: u32) -> u64:
    """Return 64 random bits for the token with this index of the sequence with this seed."""
    stream = scramble(wrapping_add(seed, u64(GOLDEN_RATIO_64)))
    step = wrapping_mul(u64(index) + 1, u64(GOLDEN_RATIO_64))
    return scramble(wrapping_add(stream, step))


@fn(inline="always")
def ordered_bits(logits: Vec[f32]) -> Vec[i32]:
    """Return integers that compare as the logits do; both zeros are equal, NaN is minus infinity."""
    clean = select(equal(logits, logits), logits, splat(f32, logits.lanes, MINUS_INFINITY))
    bits = bitcast(i32, clean + 0.0)
    return bits ^ ((bits >> 31) & 0x7FFFFFFF)


@fn
def set_weights(logits: Slice[f32], weights: Slice[i32], largest: f32, temperature: f32) -> None:
    """Set every token's weight."""
    shift = splat(f32, 16, largest)
    divisor = splat(f32, 16, temperature)
    for i in urange(0, logits.length, 16):
        share = exp((vload(logits, i, 16) - shift) / divisor)
        vstore(weights, i, convert(i32, share * WEIGHT_ONE))


@fn
def measure_from(logits: Slice[f32], weights: Slice[i32], lowest: i32, by_weight: bool) -> i64:
    """Add up the tokens whose ordered bits are at least `lowest`: their weights, or their number."""
    threshold = splat(i32, 16, lowest)
    total = splat(i64, 16, 0)
    for i in urange(0, logits.length, 16):
        bits = ordered_bits(vload(logits, i, 16))
        share = vload(weights, i, 16) if by_weight else splat(i32, 16, 1)
        total = total + convert(i64, select(threshold <= bits, share, splat(i32, 16, 0)))
    return reduce_add(total)


@fn
def find_threshold(logits: Slice[f32], weights: Slice[i32], goal: i64, by_weight: bool) -> i32:
    """Return the highest ordered bits from which up the measure reaches `goal`."""
    found = u32(0)
    for bit in urange(32):
        candidate = found | (u32(SIGN_BIT) >> u32(bit))
        lowest = bitcast(i32, candidate ^ SIGN_BIT)
        if measure_from(logits, weights, lowest, by_weight) >= goal:
            found = candidate
    return bitcast(i32, found ^ SIGN_BIT)


@fn
def keep_first(logits: Slice[f32], weights: Slice[i32], goal: i64, by_weight: bool) -> None:
    """Keep the shortest run of candidates whose measure reaches `goal`; the others weigh nothing.

    Requires 1 <= goal <= the measure of all.
    """
    threshold = find_threshold(logits, weights, goal, by_weight)
    left = goal - measure_from(logits, weights, threshold + 1, by_weight)
    limit = splat(i32, 16, threshold)
    for i in urange(0, logits.length, 16):
        bits = ordered_bits(vload(logits, i, 16))
        kept = select(limit <= bits, vload(weights, i, 16), splat(i32, 16, 0))
        vstore(weights, i, kept)
        if any_lane(equal(bits, limit)):
            left = _keep_equals(logits.part(i, 16), weights.part(i, 16), threshold, left, by_weight)


@fn
def _keep_equals(
    logits: Slice[f32], weights: Slice[i32], threshold: i32, goal: i64, by_weight: bool
) -> i64:
    """Among sixteen tokens keep those at the threshold, in order, until `goal` is reached."""
    left = goal
    for i in urange(16):
        bits = ordered_bits(splat(f32, 16, logits[i]))
        if any_lane(equal(bits, splat(i32, 16, threshold))):
            if left > 0:
                left = left - (i64(weights[i]) if by_weight else i64(1))
            else:
                weights[i] = 0
    return left


@fn
def draw(weights: Slice[i32], target: u64) -> u32:
    """Return the first token at which the running sum of the weights exceeds `target`."""
    running = i64(0)
    for i in urange(0, weights.length, 16):
        group = reduce_add(convert(i64, vload(weights, i, 16)))
        if u64(running + group) > target:
            for k in urange(16):
                running = running + i64(weights[i + k])
                if u64(running) > target:
                    return u32(i + k)
        running = running + group
    panic("the drawn number is not below the sum of the weights")


@fn
def sample(
    logits: Slice[f32],
    weights: Slice[i32],
    n_vocab: int,
    temperature: f32,
    top_k: u32,
    top_p: f32,
    random: u64,
) -> u32:
    """Return a token of 0 .. n_vocab - 1.

    logits, weights (workspace): padded to a multiple of 16; the padding of logits is overwritten.
    temperature: 0 takes the likeliest. top_k: 0 keeps all. top_p: 1 keeps all, else in (0, 1).
    """
    likeliest = argmax(logits.part(0, n_vocab))
    if temperature == 0.0:
        return likeliest
    for i in urange(u64(n_vocab), logits.length):
        logits[i] = f32(MINUS_INFINITY)
    set_weights(logits, weights, logits[likeliest], temperature)
    if top_k > 0 and top_k < n_vocab:
        keep_first(logits, weights, i64(top_k), False)
    lowest = i32(LOWEST_I32)
    total = measure_from(logits, weights, lowest, True)
    if total == 0:
        # Only infinities and NaN lead here; the likeliest is the best that can be said.
        return likeliest
    if top_p < 1.0:
        goal = i64(f64(total) * f64(top_p))
        keep_first(logits, weights, goal if goal > 0 else i64(1), True)
        total = measure_from(logits, weights, lowest, True)
    return draw(weights, multiply_high(random, u64(total)))
