"""Getting the model: from the NVMe drive, or from memory where the machine's maker has put it already.

After `load` nobody knows the difference, but that the weights of a mapped model are compared with their
digests when there is time (see drivers.mapped_model) and those from the drive were as they came.
"""

from collections.abc import Callable
from dataclasses import dataclass

from axiom.abi.boot import (
    HUGE_PAGE_BYTES,
    PAGE_BYTES,
    PERMIT_READ,
    BootFailure,
    BootStage,
    ExitCode,
    RegionKind,
)
from axiom.lang import Slice, fn, static_var, u8, u32, u64, zeroed
from axiom.metal.arch.power import power_off
from axiom.metal.arch.statistics import beat
from axiom.metal.boot.config import KernelConfig
from axiom.metal.boot.start_report import reached, refuse, report
from axiom.metal.drivers.mapped_model import check_chunk, mapped, open_mapped
from axiom.metal.drivers.model_loader import LoadStatus, load_model, load_report
from axiom.metal.drivers.nvme import nvme, start_nvme
from axiom.metal.drivers.nvme_registers import NvmeStatus
from axiom.metal.drivers.pci import (
    MEMORY_WINDOW_ADDRESS,
    MEMORY_WINDOW_BYTES,
    PciDevice,
    configuration_space,
    find_class,
    start_pci,
)
from axiom.metal.drivers.pci_registers import CLASS_NVME, PciStatus
from axiom.metal.engine.sequence import EngineState, Phase
from axiom.metal.kernel.address_map import map_device
from axiom.metal.kernel.arena import allocate, start_arena
from axiom.metal.kernel.boot_options import MappedModel, find_mapped_model
from axiom.metal.kernel.clock import now_cycles
from axiom.metal.kernel.frames import add_region, align_up, memory_of, regions
from axiom.metal.kernel.refusal import write_refusal
from axiom.metal.kernel.scheduler import TaskStatus

drive = static_var(zeroed(PciDevice))
place = static_var(zeroed(MappedModel))


@dataclass(frozen=True)
class ModelStart:
    """The steps, in order.

    find(line): what the command line says of the model; is_mapped() from then on. add_regions():
    those of a mapped model. load(ecam): the weights are in their region after it, or the kernel has left.
    check_step, check_rest: compare what has not been compared yet, one chunk or all.
    """

    find: Callable[[Slice[u8]], None]
    is_mapped: Callable[[], bool]
    add_regions: Callable[[], None]
    load: Callable[[u64], None]
    check_step: Callable[[], TaskStatus]
    check_rest: Callable[[], None]


@fn(phase="init")
def map_registers() -> None:
    """Map the drive's registers where firmware has placed them outside of the window that is mapped."""
    end = drive.registers + drive.registers_bytes
    if drive.registers < MEMORY_WINDOW_ADDRESS or end > MEMORY_WINDOW_ADDRESS + MEMORY_WINDOW_BYTES:
        first = drive.registers & ~u64(PAGE_BYTES - 1)
        map_device(first, align_up(end - first, u64(PAGE_BYTES)))


@fn(phase="init")
def start_drive(ecam: u64) -> None:
    """Find the NVMe drive and start it."""
    start_pci(configuration_space(ecam), u64(MEMORY_WINDOW_ADDRESS), u64(MEMORY_WINDOW_BYTES))
    found = find_class(u32(CLASS_NVME), drive)
    if found != PciStatus.OK:
        refuse(BootFailure.NO_DRIVE, u32(found))
    map_registers()
    reached(BootStage.DEVICES_FOUND)
    started = start_nvme(drive.registers, drive.registers_bytes, memory_of(RegionKind.DEVICE_QUEUES))
    if started != NvmeStatus.OK:
        refuse_drive(started)
    reached(BootStage.DRIVE_READY)


@fn
def refuse_drive(status: NvmeStatus) -> None:
    """Leave because of the drive; the report says which command failed."""
    if status == NvmeStatus.COMMAND_FAILED:
        report.drive_opcode = nvme.failed_opcode
        report.drive_status = nvme.failed_status
    refuse(BootFailure.DRIVE_FAILED, u32(status))


@fn(phase="init")
def add_read_only(kind: RegionKind, address: u64, bytes: u64) -> None:
    """Add a region that nobody may ever write to."""
    assert add_region(regions, kind, address, bytes), "there are too many regions"
    regions.records[regions.count - 1].permissions = u32(PERMIT_READ)


@fn
def leave_damaged() -> None:
    """Leave because a chunk of the weights is damaged, after the link has been in use."""
    write_refusal(BootFailure.MODEL_REFUSED, u32(LoadStatus.WEIGHTS_DAMAGED))
    power_off(ExitCode.REFUSED)


def make_model_start(config: KernelConfig, state: EngineState) -> ModelStart:
    """Return the functions that get the model of one configuration."""
    weights_bytes, layout_id = config.weights_bytes, config.layout_id
    scratch_bytes = next(r.bytes for r in config.regions if r.kind == RegionKind.ARENA)
    region_bytes = -(-weights_bytes // HUGE_PAGE_BYTES) * HUGE_PAGE_BYTES

    @fn(phase="init")
    def find(line: Slice[u8]) -> None:
        report.mapped = u32(1) if find_mapped_model(line, place) else u32(0)

    @fn
    def is_mapped() -> bool:
        return report.mapped != 0

    @fn(phase="init")
    def add_regions() -> None:
        """Add the file up to its weights, and the weights; refuse when they make no sense."""
        offset = place.weights_offset
        aligned = (place.address | offset) % HUGE_PAGE_BYTES == 0
        if place.address == 0 or offset == 0 or not aligned or place.bytes < offset + region_bytes:
            refuse(BootFailure.MODEL_REFUSED, u32(LoadStatus.CONTRADICTORY_HEADER))
        add_read_only(RegionKind.MODEL_HEADER, place.address, offset)
        add_read_only(RegionKind.WEIGHTS, place.address + offset, u64(region_bytes))

    @fn(phase="init")
    def load(ecam: u64) -> None:
        if not is_mapped():
            start_drive(ecam)
        start_arena(memory_of(RegionKind.ARENA))
        scratch = allocate(u64(scratch_bytes), u64(PAGE_BYTES))
        weights = memory_of(RegionKind.WEIGHTS)
        start = now_cycles()
        if is_mapped():
            header = memory_of(RegionKind.MODEL_HEADER)
            loaded = open_mapped(scratch, header, weights, u64(weights_bytes), u64(layout_id))
            report.checked_bytes = mapped.checked_bytes()
        else:
            loaded = load_model(scratch, weights, u64(weights_bytes), u64(layout_id))
            report.load_bytes = u64(weights_bytes)
            report.checked_bytes = u64(weights_bytes)
        report.load_cycles = now_cycles() - start
        if loaded == LoadStatus.DRIVE_FAILED:
            refuse_drive(load_report.drive)
        if loaded != LoadStatus.OK:
            refuse(BootFailure.MODEL_REFUSED, u32(loaded))
        reached(BootStage.MODEL_LOADED)

    @fn
    def check_step() -> TaskStatus:
        if not is_mapped() or mapped.all_checked() or state.phase != Phase.IDLE:
            return TaskStatus.IDLE
        if not check_chunk():
            leave_damaged()
        return TaskStatus.WORKED

    @fn
    def check_rest() -> None:
        while is_mapped() and not mapped.all_checked():
            beat()
            if not check_chunk():
                leave_damaged()

    return ModelStart(find, is_mapped, add_regions, load, check_step, check_rest)
