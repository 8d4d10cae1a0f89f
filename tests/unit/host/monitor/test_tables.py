"""What the monitor leaves in memory is what the kernel reads there."""

import numpy as np
import pytest

from axiom.abi.boot import MAX_LANES
from axiom.host.monitor.tables import TABLES_ADDRESS, TABLES_END, memory_ranges, start_tables
from axiom.lang import Slice, copy, fn, u8, u64, urange, zeroed
from axiom.metal.arch.physical_memory import PhysicalMemory
from axiom.metal.arch.pvh import command_line_bytes, read_start_info
from axiom.metal.drivers.acpi import AcpiStatus
from axiom.metal.drivers.madt import Processors, find_processors
from axiom.metal.kernel.firmware import FirmwareStatus, read_memory_map
from axiom.metal.kernel.frames import MemoryMap
from tests.support.targets import run

GIB = 1 << 30
LOW = ((0, GIB),)
SPLIT = ((0, 2 * GIB), (4 * GIB, 3 * GIB))


@fn(phase="init")
def read(tables: Slice[u8], found: MemoryMap, line: Slice[u8], answer: Slice[u64]) -> AcpiStatus:
    memory = PhysicalMemory(bytes=tables, start=u64(TABLES_ADDRESS))
    info = read_start_info(memory, u64(TABLES_ADDRESS))
    if read_memory_map(memory, info, found) != FirmwareStatus.OK:
        return AcpiStatus.NO_TABLE
    text = command_line_bytes(memory, info)
    copy(line.part(0, text.length), text)
    answer[0] = text.length
    processors = zeroed(Processors)
    status = find_processors(memory, info.rsdp_address, processors)
    ids = processors.ids()
    answer[1] = ids.length
    for i in urange(ids.length):
        answer[i + 2] = u64(ids[i])
    return status


@pytest.mark.parametrize("ram", [LOW, SPLIT])
@pytest.mark.parametrize("n_processors", [1, 2, 254])
def test_the_kernel_finds_memory_processors_and_its_command_line(
    ram: tuple[tuple[int, int], ...], n_processors: int
) -> None:
    tables = np.frombuffer(start_tables(ram, n_processors, "model=1,2,3"), np.uint8).copy()
    found, line, answer = zeroed(MemoryMap), np.zeros(4096, np.uint8), np.zeros(2 + MAX_LANES, np.uint64)
    assert run("python", read, tables, found, line, answer) == AcpiStatus.OK
    assert line[: int(answer[0])].tobytes() == b"model=1,2,3"
    assert answer[2 : 2 + int(answer[1])].tolist() == list(range(min(n_processors, MAX_LANES)))
    records = [found.ranges[i] for i in range(int(found.count))]
    assert [(int(r.address), int(r.bytes), int(r.kind)) for r in records] == memory_ranges(ram)
    assert TABLES_ADDRESS + len(tables) == TABLES_END


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        start_tables(LOW, 1, "x" * 4096)
