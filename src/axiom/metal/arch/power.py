"""Leaving: QEMU's isa-debug-exit device, else stop for good."""

from axiom.lang import fn, u8, u16
from axiom.metal.arch.ports import out8
from axiom.metal.arch.processor import pause
from axiom.metal.arch.vectors import EXIT_PORT


@fn
def power_off(code: u8) -> None:
    """Leave the machine with an exit code; where nothing listens, spin for good."""
    out8(u16(EXIT_PORT), code)
    while True:
        pause()
