"""An image that finds the drive and loads a model as the host's task says, then reports and leaves.

Task and report lie at fixed places of the boot map, which covers the first 4 GiB.
"""

from axiom.abi.boot import ExitCode
from axiom.lang import fn, slice_at, struct, struct_at, u8, u16, u32, u64, unsafe, zeroed
from axiom.metal.arch.physical_memory import boot_memory
from axiom.metal.arch.power import power_off
from axiom.metal.arch.pvh import read_start_info
from axiom.metal.arch.uart import COM1, uart_start
from axiom.metal.drivers.acpi import AcpiStatus, EcamWindow, find_ecam
from axiom.metal.drivers.model_loader import LoadStatus, load_model, load_report
from axiom.metal.drivers.nvme import nvme, start_nvme
from axiom.metal.drivers.nvme_registers import DEVICE_QUEUE_BYTES, NvmeStatus
from axiom.metal.drivers.pci import (
    MEMORY_WINDOW_ADDRESS,
    MEMORY_WINDOW_BYTES,
    PciDevice,
    enable_q35_ecam,
    find_class,
    start_pci,
)
from axiom.metal.drivers.pci_registers import BUS_BYTES, CLASS_NVME, PciStatus
from axiom.metal.kernel.clock import clock, now_cycles, start_clock

TASK_ADDRESS = 16 << 20
REPORT_ADDRESS = TASK_ADDRESS + 4096
QUEUES_ADDRESS = 20 << 20
SCRATCH_ADDRESS = 24 << 20
SCRATCH_BYTES = 1 << 20
WEIGHTS_ADDRESS = 32 << 20
TASK_READY = 0x5441534B
START_INFO_BYTES = 64


@struct
class DriveTask:
    """What to load; `ready` is written last. ignore_acpi: take the host bridge's word instead."""

    ready: u64
    layout_id: u64
    weights_bytes: u64
    ignore_acpi: u64


@struct
class DriveReport:
    """How far it came."""

    tsc_hz: u64
    acpi: AcpiStatus
    pci: PciStatus
    ecam: u64
    registers: u64
    registers_bytes: u64
    nvme: NvmeStatus
    load: LoadStatus
    read: NvmeStatus
    failed_status: u32
    transfer_bytes: u64
    block_bytes: u64
    n_blocks: u64
    damaged_chunk: u64
    start_cycles: u64
    load_cycles: u64


@fn(phase="init")
def _wait_for_task() -> DriveTask:
    while True:
        # SAFETY: the address is RAM that nothing else uses; the host writes `ready` last.
        with unsafe:
            task = struct_at(DriveTask, u64(TASK_ADDRESS))
        if task.ready == TASK_READY:
            return task


@fn(phase="init")
def _find_ecam(start_info: u64, task: DriveTask, report: DriveReport) -> None:
    info = read_start_info(boot_memory(), start_info)
    window = zeroed(EcamWindow)
    report.acpi = find_ecam(boot_memory(), info.rsdp_address, window)
    report.ecam = window.address
    if report.acpi != AcpiStatus.OK or task.ignore_acpi != 0:
        report.ecam = enable_q35_ecam()


@fn(phase="init")
def _load(task: DriveTask, report: DriveReport) -> None:
    # SAFETY: these places are RAM that nothing else uses.
    with unsafe:
        configuration = slice_at(u8, report.ecam, 256 * BUS_BYTES)
        queues = slice_at(u8, u64(QUEUES_ADDRESS), DEVICE_QUEUE_BYTES)
        scratch = slice_at(u8, u64(SCRATCH_ADDRESS), SCRATCH_BYTES)
        weights = slice_at(u8, u64(WEIGHTS_ADDRESS), task.weights_bytes)
    device = zeroed(PciDevice)
    start_pci(configuration, u64(MEMORY_WINDOW_ADDRESS), u64(MEMORY_WINDOW_BYTES))
    report.pci = find_class(u32(CLASS_NVME), device)
    report.registers = device.registers
    report.registers_bytes = device.registers_bytes
    if report.pci != PciStatus.OK:
        return
    start = now_cycles()
    report.nvme = start_nvme(device.registers, device.registers_bytes, queues)
    report.start_cycles = now_cycles() - start
    report.failed_status = nvme.failed_status
    report.transfer_bytes = nvme.transfer_bytes
    report.block_bytes = nvme.block_bytes
    report.n_blocks = nvme.n_blocks
    if report.nvme == NvmeStatus.OK:
        start = now_cycles()
        report.load = load_model(scratch, weights, task.weights_bytes, task.layout_id)
        report.load_cycles = now_cycles() - start
        report.read = load_report.drive
        report.damaged_chunk = load_report.damaged_chunk


@fn(export="axiom_main", phase="init")
def main(start_info: u64) -> None:
    """Run the task."""
    uart_start(u16(COM1))
    assert start_clock(), "no clock"
    task = _wait_for_task()
    # SAFETY: the address is RAM that nothing else uses.
    with unsafe:
        report = struct_at(DriveReport, u64(REPORT_ADDRESS))
    report.tsc_hz = clock.tsc_hz
    _find_ecam(start_info, task, report)
    if report.ecam != 0:
        _load(task, report)
    power_off(ExitCode.OK)


@fn(export="axiom_run")
def run() -> None:
    """Nothing is left to run."""
    power_off(ExitCode.OK)
