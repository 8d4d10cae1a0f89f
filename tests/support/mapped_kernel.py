"""A kernel that maps a small plan, seals itself and runs one function: the bed for tests on metal.

`make_kernel(body)` gives the functions of an image; `body` runs on the guarded stack with the watchdog on,
and the kernel leaves with `ExitCode.OK` when it returns. With `lanes`, the machine's other processors are
started before, as many as are wanted; `extra_processors` are added to those that firmware lists.
"""

from collections.abc import Callable
from typing import Any

from axiom.abi.boot import (
    HUGE_PAGE_BYTES,
    PAGE_BYTES,
    ExitCode,
    RegionKind,
    RegionRequest,
    lane_stacks_bytes,
)
from axiom.lang import array, fn, static, static_var, u16, u32, u64, zeroed
from axiom.metal.arch.hpet import HPET_ADDRESS
from axiom.metal.arch.local_apic import LOCAL_APIC_ADDRESS
from axiom.metal.arch.physical_memory import boot_memory
from axiom.metal.arch.power import power_off
from axiom.metal.arch.processor import switch_stack
from axiom.metal.arch.pvh import read_start_info
from axiom.metal.arch.uart import COM1, uart_start
from axiom.metal.drivers.acpi import AcpiStatus
from axiom.metal.drivers.madt import Processors, find_processors
from axiom.metal.kernel.address_map import (
    activate,
    make_read_only,
    map_device,
    map_regions,
    page_table_bytes,
    seal_address_map,
    start_address_map,
)
from axiom.metal.kernel.clock import start_clock
from axiom.metal.kernel.core_start import join_lanes, prepare_cores, start_cores
from axiom.metal.kernel.firmware import FirmwareStatus, read_memory_map
from axiom.metal.kernel.frames import (
    CarveStatus,
    MemoryMap,
    allocate_regions,
    memory_of,
    regions,
    seal,
)
from axiom.metal.kernel.image_regions import add_image_regions
from axiom.metal.kernel.lanes import Lanes
from axiom.metal.kernel.panic import set_crash_place
from axiom.metal.kernel.watchdog import prepare_watchdog, start_watchdog

STACK_BYTES = 256 << 10
MOST_LANES = 4
_DATA = (
    (RegionKind.CRASH_RECORD, PAGE_BYTES, PAGE_BYTES),
    (RegionKind.ARENA, PAGE_BYTES, 1 << 20),
    (RegionKind.KV_CACHE, HUGE_PAGE_BYTES, 8 << 20),
    (RegionKind.WEIGHTS, HUGE_PAGE_BYTES, 32 << 20),
)
_TABLES_BYTES = page_table_bytes([(a, b) for _, a, b in _DATA], 4, 16)
PLAN = (
    (RegionKind.GUARD_BELOW, PAGE_BYTES, PAGE_BYTES),
    (RegionKind.STACK, PAGE_BYTES, STACK_BYTES),
    (RegionKind.GUARD_ABOVE, PAGE_BYTES, PAGE_BYTES),
    (RegionKind.LANE_STACKS, PAGE_BYTES, lane_stacks_bytes(MOST_LANES)),
    (RegionKind.PAGE_TABLES, _TABLES_BYTES, _TABLES_BYTES),
    *_DATA,
)

memory = static_var(zeroed(MemoryMap))
requests = static_var(array(RegionRequest, len(PLAN)))
processors = static_var(zeroed(Processors))
lane_counts = static_var(array(u32, 1))


@fn(phase="init")
def _carve(start_info: u64) -> None:
    info = read_start_info(boot_memory(), start_info)
    assert read_memory_map(boot_memory(), info, memory) == FirmwareStatus.OK, "no memory map"
    image_end = add_image_regions(regions)
    for number in static(range(len(PLAN))):
        requests[number].kind = PLAN[number][0]
        requests[number].align = u64(PLAN[number][1])
        requests[number].bytes = u64(PLAN[number][2])
    assert allocate_regions(memory, image_end, requests.all, regions) == CarveStatus.OK, "no room"


@fn(phase="init")
def _map() -> None:
    start_address_map(memory_of(RegionKind.PAGE_TABLES))
    map_regions(regions)
    map_device(u64(LOCAL_APIC_ADDRESS), u64(PAGE_BYTES))
    map_device(u64(HPET_ADDRESS), u64(PAGE_BYTES))
    activate()


@fn(phase="init")
def find_other_processors(start_info: u64) -> None:
    """Read which processors there are, and make ready to start them, while all memory is mapped."""
    info = read_start_info(boot_memory(), start_info)
    assert find_processors(boot_memory(), info.rsdp_address, processors) == AcpiStatus.OK, "no MADT"
    prepare_cores(memory, boot_memory())


def make_kernel(
    body: Callable[[], None],
    watchdog: bool = True,
    lanes: Lanes | None = None,
    wanted: int = 1,
    extra_processors: tuple[int, ...] = (),
) -> list[Any]:
    """Return the functions of an image that runs `body`."""
    if lanes is None:
        return [*_entry(body, watchdog, False)]
    set_count, lane_loop = lanes.set_count, lanes.lane_loop

    @fn
    def body_with_lanes() -> None:
        for number in static(extra_processors):
            processors.add(u32(number), u32(1))
        lane_counts[0] = start_cores(processors.ids(), u32(wanted), memory_of(RegionKind.LANE_STACKS))
        set_count(lane_counts[0])
        body()

    @fn(export="axiom_lane")
    def enter_lane(core: u32) -> None:
        lane_loop(join_lanes(core))

    return [*_entry(body_with_lanes, watchdog, True), enter_lane]


def _entry(body: Callable[[], None], watchdog: bool, with_lanes: bool) -> list[Any]:
    @fn(export="axiom_run")
    def run() -> None:
        body()
        power_off(ExitCode.OK)

    @fn(export="axiom_main")
    def main(start_info: u64) -> None:
        uart_start(u16(COM1))
        assert start_clock(), "no clock"
        _carve(start_info)
        if with_lanes:
            find_other_processors(start_info)
        _map()
        stack = memory_of(RegionKind.STACK)
        set_crash_place(memory_of(RegionKind.CRASH_RECORD), stack)
        make_read_only(regions, RegionKind.WEIGHTS)
        seal_address_map(regions)
        seal()
        if watchdog:
            prepare_watchdog()
            start_watchdog()
        switch_stack(stack)

    return [main, run]
