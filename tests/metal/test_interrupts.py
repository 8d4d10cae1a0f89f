"""The timer and whatever else may interrupt."""

from pathlib import Path

import pytest

from axiom.abi.boot import ExitCode
from axiom.lang import fn, struct_in, u32, u64, write_to
from axiom.metal.arch.local_apic import LocalApic, local_apic
from axiom.metal.arch.processor import pause
from axiom.metal.arch.statistics import beat, hardware_counters
from axiom.metal.kernel.clock import has_passed, milliseconds, now_cycles
from axiom.metal.kernel.log import log
from axiom.metal.kernel.watchdog import TICKS_PER_SECOND, stop_watchdog
from tests.support.boot_image import MACHINES, boot
from tests.support.mapped_kernel import make_kernel
from tests.support.metal import build_image

TO_SELF = 1 << 18
STRAY_VECTOR = 40


@fn
def interrupt_self(vector: u32) -> None:
    struct_in(LocalApic, local_apic(), 0).COMMAND = vector | TO_SELF


@fn
def wait_for_ticks(wanted: u64) -> u64:
    """Return the number of ticks since start-up, once it is `wanted` or 20 s have passed."""
    start = now_cycles()
    while hardware_counters().ticks < wanted and not has_passed(start, milliseconds(u64(20_000))):
        beat()
        pause()
    return hardware_counters().ticks


@fn
def count_interrupts() -> None:
    before = hardware_counters().other_interrupts
    interrupt_self(u32(STRAY_VECTOR))
    interrupt_self(u32(STRAY_VECTOR + 1))
    first = wait_for_ticks(u64(1))
    start = now_cycles()
    last = wait_for_ticks(first + 5)
    passed = (now_cycles() - start) // milliseconds(u64(1))
    stop_watchdog()
    ticks = hardware_counters().ticks
    start = now_cycles()
    while not has_passed(start, milliseconds(u64(300))):
        pause()
    after = hardware_counters()
    write_to(log, f"{after.other_interrupts - before} {last - first} {passed} ")
    write_to(log, f"{after.ticks - ticks} {after.exceptions}")
    log.end()


@pytest.mark.parametrize("machine", MACHINES)
def test_stray_interrupts_are_counted_and_do_not_stop_the_timer(machine: str, tmp_path: Path) -> None:
    outcome = boot(machine, build_image(tmp_path / "image.elf", make_kernel(count_interrupts)))
    assert outcome.code == ExitCode.OK
    stray, ticks, passed_ms, ticks_after_stop, exceptions = map(int, outcome.text.split())
    assert (stray, ticks, ticks_after_stop, exceptions) == (2, 5, 0, 0)
    assert passed_ms >= 3 * 1000 // TICKS_PER_SECOND
