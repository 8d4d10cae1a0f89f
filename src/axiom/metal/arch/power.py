"""Leaving: QEMU's isa-debug-exit device, else stop for good.

It sits in `arch` because the panic path needs it whatever else is broken.
"""

from axiom.abi.boot import ExitCode
from axiom.lang import fn, u8, u16, u32
from axiom.metal.arch.gates import halt
from axiom.metal.arch.ports import out8
from axiom.metal.arch.uart import COM1, uart_drain
from axiom.metal.arch.vectors import EXIT_PORT


@fn
def power_off(code: ExitCode) -> None:
    """Leave the machine with an exit code; where nothing listens, halt. Never returns."""
    uart_drain(u16(COM1))
    out8(u16(EXIT_PORT), u8(u32(code)))
    halt()
