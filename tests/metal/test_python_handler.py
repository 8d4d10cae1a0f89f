"""An interrupt handler written in Python is entered by the processor, and what it interrupted goes on."""

from pathlib import Path

from axiom.abi.boot import ExitCode
from axiom.lang import (
    array,
    asm_value,
    fn,
    slice_at,
    static_var,
    struct,
    symbol_address,
    truncate,
    u16,
    u64,
    unsafe,
    urange,
    volatile_load,
    volatile_store,
    wrapping_add,
    write_to,
)
from axiom.metal.arch.power import power_off
from axiom.metal.arch.uart import COM1, uart_start
from axiom.metal.kernel.log import log
from tests.support.boot_image import boot
from tests.support.metal import build_image

BREAKPOINT = 3
RING3_INTERRUPT_GATE = 0xEE00
RING0_CODE = 8
ROUNDS = 5

counts = static_var(array(u64, 3))


@struct
class Frame:
    instruction: u64
    code_segment: u64
    flags: u64
    stack_pointer: u64
    stack_segment: u64


@fn(interrupt=True, export="on_breakpoint")
def on_breakpoint(frame: Frame) -> None:
    volatile_store(counts.all, 0, wrapping_add(volatile_load(counts.all, 0), u64(1)))
    volatile_store(counts.all, 1, frame.code_segment)
    # More than one register, all of which it must give back as they were.
    volatile_store(counts.all, 2, volatile_load(counts.all, 0) ^ frame.stack_pointer)


@fn(phase="init")
def set_gate() -> None:
    # SAFETY: entry's page tables map the descriptor table writable; nothing else uses this vector.
    with unsafe:
        gate = slice_at(u16, symbol_address("axiom_idt") + 16 * BREAKPOINT, 8)
        handler = symbol_address("on_breakpoint")
    gate[0] = truncate(u16, handler)
    gate[1] = u16(RING0_CODE)
    gate[2] = u16(RING3_INTERRUPT_GATE)
    gate[3] = truncate(u16, handler >> 16)


@fn(inline="never")
def break_and_keep(word: u64) -> u64:
    """Meet a breakpoint with values in registers that a call would lose."""
    # SAFETY: the breakpoint has a handler.
    with unsafe:
        return asm_value(
            u64,
            "movq $1, %rcx; leaq 1(%rcx), %rdx; int3; leaq (%rcx,%rdx), $0",
            "=r,r,~{rcx},~{rdx},~{memory}",
            word,
        )


@fn(export="axiom_main")
def main(start_info: u64) -> None:
    uart_start(u16(COM1))
    set_gate()
    total = u64(0)
    for i in urange(u64(ROUNDS)):
        total += break_and_keep(i + 1)
    write_to(log, f"{volatile_load(counts.all, 0)} {volatile_load(counts.all, 1):x} {total}")
    log.end()
    power_off(ExitCode.OK)


@fn(export="axiom_run")
def run() -> None:
    power_off(ExitCode.CRASH)


def test_a_breakpoint_reaches_the_handler_and_comes_back(tmp_path: Path) -> None:
    image = build_image(tmp_path / "image.elf", [main, run, on_breakpoint])
    outcome = boot("tcg", image)
    assert outcome.code == ExitCode.OK
    total = sum(2 * (i + 1) + 1 for i in range(ROUNDS))
    assert outcome.text.split() == [str(ROUNDS), "23", str(total)]
