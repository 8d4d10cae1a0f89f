"""Measure what bounds checks cost the matrix ops; run by hand.

`python -m tests.performance.checks [--json FILE] [--rounds N] [--target v4vnni]` compiles each op twice,
once with every check and once without those of bounds, and runs the two in turns on one core. A ratio above
1 is what the checks cost: seconds with them, divided by seconds without, the median of the rounds. The two
builds also differ in where their code lies, which alone is worth about a hundredth either way.
"""

import argparse
import json
import math
import platform
import statistics
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np

from axiom.compiler.hosted import load_hosted, load_without
from axiom.lang import PanicReason, Target
from axiom.metal.ops.gemm import activation_row_bytes
from axiom.metal.ops.matrix import Matrix, row_stride
from tests.performance.ops import FILL, LAYOUTS, TARGETS, gemm_all, gemv_all, huge_memory, seconds

ROWS, COLUMNS = 2048, 2048
BATCH = 32
GEMV_MATRICES = 2
BOUNDS = frozenset({PanicReason.BOUNDS})


@dataclass(frozen=True)
class Cost:
    """An op, and the ratio of its seconds with checks to those without."""

    op: str
    layout: str
    seconds: float
    ratio: float


def measure(target: Target, layouts: list[str], rounds: int) -> Iterator[Cost]:
    """Measure one product with a vector and one with a batch for each layout."""
    for layout in layouts:
        matrix = Matrix(layout, ROWS, COLUMNS)
        memory = huge_memory(GEMV_MATRICES * matrix.bytes)
        activations = np.full(activation_row_bytes(matrix) * BATCH, FILL, np.uint8)
        out = np.zeros(row_stride(ROWS) * BATCH, np.float32)
        for name, op, used, count in (
            ("gemv", gemv_all(matrix), memory, GEMV_MATRICES),
            ("gemm", gemm_all(matrix), memory[: matrix.bytes], BATCH),
        ):
            arms = [
                partial(loaded, op, used, activations, out, count)
                for loaded in (load_hosted([op], target), load_without([op], BOUNDS, target))
            ]
            for arm in arms:
                arm()
            taken: list[tuple[float, float]] = []
            for number in range(rounds):
                # Whoever is first in a round takes turns, too.
                order = (0, 1) if number % 2 == 0 else (1, 0)
                times = {which: seconds(arms[which]) for which in order}
                taken.append((times[0], times[1]))
            ratio = statistics.median(a / b for a, b in taken)
            yield Cost(name, layout, statistics.median(a for a, _ in taken), ratio)


def main() -> None:
    """Parse the options and print, or write, what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layouts", default=",".join(LAYOUTS))
    parser.add_argument("--target", default="v4vnni", choices=TARGETS)
    parser.add_argument("--rounds", type=int, default=101)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found: list[Cost] = []
    for cost in measure(TARGETS[options.target], options.layouts.split(","), options.rounds):
        found.append(cost)
        print(f"{cost.op} {cost.layout:8} {cost.seconds * 1e3:8.3f} ms {cost.ratio - 1:+7.2%}", flush=True)
    mean = math.exp(statistics.fmean(math.log(cost.ratio) for cost in found))
    print(f"geometric mean {mean - 1:+.2%}")
    if options.json is not None:
        facts = {
            "what": "seconds with bounds checks divided by seconds without, medians of interleaved rounds",
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "target": options.target,
            "rounds": options.rounds,
            "shape": [ROWS, COLUMNS],
            "batch": BATCH,
            "python": platform.python_version(),
            "kernel": platform.release(),
            "geometric_mean": mean,
            "costs": [asdict(cost) for cost in found],
        }
        options.json.write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
