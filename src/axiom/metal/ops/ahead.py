"""Asking for weights ahead of the walk through them.

Far enough to hide memory, near enough to stay in the first-level cache; measured from 0.5 to 16 KiB. Two
row groups are walked through in turns, a block or super-block of each, hence the latter's larger distance.
"""

from axiom.lang import Slice, fn, prefetch, static, u8, u64
from axiom.metal.ops.matrix import round_up

BLOCK_AHEAD_BYTES = 1024
SUPER_AHEAD_BYTES = 3072


@fn(inline="always")
def prefetch_part(weights: Slice[u8], ahead_bytes: int, n_bytes: int, part: int, n_parts: int) -> None:
    """Ask for one of `n_parts` parts of the `n_bytes` that begin `ahead_bytes` on.

    A few lines at a time: a processor holds no more than some sixteen requests.
    """
    n_lines = (n_bytes + 63) // 64
    for line in static(range(n_lines * part // n_parts, n_lines * (part + 1) // n_parts)):
        prefetch(weights, ahead_bytes + 64 * line)


@fn(inline="always")
def prefetch_lines(weights: Slice[u8], ahead_bytes: int, n_bytes: int, part: u64, n_parts: int) -> None:
    """Do what `prefetch_part` does for a part that is known at run time only; the last may be longer."""
    n_lines = round_up(n_bytes, 64 * n_parts) // (64 * n_parts)
    for line in static(range(n_lines)):
        prefetch(weights, part * (64 * n_lines) + (ahead_bytes + 64 * line))
