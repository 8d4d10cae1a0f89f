"""Memory that is touched ahead is there, zero, and given back once."""

import ctypes
import time
from pathlib import Path

import pytest

from axiom.host.errors import MachineError
from axiom.host.machine.ready_memory import ReadyMemory

PATIENCE = 20.0
MIB = 1 << 20


def test_it_is_touched_zero_and_can_be_written() -> None:
    memory = ReadyMemory(5 * MIB)
    address, count = memory.place
    assert count == 5 * MIB
    assert address % (2 * MIB) == 0
    deadline = time.monotonic() + PATIENCE
    while resident_bytes(address) < 6 * MIB:
        assert time.monotonic() < deadline
    words = (ctypes.c_uint64 * (count // 8)).from_address(address)
    assert not any(words[:: 4096 // 8])
    words[-1] = 7
    assert words[-1] == 7
    memory.close()
    assert resident_bytes(address) == 0
    memory.close()


def test_more_than_there_is_is_said() -> None:
    with pytest.raises(MachineError, match=r"cannot get \d+ MiB of memory"):
        ReadyMemory(1 << 50)


def resident_bytes(address: int) -> int:
    """Return how much is there of the mapping that begins at an address."""
    lines = iter(Path("/proc/self/smaps").read_text().splitlines())
    for line in lines:
        if line.startswith(f"{address:x}-"):
            return next(int(rest.split()[1]) << 10 for rest in lines if rest.startswith("Rss:"))
    return 0
