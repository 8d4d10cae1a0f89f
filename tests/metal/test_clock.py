"""The cycle counter's frequency, told or measured."""

from pathlib import Path

import pytest

from axiom.abi.boot import ExitCode
from axiom.lang import fn, u16, u64, write_to
from axiom.metal.arch.power import power_off
from axiom.metal.arch.uart import COM1, uart_start
from axiom.metal.kernel.clock import clock, measure_clock, start_clock
from axiom.metal.kernel.log import log
from tests.support.boot_image import QEMU_MACHINES, boot
from tests.support.metal import build_image


@fn(export="axiom_main")
def compare(start_info: u64) -> None:
    uart_start(u16(COM1))
    told = start_clock()
    first = clock.tsc_hz
    measured = measure_clock()
    write_to(log, f"{told} {measured} {first} {clock.tsc_hz}")
    log.end()
    power_off(ExitCode.OK)


@pytest.mark.parametrize("machine", QEMU_MACHINES)
def test_the_measured_frequency_agrees_with_the_told_one(machine: str, tmp_path: Path) -> None:
    outcome = boot(machine, build_image(tmp_path / "image.elf", [compare]))
    told, measured, first, second = map(int, outcome.text.split())
    assert outcome.code == ExitCode.OK
    assert (told, measured) == (1, 1)
    assert abs(first - second) < first // 200
