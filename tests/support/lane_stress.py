"""A program on lanes whose result shows any hand-over that came too early, and what it must give."""

from collections.abc import Callable

import numpy as np

from axiom.lang import array, fn, static_var, u32, u64, urange, wrapping_add, wrapping_mul
from axiom.metal.kernel.lanes import DEADLINE_CYCLES, Lanes, make_lanes

N_CELLS = 96
MULTIPLIER = 6364136223846793005


def make_stress(hosted: bool, deadline_cycles: int = DEADLINE_CYCLES) -> tuple[Lanes, Callable[[u64], u64]]:
    """Return lanes, and the function that does so many operations on them and returns a checksum.

    Operation t makes each lane's cells of one generation out of other lanes' cells of the one before.
    """
    cells = static_var(array(u64, 2 * N_CELLS), align=64)
    step = static_var(array(u64, 1))

    @fn
    def share(lane: u32, n_lanes: u32) -> None:
        t = step[0]
        source = cells.all.part(t % 2 * N_CELLS, N_CELLS)
        target = cells.all.part((t + 1) % 2 * N_CELLS, N_CELLS)
        first = N_CELLS * lane // n_lanes
        end = N_CELLS * (lane + 1) // n_lanes
        for i in urange(first, end):
            made = wrapping_mul(source[(i + N_CELLS // 2 + 1) % N_CELLS], u64(MULTIPLIER))
            target[i] = wrapping_add(wrapping_add(made, u64(i)), t)

    lanes = make_lanes(share, hosted, deadline_cycles)

    @fn
    def stress(n_operations: u64) -> u64:
        for t in urange(n_operations):
            step[0] = t
            lanes.run()
        total = u64(0)
        last = cells.all.part(n_operations % 2 * N_CELLS, N_CELLS)
        for i in urange(last.length):
            total = wrapping_add(wrapping_mul(total, u64(MULTIPLIER)), last[i])
        return total

    return lanes, stress


def expected_checksum(n_operations: int) -> int:
    """Return what `stress` must return, computed without lanes."""
    cells = np.zeros(N_CELLS, np.uint64)
    numbers = np.arange(N_CELLS, dtype=np.uint64)
    multiplier = np.uint64(MULTIPLIER)
    for t in range(n_operations):
        cells = np.roll(cells, -(N_CELLS // 2 + 1)) * multiplier + numbers + np.uint64(t)
    total = 0
    for cell in cells.tolist():
        total = (total * MULTIPLIER + int(cell)) % (1 << 64)
    return total
