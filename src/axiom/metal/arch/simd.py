"""SIMD instructions that have no target-independent form: the dot product of bytes, on x86-64 and AArch64.

Guarantees exact integers, the same on every processor: `dot4` and `dot4_small` differ only in what
they ask of their arguments. The choice of instructions follows `current_target()`.
"""

from axiom.lang import (
    Target,
    Vec,
    absolute,
    bitcast,
    concat,
    convert,
    current_target,
    equal,
    fn,
    i8,
    i16,
    i32,
    llvm_intrinsic,
    maximum,
    minimum,
    select,
    shuffle,
    splat,
    u8,
)


@llvm_intrinsic("llvm.x86.avx512.vpdpbusd.512")
def vpdpbusd(acc: Vec[i32], a: Vec[u8], b: Vec[i8]) -> Vec[i32]:
    """Add to each of 16 lanes the four products of its bytes (AVX512_VNNI VPDPBUSD: no saturation)."""
    products = convert(i32, a) * convert(i32, b)
    low = shuffle(products, range(0, 64, 4)) + shuffle(products, range(1, 64, 4))
    high = shuffle(products, range(2, 64, 4)) + shuffle(products, range(3, 64, 4))
    return acc + low + high


@llvm_intrinsic("llvm.x86.avx2.pmadd.ub.sw", lanes=16)
def vpmaddubsw(a: Vec[u8], b: Vec[i8]) -> Vec[i16]:
    """Add neighbouring products of 32 bytes to 16 lanes, saturated (AVX2 VPMADDUBSW)."""
    products = convert(i32, a) * convert(i32, b)
    pairs = shuffle(products, range(0, 32, 2)) + shuffle(products, range(1, 32, 2))
    return convert(i16, minimum(maximum(pairs, splat(i32, 16, -32768)), splat(i32, 16, 32767)))


@llvm_intrinsic("llvm.x86.avx2.pmadd.wd", lanes=8)
def vpmaddwd(a: Vec[i16], b: Vec[i16]) -> Vec[i32]:
    """Add neighbouring products of 16 words to 8 lanes (AVX2 VPMADDWD)."""
    products = convert(i32, a) * convert(i32, b)
    return shuffle(products, range(0, 16, 2)) + shuffle(products, range(1, 16, 2))


@llvm_intrinsic("llvm.x86.avx2.psign.b", lanes=32)
def vpsignb(a: Vec[i8], b: Vec[i8]) -> Vec[i8]:
    """Return a where b is positive, 0 where it is zero, -a where it is negative (AVX2 VPSIGNB)."""
    none = splat(i8, 32, 0)
    return select(b < 0, -a, select(equal(b, none), none, a))


def sums_in_words(target: Target) -> bool:
    """Tell whether sums of bytes' products are cheapest in words first: AVX2 without a dot product."""
    return target.architecture == "x86_64" and target.vector_bytes >= 32 and not target.has_vnni


@fn(inline="always")
def add_pairs(acc: Vec[i16], a: Vec[u8], b: Vec[i8]) -> Vec[i16]:
    """Return acc[j] + a[2j]*b[2j] + a[2j+1]*b[2j+1] for 32 lanes of 64 bytes.

    Requires that neither the products nor the sums leave 16 bits. For `sums_in_words`.
    """
    first = vpmaddubsw(shuffle(a, range(32)), shuffle(b, range(32)))
    second = vpmaddubsw(shuffle(a, range(32, 64)), shuffle(b, range(32, 64)))
    return acc + concat(first, second)


@fn(inline="always")
def add_words(acc: Vec[i32], words: Vec[i16], factors: Vec[i16]) -> Vec[i32]:
    """Return acc[r] + words[2r]*factors[2r] + words[2r+1]*factors[2r+1] for 16 lanes.

    For `sums_in_words`.
    """
    first = vpmaddwd(shuffle(words, range(16)), shuffle(factors, range(16)))
    second = vpmaddwd(shuffle(words, range(16, 32)), shuffle(factors, range(16, 32)))
    return concat(shuffle(acc, range(8)) + first, shuffle(acc, range(8, 16)) + second)


@fn(inline="always")
def _dot4_in_words(acc: Vec[i32], a: Vec[u8], b: Vec[i8]) -> Vec[i32]:
    return add_words(acc, add_pairs(splat(i16, 32, 0), a, b), splat(i16, 32, 1))


@fn(inline="always")
def signed_pairs(a: Vec[i8], b: Vec[i8]) -> Vec[i16]:
    """Add neighbouring products of 32 signed bytes to 16 lanes. Requires every byte of b to be above -128.

    For `sums_in_words`: the magnitude of a times b with its sign; two products fit a word, as
    2 * 128 * 127 = 32512.
    """
    return vpmaddubsw(bitcast(u8, absolute(a)), vpsignb(b, a))


@fn(inline="always")
def signed_dot4(acc: Vec[i32], a: Vec[i8], b: Vec[i8]) -> Vec[i32]:
    """Return what `dot4` does, of signed bytes. Requires every byte of b to be above -128.

    For `sums_in_words`.
    """
    first = signed_pairs(shuffle(a, range(32)), shuffle(b, range(32)))
    second = signed_pairs(shuffle(a, range(32, 64)), shuffle(b, range(32, 64)))
    return add_words(acc, concat(first, second), splat(i16, 32, 1))


@llvm_intrinsic("llvm.aarch64.neon.sdot.v4i32.v16i8")
def sdot(acc: Vec[i32], a: Vec[i8], b: Vec[i8]) -> Vec[i32]:
    """Add to each of 4 lanes the four products of its bytes (FEAT_DotProd SDOT: no saturation)."""
    products = convert(i32, a) * convert(i32, b)
    low = shuffle(products, range(0, 16, 4)) + shuffle(products, range(1, 16, 4))
    high = shuffle(products, range(2, 16, 4)) + shuffle(products, range(3, 16, 4))
    return acc + low + high


@fn(inline="always")
def _dot4_neon_quarter(largest: int, acc: Vec[i32], a: Vec[u8], b: Vec[i8]) -> Vec[i32]:
    if largest <= 127:
        return sdot(acc, bitcast(i8, a), b)
    # SDOT takes signed bytes: a is (a - 128) + 64 + 64.
    half = splat(i8, 16, 64)
    return sdot(sdot(sdot(acc, half, b), half, b), bitcast(i8, a ^ 128), b)


@fn(inline="always")
def _dot4_neon(largest: int, acc: Vec[i32], a: Vec[u8], b: Vec[i8]) -> Vec[i32]:
    q0 = _dot4_neon_quarter(largest, shuffle(acc, range(4)), shuffle(a, range(16)), shuffle(b, range(16)))
    q1 = _dot4_neon_quarter(
        largest, shuffle(acc, range(4, 8)), shuffle(a, range(16, 32)), shuffle(b, range(16, 32))
    )
    q2 = _dot4_neon_quarter(
        largest, shuffle(acc, range(8, 12)), shuffle(a, range(32, 48)), shuffle(b, range(32, 48))
    )
    q3 = _dot4_neon_quarter(
        largest, shuffle(acc, range(12, 16)), shuffle(a, range(48, 64)), shuffle(b, range(48, 64))
    )
    return concat(concat(q0, q1), concat(q2, q3))


@fn(inline="always")
def _dot4_portable(acc: Vec[i32], a: Vec[u8], b: Vec[i8]) -> Vec[i32]:
    # 255 * -128 and 255 * 127 fit into 16 bits; what pairs of them add up to may not.
    products = convert(i16, a) * convert(i16, b)
    pairs = convert(i32, shuffle(products, range(0, 64, 2))) + convert(
        i32, shuffle(products, range(1, 64, 2))
    )
    return acc + shuffle(pairs, range(0, 32, 2)) + shuffle(pairs, range(1, 32, 2))


@fn(inline="always")
def dot4(acc: Vec[i32], a: Vec[u8], b: Vec[i8]) -> Vec[i32]:
    """Return acc[r] + a[4r]*b[4r] + ... + a[4r+3]*b[4r+3] for 16 lanes of 64 bytes; sums wrap."""
    if current_target().has_vnni:
        return vpdpbusd(acc, a, b)
    if current_target().vector_bytes >= 32:
        # A word cannot take two products of bytes up to 255. Split by the top bit, neither part can reach
        # that: 2 * 127 * -128 = -32512 and 2 * 128 * -128 = -32768.
        return _dot4_in_words(_dot4_in_words(acc, a & 127, b), a & 128, b)
    if current_target().has_dotprod:
        return _dot4_neon(255, acc, a, b)
    return _dot4_portable(acc, a, b)


@fn(inline="always")
def dot4_small(acc: Vec[i32], a: Vec[u8], b: Vec[i8]) -> Vec[i32]:
    """Return what `dot4` does. Requires every byte of `a` to be at most 127: then AVX2 is cheaper."""
    if current_target().has_vnni:
        return vpdpbusd(acc, a, b)
    if current_target().vector_bytes >= 32:
        return _dot4_in_words(acc, a, b)
    if current_target().has_dotprod:
        return _dot4_neon(127, acc, a, b)
    return _dot4_portable(acc, a, b)
