"""Compiling for AArch64: what is refused, what the machine code does where processors differ."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from axiom.compiler.diagnostics import CompileError
from axiom.compiler.llvm.architectures import TRIPLES
from axiom.compiler.llvm.codegen import target_machine
from axiom.compiler.objects import compile_kept, compile_listing, compile_text
from axiom.host.image.compile_file import compile_file
from axiom.lang import (
    AARCH64,
    NEOVERSE_N1,
    X86_64_V3,
    Panic,
    PanicReason,
    Slice,
    asm,
    convert,
    current_target,
    f16,
    f32,
    f64,
    fma,
    fn,
    i8,
    i32,
    maximum,
    reduce_add,
    round_even,
    splat,
    square_root,
    u8,
    u32,
    u64,
    unsafe,
    urange,
    vload,
    vstore,
)
from axiom.metal.arch.simd import dot4, vpdpbusd
from tests.support.aarch64 import EMULATED, Emulated
from tests.support.identity import same_bits
from tests.support.targets import run

EM_AARCH64 = 183


@fn
def widen(x: Slice[f16], out: Slice[f32]) -> None:
    for i in urange(0, x.length, 16):
        vstore(out, i, convert(f32, vload(x, i, 16)))


@fn
def narrow(x: Slice[f32], out: Slice[f16]) -> None:
    for i in urange(0, x.length, 16):
        vstore(out, i, convert(f16, vload(x, i, 16)))


@fn
def narrow_twice_as_wide(x: Slice[f64], out: Slice[f16]) -> None:
    for i in urange(x.length):
        out[i] = f16(x[i])


@fn
def halves(x: Slice[f16], y: Slice[f16], out: Slice[f16]) -> None:
    for i in urange(0, x.length, 16):
        a = vload(x, i, 16)
        b = vload(y, i, 16)
        vstore(out, i, (a + b) * a / b - square_root(b))


@fn
def to_integers(x: Slice[f32], out: Slice[i32]) -> None:
    for i in urange(0, x.length, 16):
        vstore(out, i, convert(i32, round_even(vload(x, i, 16))))


@fn
def fused(x: Slice[f32], y: Slice[f32], out: Slice[f32]) -> None:
    for i in urange(0, x.length, 16):
        a = vload(x, i, 16)
        b = vload(y, i, 16)
        vstore(out, i, fma(a, b, splat(f32, 16, -1.0)) + square_root(maximum(a, b)) / (a * b - 1.0))


@fn
def element(x: Slice[u32], index: u64) -> u32:
    return x[index]


@fn
def total(x: Slice[f32]) -> f32:
    return reduce_add(vload(x, 0, 16))


@fn
def too_much(x: u32) -> u32:
    return x * 65536


@fn
def negative(x: f32) -> u8:
    return u8(x)


FUNCTIONS = (
    widen,
    narrow,
    narrow_twice_as_wide,
    halves,
    to_integers,
    fused,
    element,
    total,
    too_much,
    negative,
)
SPECIAL = (
    0.0,
    -0.0,
    np.inf,
    -np.inf,
    np.nan,
    1e-45,
    2.0**31,
    -(2.0**31),
    2147483520.0,
    0.5,
    1.5,
    2.5,
    -0.5,
)


@pytest.fixture(scope="module", params=EMULATED)
def emulated(request: pytest.FixtureRequest) -> Emulated:
    return Emulated(FUNCTIONS, EMULATED[request.param])


def agree(emulated: Emulated, function: Any, *arguments: np.ndarray) -> None:
    """Check that a call leaves the bits that CPython leaves."""
    oracle = [a.copy() for a in arguments]
    with np.errstate(all="ignore"):
        run("python", function, *oracle)
    emulated.call(function, *arguments)
    for mine, other in zip(arguments, oracle, strict=True):
        assert same_bits(mine, other)


def test_every_f16_becomes_the_same_f32(emulated: Emulated) -> None:
    agree(emulated, widen, np.arange(65536, dtype=np.uint16).view(np.float16), np.zeros(65536, np.float32))


def test_numbers_are_rounded_to_f16_once_and_to_even(emulated: Emulated) -> None:
    bits = np.arange(0, 0x7C00, dtype=np.uint16)
    exact = bits.view(np.float16).astype(np.float64)
    middle = (exact[:-1] + exact[1:]) / 2
    near = np.concatenate(
        [middle, np.nextafter(middle, 0), np.nextafter(middle, 1e9), [65519.9, 65520.0, 1e9]]
    )
    agree(emulated, narrow_twice_as_wide, near, np.zeros(len(near), np.float16))
    single = np.concatenate([near, -near, np.array(SPECIAL)]).astype(np.float32)
    single = np.pad(single, (0, -len(single) % 16))
    agree(emulated, narrow, single, np.zeros(len(single), np.float16))


def test_arithmetic_in_f16_rounds_each_time(emulated: Emulated) -> None:
    random = np.random.default_rng(3)
    x, y = (random.integers(0, 65536, 16384, dtype=np.uint16).view(np.float16) for _ in range(2))
    agree(emulated, halves, x, y, np.zeros(16384, np.float16))


def test_floats_become_the_same_integers(emulated: Emulated) -> None:
    random = np.random.default_rng(1)
    numbers = np.concatenate([SPECIAL, random.normal(size=51) * 3e9]).astype(np.float32)
    agree(emulated, to_integers, numbers, np.zeros(64, np.int32))


def test_nothing_is_fused_but_what_is_written_so(emulated: Emulated) -> None:
    random = np.random.default_rng(2)
    x = (1 + random.random(4096) * 1e-3).astype(np.float32)
    y = (1 / x).astype(np.float32)
    agree(emulated, fused, x, y, np.zeros(4096, np.float32))


def test_a_panic_has_its_reason(emulated: Emulated) -> None:
    words = np.arange(7, dtype=np.uint32)
    calls: list[tuple[Any, tuple[Any, ...]]] = [
        (element, (words, 6)),
        (element, (words, 7)),
        (too_much, (65536,)),
        (negative, (-1.0,)),
        (total, (np.ones(15, np.float32),)),
        (too_much, (3,)),
    ]
    outcomes = [o.reason if isinstance(o, Panic) else o.value for o in emulated.call_all(calls)]
    bounds = PanicReason.BOUNDS
    assert outcomes == [6, bounds, PanicReason.OVERFLOW, PanicReason.CONVERSION, bounds, 3 * 65536]


@fn
def products(acc: Slice[i32], a: Slice[u8], b: Slice[i8]) -> None:
    vstore(acc, 0, dot4(vload(acc, 0, 16), vload(a, 0, 64), vload(b, 0, 64)))


@fn
def foreign_products(acc: Slice[i32], a: Slice[u8], b: Slice[i8]) -> None:
    vstore(acc, 0, vpdpbusd(vload(acc, 0, 16), vload(a, 0, 64), vload(b, 0, 64)))


@fn
def halt() -> None:
    # SAFETY: never run.
    with unsafe:
        asm("hlt", "")


@fn(target=X86_64_V3)
def widest() -> u32:
    return u32(current_target().vector_bytes)


@fn
def asks() -> u32:
    return widest()


def test_the_processor_decides_the_instructions() -> None:
    assert "\tsdot\t" in compile_listing([products], NEOVERSE_N1)
    assert "\tsdot\t" not in compile_listing([products], AARCH64)
    for target in (AARCH64, NEOVERSE_N1):
        code = compile_kept([products], target)
        assert code[:6] == b"\x7fELF\x02\x01"
        assert int.from_bytes(code[18:20], "little") == EM_AARCH64


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (foreign_products, "`vpdpbusd` is an instruction of x86_64, and this is compiled for aarch64"),
        (halt, "assembly is written for x86_64, and this is compiled for aarch64"),
        (asks, "`widest` is compiled for v3, a processor of x86_64, but this program is for aarch64"),
    ],
)
def test_what_belongs_to_another_architecture_is_refused(function: Any, message: str) -> None:
    with pytest.raises(CompileError, match=f"error: {message}"):
        compile_kept([function], AARCH64)


def test_the_optimiser_knows_the_layout_of_the_machine() -> None:
    layout = str(target_machine(TRIPLES["aarch64"], 3, jit=False).target_data)
    assert f'target datalayout = "{layout}"' in compile_text([products], [], AARCH64)


def test_a_file_is_compiled_for_each_processor(tmp_path: Path) -> None:
    path = tmp_path / "sums.py"
    path.write_text(
        "from axiom.lang import fn, u32\n\n\n@fn\ndef twice(x: u32) -> u32:\n    return x + x\n"
    )
    for name in EMULATED:
        assert int.from_bytes(compile_file(path, "obj", name, 3)[18:20], "little") == EM_AARCH64
        listing = compile_file(path, "listing", name, 3).decode().splitlines()
        at = next(i for i, line in enumerate(listing) if line.endswith("sums.py:6:     return x + x"))
        assert listing[at + 1].startswith("\tadds\tw")
