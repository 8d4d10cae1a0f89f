"""The ports of a machine: a serial port without an input, and the port by which the kernel leaves.

Sources: National Semiconductor PC16550D data sheet, section 8; QEMU, docs/system (isa-debug-exit, whose
status is twice what is written, plus one).
"""

import os
from mmap import mmap

from axiom.host.monitor.interface import EXIT_AT, PORT_EXIT, PORT_OUT

_DATA, _LINE_CONTROL, _LINE_STATUS = 0x3F8, 0x3FB, 0x3FD
_EXIT = 0xF4
_DIVISOR_LATCH = 0x80
_TRANSMITTER_EMPTY = 0x60
_NOTHING = 0xFF


class Ports:
    """Serves what the processors of a machine do at ports. console: the file that takes serial output."""

    def __init__(self, console: int) -> None:
        self._console = console
        self._line_control = 0

    def serve(self, run: mmap) -> None:
        """Do what a processor has stopped for; `run` says what, and takes what was read."""
        direction, size, port, count, at = PORT_EXIT.unpack_from(run, EXIT_AT)
        end = at + size * count
        if direction == PORT_OUT:
            self._write(port, run[at:end])
        else:
            answer = _TRANSMITTER_EMPTY if port == _LINE_STATUS else _NOTHING
            run[at:end] = bytes([answer]) * (end - at)

    def _write(self, port: int, data: bytes) -> None:
        if port == _DATA and not self._line_control & _DIVISOR_LATCH:
            os.write(self._console, data)
        elif port == _LINE_CONTROL:
            self._line_control = data[0]
        elif port == _EXIT:
            os._exit(2 * data[0] + 1 & 0xFF)
