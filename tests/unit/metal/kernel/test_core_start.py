"""Where the trampoline of the other processors goes."""

import pytest

from axiom.lang import u64, zeroed
from axiom.metal.kernel.core_start import find_trampoline
from axiom.metal.kernel.frames import USABLE, MemoryMap
from tests.support.targets import TARGETS, run

RESERVED = 2
KIB = 1 << 10
MIB = 1 << 20


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    ("ranges", "page"),
    [
        ([(0, 640 * KIB, USABLE), (MIB, 255 * MIB, USABLE)], 0x9E000),
        ([(0, 0x9FC00, USABLE), (0x9FC00, 0x400, RESERVED), (MIB, 255 * MIB, USABLE)], 0x9E000),
        ([(0, 0x8800, USABLE), (0x8800, MIB - 0x8800, RESERVED)], 0x7000),
        ([(0, 0x1000, USABLE), (0x20000, 0x1000, USABLE)], 0x20000),
        ([(0, 0x1000, USABLE), (0x20800, 0x1000, USABLE)], 0),
        ([(0, MIB, RESERVED), (MIB, 255 * MIB, USABLE)], 0),
        ([(0, 256 * MIB, USABLE)], 0x9E000),
        ([(0x3000, 0x800, USABLE)], 0),
        ([], 0),
    ],
)
def test_it_is_the_highest_whole_usable_page_that_real_mode_reaches(
    target: str, ranges: list[tuple[int, int, int]], page: int
) -> None:
    memory = zeroed(MemoryMap)
    memory.count = u64(len(ranges))
    for i, (address, length, kind) in enumerate(ranges):
        area = memory.ranges[i]
        area.address, area.bytes, area.kind = u64(address), u64(length), type(area.kind)(kind)
    assert int(run(target, find_trampoline, memory)) == page
