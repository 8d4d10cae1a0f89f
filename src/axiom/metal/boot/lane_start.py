"""Bringing up the lanes of an image: which processors there are, waking them, what they run."""

from collections.abc import Callable
from dataclasses import dataclass

from axiom.abi.boot import BootReport, RegionKind
from axiom.lang import fn, static_var, u32, u64, zeroed
from axiom.metal.arch.physical_memory import PhysicalMemory
from axiom.metal.arch.user_wait import has_user_wait
from axiom.metal.boot.stack_use import paint_lane_stacks
from axiom.metal.drivers.acpi import AcpiStatus
from axiom.metal.drivers.madt import Processors, find_processors
from axiom.metal.kernel.clock import now_cycles
from axiom.metal.kernel.core_start import join_lanes, prepare_cores, start_cores
from axiom.metal.kernel.frames import MemoryMap, memory_of
from axiom.metal.kernel.lanes import Lanes

processors = static_var(zeroed(Processors))


@dataclass(frozen=True)
class LaneStart:
    """The steps, in order.

    find(tables, rsdp_address, memory_map): while entry's page tables map all memory.
    start(report): once the address map is sealed; says in the report how many lanes there are.
    enter(core): the exported function in which another processor begins.
    """

    find: Callable[[PhysicalMemory, u64, MemoryMap], None]
    start: Callable[[BootReport], None]
    enter: Callable[[u32], None]


def make_lane_start(lanes: Lanes, wanted: int) -> LaneStart:
    """Return the functions that bring up `wanted` lanes, or as many as there are processors."""
    set_count, let_doze, lane_loop = lanes.set_count, lanes.let_doze, lanes.lane_loop

    @fn(phase="init")
    def find(tables: PhysicalMemory, rsdp_address: u64, memory_map: MemoryMap) -> None:
        if wanted > 1 and find_processors(tables, rsdp_address, processors) == AcpiStatus.OK:
            prepare_cores(memory_map, tables)

    @fn(phase="init")
    def start(report: BootReport) -> None:
        report.n_lanes = u32(1)
        if wanted > 1:
            begin = now_cycles()
            paint_lane_stacks()
            report.n_lanes = start_cores(processors.ids(), u32(wanted), memory_of(RegionKind.LANE_STACKS))
            report.lane_start_cycles = now_cycles() - begin
        set_count(report.n_lanes)
        if report.n_lanes > 1 and has_user_wait():
            let_doze()

    @fn(export="axiom_lane")
    def enter(core: u32) -> None:
        lane_loop(join_lanes(core))

    return LaneStart(find, start, enter)
