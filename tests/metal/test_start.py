"""From the boot loader to ring 3, and the gates back to ring 0."""

from pathlib import Path

import pytest

from axiom.abi.boot import BootFailure, ExitCode
from axiom.host.machine.crash_report import parse_crash
from axiom.lang import asm, asm_value, fn, static, u16, u32, u64, unsafe, urange, write_to
from axiom.metal.arch.gate_stubs import GATE_MAGIC
from axiom.metal.arch.gates import processor_leaf, read_msr, write_msr
from axiom.metal.arch.physical_memory import boot_memory
from axiom.metal.arch.power import power_off
from axiom.metal.arch.processor_level import ProcessorLevel, processor_level
from axiom.metal.arch.pvh import command_line_bytes, read_start_info
from axiom.metal.arch.statistics import hardware_counters
from axiom.metal.arch.uart import COM1, uart_start
from axiom.metal.kernel.clock import clock, start_clock
from axiom.metal.kernel.firmware import read_memory_map
from axiom.metal.kernel.frames import USABLE
from axiom.metal.kernel.log import LINE_BYTES, log
from axiom.metal.kernel.refusal import write_refusal
from tests.support.boot_image import ALL_MACHINES, MACHINES, boot
from tests.support.mapped_kernel import memory
from tests.support.metal import build_image

EFER = 0xC0000080
KERNEL_GS_BASE = 0xC0000102


@fn
def privilege_level() -> u64:
    # SAFETY: reads a selector.
    with unsafe:
        return asm_value(u64, "movq %cs, $0", "=r") & 3


@fn(export="axiom_main")
def greet(start_info: u64) -> None:
    uart_start(u16(COM1))
    write_to(log, f"ring {privilege_level()} level {processor_level()} command ")
    info = read_start_info(boot_memory(), start_info)
    log.bytes(command_line_bytes(boot_memory(), info))
    log.end()
    read_memory_map(boot_memory(), info, memory)
    usable = u64(0)
    for i in urange(memory.count):
        if memory.ranges[i].kind == USABLE:
            usable += memory.ranges[i].bytes
    found = start_clock()
    write_to(log, f"usable {usable >> 20} clock {found} {clock.tsc_hz}")
    log.end()
    power_off(ExitCode.OK)


@pytest.mark.parametrize("machine", ALL_MACHINES)
def test_an_image_reaches_ring_3_and_reads_what_firmware_tells(machine: str, tmp_path: Path) -> None:
    outcome = boot(machine, build_image(tmp_path / "image.elf", [greet]), command_line="one two=3")
    assert outcome.code == ExitCode.OK
    first, second = outcome.text.splitlines()
    words = first.split()
    assert words[:2] == ["ring", "3"]
    assert int(words[3]) >= ProcessorLevel.V3
    assert words[5:] == ["one", "two=3"]
    _, usable, _, found, hz = second.split()
    assert 1000 < int(usable) <= 1024
    assert found == "1"
    assert 500_000_000 < int(hz) < 10_000_000_000


@fn(export="axiom_main")
def report_level(start_info: u64) -> None:
    uart_start(u16(COM1))
    write_to(log, f"level {processor_level()}")
    log.end()
    power_off(ExitCode.OK)


@fn(export="axiom_main")
def refuse_always(start_info: u64) -> None:
    uart_start(u16(COM1))
    for failure in static(tuple(BootFailure)):
        write_refusal(failure, u32(7))
    power_off(ExitCode.REFUSED)


def test_every_reason_to_refuse_is_a_sentence(tmp_path: Path) -> None:
    outcome = boot("tcg", build_image(tmp_path / "image.elf", [refuse_always]))
    lines = outcome.text.splitlines()
    assert outcome.code == ExitCode.REFUSED
    assert len(set(lines)) == len(BootFailure)
    for failure, line in zip(BootFailure, lines, strict=True):
        assert line.startswith("axiom: ")
        assert line.endswith(f" (failure {int(failure)}, detail 7)")
        assert len(line) < LINE_BYTES


@pytest.mark.parametrize("processor", ["qemu64", "max,-avx2", "max,-bmi2", "max,-fma", "max,-xsave"])
def test_an_old_processor_still_reaches_ring_3_and_can_be_told_so(processor: str, tmp_path: Path) -> None:
    outcome = boot("tcg", build_image(tmp_path / "image.elf", [report_level]), processor)
    assert (outcome.code, outcome.text) == (ExitCode.OK, f"level {int(ProcessorLevel.TOO_OLD)}\n")


def test_a_processor_without_64_bit_mode_is_refused_in_words(tmp_path: Path) -> None:
    outcome = boot("tcg", build_image(tmp_path / "image.elf", [report_level]), "qemu64,-lm")
    assert outcome.code == ExitCode.REFUSED
    assert "no 64-bit mode" in outcome.text


@fn(export="axiom_main")
def use_gates(start_info: u64) -> None:
    uart_start(u16(COM1))
    before = hardware_counters()
    write_msr(u32(KERNEL_GS_BASE), u64(0x1234))
    base = read_msr(u32(KERNEL_GS_BASE))
    efer = read_msr(u32(EFER))
    leaf = processor_leaf(u32(0), u32(0))
    after = hardware_counters()
    write_to(log, f"{base:x} {efer & 0x500:x} {leaf.eax > 7} {after.gate_calls - before.gate_calls}")
    log.end()
    power_off(ExitCode.OK)


@pytest.mark.parametrize("machine", MACHINES)
def test_gates_do_what_ring_3_cannot_and_are_counted(machine: str, tmp_path: Path) -> None:
    outcome = boot(machine, build_image(tmp_path / "image.elf", [use_gates]))
    assert (outcome.code, outcome.text) == (ExitCode.OK, "1234 500 1 5\n")


def _invalid(instructions: str) -> list[object]:
    @fn(export="axiom_main")
    def main(start_info: u64) -> None:
        uart_start(u16(COM1))
        # SAFETY: faults on purpose.
        with unsafe:
            asm(instructions, "~{rax},~{r10},~{memory}")
        power_off(ExitCode.OK)

    return [main]


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(
    "instructions",
    ["xorl %r10d, %r10d; ud2", f"movl $${GATE_MAGIC}, %r10d; movl $$99, %eax; ud2"],
    ids=["other magic", "unknown gate"],
)
def test_an_invalid_instruction_is_not_taken_for_a_gate(
    machine: str, instructions: str, tmp_path: Path
) -> None:
    outcome = boot(machine, build_image(tmp_path / "image.elf", _invalid(instructions)))
    crash = parse_crash(outcome.text)
    assert outcome.code == ExitCode.CRASH
    assert crash is not None
    assert crash.vector == 6


@fn(export="axiom_main")
def leave_gate_magic(start_info: u64) -> None:
    uart_start(u16(COM1))
    read_msr(u32(EFER))
    # SAFETY: reads a register.
    with unsafe:
        left = asm_value(u64, "movq %r10, $0", "=r")
    write_to(log, f"{left == GATE_MAGIC}")
    log.end()
    power_off(ExitCode.OK)


def test_a_gate_leaves_no_magic_behind(tmp_path: Path) -> None:
    assert boot("tcg", build_image(tmp_path / "image.elf", [leave_gate_magic])).text == "0\n"
