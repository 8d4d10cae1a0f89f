"""What backs a process's memory is what Linux says of it."""

import mmap
import os

from axiom.host.machine.backing import memory_backing

BYTES = 64 << 20


def test_memory_that_is_touched_is_counted() -> None:
    before = memory_backing(os.getpid())
    with mmap.mmap(-1, BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        for offset in range(0, BYTES, mmap.PAGESIZE):
            memory[offset] = 1
        after = memory_backing(os.getpid())
    assert set(before) == {
        "resident_bytes",
        "huge_anonymous_bytes",
        "huge_shared_bytes",
        "huge_file_bytes",
    }
    gained = after["resident_bytes"] - before["resident_bytes"]
    assert BYTES - (4 << 20) <= gained <= BYTES + (16 << 20)
    assert after["huge_anonymous_bytes"] <= after["resident_bytes"]


def test_without_a_process_nothing_is_said() -> None:
    assert memory_backing(None) == {}
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    assert memory_backing(child) == {}
