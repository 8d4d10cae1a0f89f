"""The ops in one AArch64 object, on numbers of every kind: the bits that CPython gives."""

import ast
import pkgutil
from collections.abc import Callable
from copy import deepcopy
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from axiom.lang import Slice, Target, f32, fn, u8, u64
from axiom.lang.functions import Function
from axiom.metal import ops
from axiom.metal.ops import gemm_tiles, gemm_words
from axiom.metal.ops.argmax import argmax
from axiom.metal.ops.digest import logits_digest
from axiom.metal.ops.elementwise import add, swiglu
from axiom.metal.ops.embedding import embed_row
from axiom.metal.ops.gemm import activation_row_bytes, gemm, padded_tokens
from axiom.metal.ops.gemv import gemv
from axiom.metal.ops.kv_layout import KV_TYPES
from axiom.metal.ops.matrix import Matrix
from axiom.metal.ops.plain_read import plain_read
from axiom.metal.ops.quantise import (
    BLOCK_BYTES,
    SCALE_AT,
    SUM_AT,
    TOTAL_AT,
    quantise,
    quantise_super,
    quantised_bytes,
)
from axiom.metal.ops.rmsnorm import rmsnorm
from axiom.metal.ops.rope import rope, rope_tables
from axiom.metal.ops.softmax import softmax_numerators
from tests.support.aarch64 import EMULATED, Emulated
from tests.support.activations import quantised_for
from tests.support.identity import same_bits
from tests.support.packing import columns_for, pack
from tests.support.targets import run
from tests.unit.metal.ops.test_attention import Case, attend_for, store_for

GEMV_LAYOUTS = ("q4_0x16", "q8_0x16", "q4_kx16", "q6_kx16", "f16x16", "bf16x16")
GEMM_LAYOUTS = ("q8_0x16", "q4_kx16")
ROWS, N_TOKENS, STRIDE = 40, 5, 48
NUMBERS = 64
HEADS, HEAD_DIM = 2, 38
SPECIAL = (0.0, -0.0, 1e-45, -1e-40, 1.1754944e-38, 3.4e38, -3.4e38, np.inf, -np.inf, np.nan, 65520.0)
Call = tuple[Any, tuple[Any, ...]]
Array = NDArray[Any]


@fn
def normalise(x: Slice[f32], weight: Slice[f32], out: Slice[f32]) -> None:
    rmsnorm(x, weight, out, NUMBERS, 1e-5)


@fn
def turn(x: Slice[f32], cosines: Slice[f32], sines: Slice[f32]) -> None:
    rope(x, cosines, sines, HEADS, HEAD_DIM)


def matrix_of(layout: str) -> Matrix:
    return Matrix(layout, ROWS, columns_for(layout, 64))


@cache
def gemv_of(layout: str) -> Any:
    matrix = matrix_of(layout)

    @fn
    def multiply(weights: Slice[u8], activations: Slice[u8], out: Slice[f32]) -> None:
        gemv(matrix, weights, activations, out, u64(0), u64(matrix.n_groups))

    return multiply


@cache
def embed_of(layout: str) -> Any:
    matrix = matrix_of(layout)

    @fn
    def embed(weights: Slice[u8], row: u64, out: Slice[f32]) -> None:
        embed_row(matrix, weights, row, out)

    return embed


@cache
def gemm_of(layout: str) -> Any:
    matrix = matrix_of(layout)

    @fn
    def multiply(weights: Slice[u8], activations: Slice[u8], out: Slice[f32], n_tokens: u64) -> None:
        gemm(matrix, weights, activations, out, u64(0), u64(matrix.n_groups), n_tokens, STRIDE)

    return multiply


OPS = (
    *(
        normalise,
        turn,
        rope_tables,
        softmax_numerators,
        swiglu,
        add,
        quantise,
        quantise_super,
        argmax,
        logits_digest,
        plain_read,
    ),
    *(gemv_of(layout) for layout in GEMV_LAYOUTS),
    *(embed_of(layout) for layout in GEMV_LAYOUTS),
    *(gemm_of(layout) for layout in GEMM_LAYOUTS),
)
# Called by a test of their own.
ATTENTION = tuple(made for kind in KV_TYPES for made in (store_for(kind, 64), attend_for(kind, 3, 64)))


@cache
def emulated(target: str) -> Emulated:
    """Return the ops in one object."""
    return Emulated((*OPS, *ATTENTION), EMULATED[target])


def usual(random: np.random.Generator, count: int) -> Array:
    """Return numbers as a model has them."""
    return (random.normal(size=count) * 4).astype(np.float32)


def extreme(random: np.random.Generator, count: int) -> Array:
    """Return any bit patterns, with some numbers that are apart."""
    bits = random.integers(0, 2**32, count, dtype=np.uint32).view(np.float32)
    return np.where(random.random(count) < 0.3, random.choice(SPECIAL, count), bits).astype(np.float32)


def empty(count: int) -> Array:
    return np.full(count, np.nan, np.float32)


def activations(random: np.random.Generator, matrix: Matrix, x: Array) -> Array:
    """Return what a product takes."""
    if not matrix.quantised:
        return x.view(np.uint8)
    return quantised_for(matrix, x)


def weights(random: np.random.Generator, matrix: Matrix, kind: str) -> Array:
    """Return a packed matrix as a model has it, or any bytes."""
    if kind == "usual":
        return pack(matrix.layout, usual(random, ROWS * matrix.columns).reshape(ROWS, -1))[0]
    return random.integers(0, 256, matrix.bytes, dtype=np.uint8)


def calls(kind: str, numbers: Callable[[np.random.Generator, int], Array]) -> list[Call]:
    """Return calls of every op on numbers of one kind."""
    random = np.random.default_rng(len(kind))
    x, y = numbers(random, NUMBERS), numbers(random, NUMBERS)
    width = HEADS * HEAD_DIM
    frequencies = 10000.0 ** (-np.arange(24) / 19)
    made: list[Call] = [
        (normalise, (x, y, empty(NUMBERS))),
        (turn, (numbers(random, width), numbers(random, 48), numbers(random, 48))),
        *((rope_tables, (frequencies, at, empty(48), empty(48))) for at in (0, 1, 4711, 2**20)),
        (softmax_numerators, (x.copy(),)),
        (swiglu, (x.copy(), y)),
        (add, (x.copy(), y)),
        (quantise, (x, np.zeros(quantised_bytes(NUMBERS), np.uint8))),
        (quantise_super, (numbers(random, 256), np.zeros(quantised_bytes(256), np.uint8))),
        (argmax, (x[:61].copy(),)),
        (logits_digest, (7, x[:61].copy())),
        (plain_read, (random.integers(0, 256, 1000, dtype=np.uint8),)),
    ]
    for layout in GEMV_LAYOUTS:
        matrix = matrix_of(layout)
        packed = weights(random, matrix, kind)
        given = activations(random, matrix, numbers(random, matrix.columns))
        made.append((gemv_of(layout), (packed, given, empty(STRIDE))))
        made.append((embed_of(layout), (packed, 37, empty(matrix.columns))))
    for layout in GEMM_LAYOUTS:
        matrix = matrix_of(layout)
        n_rows = int(padded_tokens(u64(N_TOKENS))) if matrix.quantised else N_TOKENS
        batch = np.zeros((n_rows, activation_row_bytes(matrix)), np.uint8)
        for row in batch[:N_TOKENS]:
            given = activations(random, matrix, numbers(random, matrix.columns))
            row[: len(given)] = given
        packed = weights(random, matrix, kind)
        made.append((gemm_of(layout), (packed, batch.reshape(-1), empty(N_TOKENS * STRIDE), N_TOKENS)))
    return made


def arrays_of(function: Any, given: tuple[Any, ...]) -> list[Array]:
    """Return the arrays of a call; what `quantise` writes as its floats and its integers."""
    arrays: list[Array] = [a for a in given if isinstance(a, np.ndarray)]
    if function in (quantise, quantise_super):
        words = arrays.pop().view(np.float32).reshape(-1, BLOCK_BYTES // 4)
        floats = [SCALE_AT // 4, SUM_AT // 4, TOTAL_AT // 4]
        arrays += [words[:, floats], np.delete(words, floats, axis=1).view(np.uint32)]
    return arrays


def alike(first: Any, second: Any) -> bool:
    """Tell whether two results are the same; any NaN equals any other."""
    return first == second or (first.value != first.value and second.value != second.value)


@pytest.mark.parametrize("target", EMULATED)
@pytest.mark.parametrize(("kind", "numbers"), [("usual", usual), ("extreme", extreme)])
def test_every_op_gives_the_bits_of_the_oracle(target: str, kind: str, numbers: Any) -> None:
    made = calls(kind, numbers)
    assert {id(function) for function, _ in made} == {id(function) for function in OPS}
    oracle: list[tuple[Any, ...]] = [deepcopy(given) for _, given in made]
    with np.errstate(all="ignore"):
        wanted = [run("python", f, *given) for (f, _), given in zip(made, oracle, strict=True)]
    results = emulated(target).call_all(made)
    for (function, given), other, result, expected in zip(made, oracle, results, wanted, strict=True):
        assert alike(result, expected), function
        pairs = zip(arrays_of(function, given), arrays_of(function, other), strict=True)
        assert all(same_bits(mine, its) for mine, its in pairs), function
        if kind == "usual":
            assert all(np.isfinite(a).all() for a in arrays_of(function, given)), function


@pytest.mark.parametrize("target", EMULATED)
def test_one_bit_of_a_weight_shows(target: str) -> None:
    products = [gemv_of(layout) for layout in GEMV_LAYOUTS]
    made = [call for call in calls("usual", usual) if call[0] in products]
    changed = [(function, deepcopy(given)) for function, given in made]
    for _, given in changed:
        given[0][-64] ^= 1
    emulated(target).call_all([*made, *changed])
    for (_, first), (_, second) in zip(made, changed, strict=True):
        assert not same_bits(first[2], second[2])


@pytest.mark.parametrize("target", EMULATED)
@pytest.mark.parametrize("kind", KV_TYPES)
@pytest.mark.parametrize("head_dim", [6, 64])
def test_attention_gives_the_bits_of_the_oracle(target: str, kind: str, head_dim: int) -> None:
    case = Case(kind, head_dim, 37, n_queries=3)
    case.store(target, 37)
    for n_positions in (1, 17, 37):
        out = case.attend(target, n_positions)
        assert np.abs(out - case.expected(n_positions)).max() < case.tolerance


def test_every_file_of_ops_is_in_the_object() -> None:
    compiled = {instance.function.__module__ for instance in emulated("aarch64").program.instances}
    names = {f"{ops.__name__}.{module.name}" for module in pkgutil.iter_modules(ops.__path__)}
    with_code = {n for n in names if any(isinstance(f, Function) for f in vars(import_module(n)).values())}
    # For processors that have what those are about.
    assert with_code - compiled == {gemm_tiles.__name__, gemm_words.__name__}


def test_ops_ask_nothing_of_a_processor_but_how_many_registers_it_has_and_whether_tiles() -> None:
    fields = set(Target._fields)
    for path in sorted(Path(ops.__path__[0]).glob("*.py")):
        tree = ast.parse(path.read_text())
        asked = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        named = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        assert not asked & (fields - {"name", "has_tiles"}), path
        assert not named & {"asm", "asm_value", "llvm_intrinsic"}, path
