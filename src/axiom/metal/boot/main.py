"""main: the kernel from its first Python instruction to the loop that never returns.

axiom_main, on the boot stack and the boot page tables      axiom_run, on the guarded stack
  processor    which vectors, how fast the clock              load         weights from the drive, unless
  memory       firmware's map carved by the plan                           they are in memory already
  lanes        which other processors there are               seal         read-only, no more allocation
  address map  one identity map, with permissions             lanes        the other processors begin
                                                              serve        link and engine, for good
"""

from typing import Any

from axiom.abi.boot import (
    PAGE_BYTES,
    BootFailure,
    BootStage,
    Counters,
    ExitCode,
    RegionKind,
    RegionRequest,
)
from axiom.lang import (
    X86_64_V3,
    X86_64_V4_VNNI,
    array,
    fn,
    static,
    static_var,
    u16,
    u32,
    u64,
    zeroed,
)
from axiom.metal.arch.entry import entry_cycles
from axiom.metal.arch.hpet import HPET_ADDRESS
from axiom.metal.arch.local_apic import LOCAL_APIC_ADDRESS
from axiom.metal.arch.physical_memory import boot_memory
from axiom.metal.arch.power import power_off
from axiom.metal.arch.processor import switch_stack
from axiom.metal.arch.processor_level import ProcessorLevel, processor_level
from axiom.metal.arch.pvh import StartInfo, command_line_bytes, read_start_info
from axiom.metal.arch.statistics import beat, hardware_counters
from axiom.metal.arch.uart import COM1, COM2, uart_start
from axiom.metal.boot.config import KernelConfig
from axiom.metal.boot.lane_start import make_lane_start
from axiom.metal.boot.model_start import make_model_start
from axiom.metal.boot.service import make_service, service
from axiom.metal.boot.stack_use import count_stacks, paint_run_stack
from axiom.metal.boot.start_report import reached, refuse, report, send_report
from axiom.metal.drivers.acpi import AcpiStatus, EcamWindow, find_ecam
from axiom.metal.drivers.pci import (
    CONFIGURATION_BYTES,
    MEMORY_WINDOW_ADDRESS,
    MEMORY_WINDOW_BYTES,
    enable_q35_ecam,
)
from axiom.metal.engine.engine import make_engine
from axiom.metal.kernel.address_map import (
    activate,
    address_map,
    make_read_only,
    map_device,
    map_regions,
    seal_address_map,
    start_address_map,
)
from axiom.metal.kernel.clock import clock, start_clock
from axiom.metal.kernel.firmware import FirmwareStatus, read_memory_map
from axiom.metal.kernel.frames import (
    CarveStatus,
    MemoryMap,
    allocate_regions,
    allocator,
    memory_of,
    regions,
    seal,
)
from axiom.metal.kernel.image_regions import add_image_regions
from axiom.metal.kernel.link import start_link
from axiom.metal.kernel.panic import set_crash_place
from axiom.metal.kernel.scheduler import Task, TaskStatus, make_run
from axiom.metal.kernel.serial_link import serial_link_step
from axiom.metal.kernel.watchdog import prepare_watchdog, start_watchdog

SERIAL_BUDGET_CYCLES = 20_000_000
CHECK_BUDGET_CYCLES = 200_000_000

memory_map = static_var(zeroed(MemoryMap))


@fn(phase="init")
def find_configuration_space(rsdp_address: u64) -> u64:
    """Return the address of the PCI configuration space, by ACPI or else by the host bridge; 0 for none."""
    window = zeroed(EcamWindow)
    if find_ecam(boot_memory(), rsdp_address, window) == AcpiStatus.OK:
        return window.address
    return enable_q35_ecam()


@fn(phase="init")
def map_memory(ecam: u64) -> None:
    """Make the identity map with permissions and use it. ecam: 0 when no device is needed."""
    start_address_map(memory_of(RegionKind.PAGE_TABLES))
    map_regions(regions)
    map_device(u64(LOCAL_APIC_ADDRESS), u64(PAGE_BYTES))
    map_device(u64(HPET_ADDRESS), u64(PAGE_BYTES))
    if ecam != 0:
        map_device(u64(MEMORY_WINDOW_ADDRESS), u64(MEMORY_WINDOW_BYTES))
        map_device(ecam, u64(CONFIGURATION_BYTES))
    activate()
    report.giant_pages = u32(1) if address_map.giant_pages else u32(0)


@fn
def count_hardware(counters: Counters) -> None:
    """Fill in what the stubs of ring 0 have counted, and how full the stacks ever were."""
    hardware = hardware_counters()
    counters.timer_interrupts = hardware.ticks
    counters.other_interrupts = hardware.other_interrupts
    counters.exceptions = hardware.exceptions
    counters.gate_calls = hardware.gate_calls
    counters.refused_allocations = allocator.refused
    count_stacks(counters)


@fn
def serial_step() -> TaskStatus:
    """Move the link's bytes over the second serial port."""
    return TaskStatus.WORKED if serial_link_step() else TaskStatus.IDLE


def make_kernel(config: KernelConfig) -> list[Any]:
    """Return the exported functions of an image for one configuration."""
    plan = config.regions
    requests = static_var(array(RegionRequest, len(plan)))
    engine = make_engine(config.engine, beat)
    served = make_service(engine, (X86_64_V3, X86_64_V4_VNNI), count_hardware, hosted=False)
    state = served.state
    model_start = make_model_start(config, state)
    check = Task("check", model_start.check_step, CHECK_BUDGET_CYCLES)
    extra = (Task("serial", serial_step, SERIAL_BUDGET_CYCLES),) if config.serial_link else ()
    run_tasks = make_run((*served.tasks, check, *extra), heartbeat=True)
    lane_start = make_lane_start(served.lanes, config.engine.n_lanes)
    serial = config.serial_link
    ecam_place = static_var(array(u64, 1))

    @fn(phase="init")
    def carve_memory(info: StartInfo) -> None:
        if read_memory_map(boot_memory(), info, memory_map) != FirmwareStatus.OK:
            refuse(BootFailure.NO_MEMORY_MAP, u32(0))
        image_end = add_image_regions(regions)
        model_start.find(command_line_bytes(boot_memory(), info))
        count = u64(0)
        for number in static(range(len(plan))):
            if plan[number].kind != RegionKind.WEIGHTS or not model_start.is_mapped():
                requests[count].kind = plan[number].kind
                requests[count].align = u64(plan[number].align)
                requests[count].bytes = u64(plan[number].bytes)
                count += 1
        carved = allocate_regions(memory_map, image_end, requests.all.part(0, count), regions)
        if carved != CarveStatus.OK:
            refuse(BootFailure.OUT_OF_MEMORY, u32(carved))
        if model_start.is_mapped():
            model_start.add_regions()

    @fn(phase="init")
    def seal_everything() -> None:
        make_read_only(regions, RegionKind.WEIGHTS)
        seal_address_map(regions)
        seal()
        reached(BootStage.SEALED)

    @fn(export="axiom_main")
    def main(start_info: u64) -> None:
        report.stage_cycles[u32(BootStage.ENTRY)] = entry_cycles()
        reached(BootStage.RING3)
        uart_start(u16(COM1))
        if serial:
            uart_start(u16(COM2))
        level = processor_level()
        if level == ProcessorLevel.TOO_OLD:
            refuse(BootFailure.PROCESSOR_TOO_OLD, u32(0))
        service.wide = level == ProcessorLevel.V4_VNNI
        report.vector_bytes = u32(64) if service.wide else u32(32)
        if not start_clock():
            refuse(BootFailure.CLOCK_UNKNOWN, u32(0))
        report.tsc_hz = clock.tsc_hz
        info = read_start_info(boot_memory(), start_info)
        carve_memory(info)
        if not model_start.is_mapped():
            ecam_place[0] = find_configuration_space(info.rsdp_address)
            if ecam_place[0] == 0:
                refuse(BootFailure.NO_ECAM, u32(0))
        lane_start.find(boot_memory(), info.rsdp_address, memory_map)
        map_memory(ecam_place[0])
        reached(BootStage.MEMORY_MAPPED)
        stack = memory_of(RegionKind.STACK)
        set_crash_place(memory_of(RegionKind.CRASH_RECORD), stack)
        paint_run_stack()
        switch_stack(stack)

    @fn(export="axiom_run")
    def run() -> None:
        model_start.load(ecam_place[0])
        prepare_watchdog()
        engine.bind(
            state,
            memory_of(RegionKind.WEIGHTS),
            memory_of(RegionKind.KV_CACHE),
            memory_of(RegionKind.ACTIVATIONS),
        )
        seal_everything()
        lane_start.start(report)
        start_watchdog()
        start_link(memory_of(RegionKind.LINK))
        reached(BootStage.READY)
        send_report()
        run_tasks()
        model_start.check_rest()
        if serial:
            while serial_link_step():
                beat()
        power_off(ExitCode.OK)

    return [main, run, lane_start.enter]
