"""Refusing to start, in a sentence for a person at the serial line; the boot report carries the numbers."""

from axiom.abi.boot import BootFailure
from axiom.lang import fn, u32, write_to
from axiom.metal.kernel.log import log


@fn
def _write_reason(failure: BootFailure) -> None:
    match failure:
        case BootFailure.PROCESSOR_TOO_OLD:
            log.text("this processor lacks AVX2, BMI2, F16C or FMA (x86-64-v3 is needed)")
        case BootFailure.NO_MEMORY_MAP:
            log.text("the boot loader passed no memory map (PVH version 1 is needed)")
        case BootFailure.OUT_OF_MEMORY:
            log.text("the machine's memory has no room for the planned regions")
        case BootFailure.REGION_MISPLACED:
            log.text("a region does not lie where the plan says")
        case BootFailure.NO_ECAM:
            log.text("there is no memory-mapped PCI configuration space")
        case BootFailure.NO_DRIVE:
            log.text("there is no usable NVMe drive")
        case BootFailure.DRIVE_FAILED:
            log.text("the NVMe drive failed")
        case BootFailure.MODEL_REFUSED:
            log.text("the drive does not hold the intact model that this image was built for")
        case BootFailure.CLOCK_UNKNOWN:
            log.text("nothing tells the frequency of the time-stamp counter")
        case BootFailure.NONE:
            log.text("for no reason")


@fn
def write_refusal(failure: BootFailure, detail: u32) -> None:
    """Write one line: the reason, and the detail number (of the status that the failure came from)."""
    log.text("axiom: ")
    _write_reason(failure)
    write_to(log, f" (failure {failure}, detail {detail})")
    log.end()
