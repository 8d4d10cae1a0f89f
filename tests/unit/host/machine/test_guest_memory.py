"""Guest memory as the host sees it: places, limits, and nothing left behind."""

import os

import pytest

from axiom.host.errors import MachineError, UserError
from axiom.host.machine.guest_memory import GuestMemory, RamRange, ram_ranges

MIB, GIB = 1 << 20, 1 << 30


def test_ram_lies_in_one_part_or_in_two() -> None:
    assert ram_ranges(2 * GIB) == (RamRange(0, 2 * GIB, 0),)
    assert ram_ranges(0xB0000000 - 2 * MIB) == (RamRange(0, 0xB0000000 - 2 * MIB, 0),)
    assert ram_ranges(3 * GIB) == (RamRange(0, 2 * GIB, 0), RamRange(4 * GIB, GIB, 2 * GIB))


def test_views_are_the_file_that_the_guest_maps() -> None:
    memory = GuestMemory(4 * GIB)
    with memory.view(4 * GIB + 16, 4) as view:
        view[:] = b"high"
    assert os.pread(memory.file, 4, 2 * GIB + 16) == b"high"
    os.pwrite(memory.file, b"low", 4096)
    with memory.view(4096, 3) as view:
        assert bytes(view) == b"low"
    memory.close()
    memory.close()


def test_a_view_must_be_memory_in_one_piece() -> None:
    memory = GuestMemory(4 * GIB)
    for address, count in [(2 * GIB - 1, 2), (3 * GIB, 1), (6 * GIB, 1), (-1, 1), (0, -1)]:
        with pytest.raises(MachineError, match="no memory is shared"):
            memory.view(address, count)
    memory.close()


def test_only_the_shared_part_can_be_seen() -> None:
    memory = GuestMemory(64 * MIB, 32 * MIB)
    memory.view(32 * MIB - 1, 1).release()
    with pytest.raises(MachineError, match="0x2000000"):
        memory.view(32 * MIB, 1)
    assert os.fstat(memory.file).st_size == 32 * MIB
    memory.close()


@pytest.mark.parametrize("size", [0, 8 * MIB, 64 * MIB + 4096])
def test_an_impossible_size_is_refused_in_words(size: int) -> None:
    with pytest.raises(UserError, match=f"a machine cannot have {size} bytes"):
        GuestMemory(size)


def test_a_view_outlives_the_memory_without_harm() -> None:
    memory = GuestMemory(16 * MIB)
    view = memory.view(0, 4)
    view[:] = b"kept"
    memory.close()
    assert bytes(view) == b"kept"
