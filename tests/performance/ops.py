"""Measure the matrix ops against what the processor can do; run by hand.

`python -m tests.performance.ops [--layouts q8_0x16,...] [--targets v4vnni,v3]` prints, for one core:

- gemv: 10^9 bytes of weights a second from memory, next to a plain read of the same bytes, taken in turns;
- gemm: 10^9 multiply-adds a second for a batch, next to a loop of nothing but byte dot products.

All memory is in huge pages, as the kernel's is.

Medians of interleaved rounds: on a shared machine only the ratios mean something.
"""

import argparse
import mmap
import statistics
import time
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from axiom.compiler.hosted import Hosted, load_hosted
from axiom.host.machine.tile_permission import ask_for_tiles
from axiom.lang import (
    X86_64_V3,
    X86_64_V4_AMX,
    X86_64_V4_VNNI,
    Slice,
    Target,
    array,
    bitcast,
    current_target,
    f32,
    fn,
    i8,
    i16,
    i32,
    reduce_add,
    splat,
    static,
    truncate,
    u8,
    u32,
    u64,
    urange,
    vload,
    vload_bytes,
    vstore,
)
from axiom.metal.arch.simd import add_pairs, dot4_small, sums_in_words
from axiom.metal.ops.gemm import activation_row_bytes, gemm
from axiom.metal.ops.gemv import gemv
from axiom.metal.ops.matrix import Matrix, row_stride
from axiom.metal.ops.plain_read import plain_read

TARGETS = {target.name: target for target in (X86_64_V4_AMX, X86_64_V4_VNNI, X86_64_V3)}
LAYOUTS = ("q4_0x16", "q8_0x16", "q4_kx16", "q6_kx16", "f16x16", "f32x16")
GEMV_SHAPES = ((2048, 2048), (8192, 2048), (2048, 8192), (4096, 4096))
GEMM_SHAPES = ((2048, 2048), (8192, 2048), (2048, 8192), (4096, 4096))
PEAK_ROUNDS = 2_000_000
# Sound numbers in every layout: an f16 of 2**-11 or so, an f32 of 1e-28, quants of 1.
FILL = 0x11
HUGE_PAGE_BYTES = 1 << 21

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]


def peak_dots(target: Target) -> int:
    """Return how many sums of sixteen rows stay in registers."""
    return 12 if target.many_registers else 6


@fn
def dot_peak(rounds: u64, data: Slice[u8]) -> i32:
    """Do `peak_dots` independent dot products of 64 bytes a round, as is cheapest for small weights."""
    n_dots = peak_dots(current_target())
    words = array(i16, 32 * n_dots)
    sums = array(i32, 16 * n_dots)
    for n in urange(rounds):
        a = bitcast(u8, splat(u32, 16, truncate(u32, n) & 0x0F0F0F0F))
        for i in static(range(n_dots)):
            b = vload_bytes(i8, 64, data, 64 * i)
            if sums_in_words(current_target()):
                vstore(words.all, 32 * i, add_pairs(vload(words.all, 32 * i, 32), a, b))
            else:
                vstore(sums.all, 16 * i, dot4_small(vload(sums.all, 16 * i, 16), a, b))
    total = splat(i32, 16, 0)
    for i in static(range(n_dots)):
        total = total + vload(sums.all, 16 * i, 16) + bitcast(i32, vload(words.all, 32 * i, 32))
    return reduce_add(total)


@cache
def gemv_all(matrix: Matrix) -> Any:
    """Return an op that multiplies by matrix after matrix of one shape."""

    @fn
    def run(weights: Slice[u8], activations: Slice[u8], out: Slice[f32], count: u64) -> None:
        for number in urange(count):
            part = weights.part(number * matrix.bytes, matrix.bytes)
            gemv(matrix, part, activations, out, u64(0), u64(matrix.n_groups))

    return run


@cache
def gemm_all(matrix: Matrix) -> Any:
    """Return an op that multiplies a batch by one matrix."""

    @fn
    def run(weights: Slice[u8], activations: Slice[u8], out: Slice[f32], n_tokens: u64) -> None:
        gemm(
            matrix,
            weights,
            activations,
            out,
            u64(0),
            u64(matrix.n_groups),
            n_tokens,
            row_stride(matrix.rows),
        )

    return run


def seconds(run: Callable[[], object]) -> float:
    """Return how long a call takes."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def in_turns(arms: list[Callable[[], object]], rounds: int) -> list[float]:
    """Run the arms one after the other, `rounds` times; return the median seconds of each."""
    for arm in arms:
        arm()
    taken = [[seconds(arm) for arm in arms] for _ in range(rounds)]
    return [statistics.median(column) for column in zip(*taken, strict=True)]


def huge_memory(n_bytes: int) -> Bytes:
    """Return memory in huge pages, touched."""
    memory = mmap.mmap(-1, n_bytes + HUGE_PAGE_BYTES)
    memory.madvise(mmap.MADV_HUGEPAGE)
    whole = np.frombuffer(memory, np.uint8)
    start = -whole.ctypes.data % HUGE_PAGE_BYTES
    array = whole[start : start + n_bytes]
    array[:] = FILL
    return array


@cache
def load_read(target: Target) -> Hosted:
    """Return the plain read and the peak loop, compiled."""
    return load_hosted([plain_read, dot_peak], target)


def gemv_lines(target: Target, layouts: list[str], memory: Bytes, rounds: int) -> Iterator[str]:
    """Measure gemv of every layout and shape."""
    read = load_read(target)
    for layout in layouts:
        for rows, columns in GEMV_SHAPES:
            matrix = Matrix(layout, rows, columns)
            op, loaded = gemv_all(matrix), load_hosted([gemv_all(matrix)], target)
            count = len(memory) // matrix.bytes
            used = memory[: count * matrix.bytes]
            activations = np.full(activation_row_bytes(matrix), FILL, np.uint8)
            out = np.zeros(matrix.n_groups * 16, np.float32)
            plain = partial(read, plain_read, used)
            multiply = partial(loaded, op, used, activations, out, count)
            a, b = in_turns([plain, multiply], rounds)
            one = memory[: matrix.bytes]
            # From a cache, mostly: the same matrix again.
            again = partial(loaded, op, one, activations, out, 1)
            again()
            near = statistics.median(seconds(again) for _ in range(8 * rounds))
            size = len(used) / 1e9
            yield (
                f"gemv {target.name:7} {layout:8} {rows:5}x{columns:<5} {size / b:6.1f} GB/s,"
                f" plain read {size / a:6.1f}, {a / b:6.1%}; from cache {len(one) / near / 1e9:6.1f}"
            )


def gemm_lines(
    target: Target, layouts: list[str], memory: Bytes, rounds: int, n_tokens: int
) -> Iterator[str]:
    """Measure gemm of every layout and shape."""
    read = load_read(target)
    for layout in layouts:
        for rows, columns in GEMM_SHAPES:
            matrix = Matrix(layout, rows, columns)
            op, loaded = gemm_all(matrix), load_hosted([gemm_all(matrix)], target)
            used = memory[: matrix.bytes]
            activations = huge_memory(activation_row_bytes(matrix) * (n_tokens + 15))
            out = huge_memory(row_stride(matrix.rows) * n_tokens * 4).view(np.float32)
            peak = partial(read, dot_peak, PEAK_ROUNDS, memory[: 64 * peak_dots(target)])
            multiply = partial(loaded, op, used, activations, out, n_tokens)
            a, b = in_turns([peak, multiply], rounds)
            ceiling = PEAK_ROUNDS * peak_dots(target) * 64 / a / 1e9
            reached = rows * columns * n_tokens / b / 1e9
            yield (
                f"gemm {target.name:7} {layout:8} {rows:5}x{columns:<5} x {n_tokens:3}"
                f" {reached:6.1f} GMAC/s, bytes at best {ceiling:6.1f}, {reached / ceiling:6.1%}"
            )


def main() -> None:
    """Parse the options and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layouts", default=",".join(LAYOUTS))
    parser.add_argument("--targets", default=",".join(TARGETS))
    parser.add_argument("--ops", default="gemv,gemm")
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--gigabytes", type=float, default=1.2)
    options = parser.parse_args()
    layouts = options.layouts.split(",")
    memory = huge_memory(int(options.gigabytes * 1e9) // 4096 * 4096)
    for name in options.targets.split(","):
        target = TARGETS[name]
        if target.has_tiles and not ask_for_tiles():
            print(f"{name}: Linux does not give matrix tiles to processes here")
            continue
        if "gemv" in options.ops:
            for line in gemv_lines(target, layouts, memory, options.rounds):
                print(line, flush=True)
        if "gemm" in options.ops:
            for line in gemm_lines(target, layouts, memory, options.rounds, options.tokens):
                print(line, flush=True)


if __name__ == "__main__":
    main()
