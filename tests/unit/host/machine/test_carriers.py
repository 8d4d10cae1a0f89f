"""The host's end of the rings, and of a serial line."""

import socket

import numpy as np
import pytest

from axiom.abi.link import LINK_BYTES, REPLY_BYTES, REQUEST_BYTES
from axiom.host.errors import MachineError
from axiom.host.machine.carriers import RingCarrier, SerialCarrier
from tests.support.kernel_link import kernel_end


def test_a_ring_takes_a_write_whole_or_not_at_all() -> None:
    with kernel_end("python") as kernel:
        carrier = RingCarrier(kernel.memory.data)
        assert carrier.write(memoryview(bytes(REQUEST_BYTES - 1))) == REQUEST_BYTES - 1
        assert carrier.write(memoryview(b"ab")) == 0
        assert carrier.write(memoryview(b"c")) == 1
        carrier.close()


def test_counters_that_contradict_each_other_are_an_error_in_words() -> None:
    memory = np.zeros(LINK_BYTES, np.uint8)
    carrier = RingCarrier(memory.data)
    memory[0:4].view("<u4")[0] = REQUEST_BYTES + 1
    memory[128:132].view("<u4")[0] = REPLY_BYTES + 1
    with pytest.raises(MachineError, match="the kernel's ring claims"):
        carrier.write(memoryview(b"a"))
    with pytest.raises(MachineError, match="the kernel's ring claims"):
        carrier.read()
    with pytest.raises(MachineError, match="the link region has 4096 bytes"):
        RingCarrier(memory[:4096].data)


def test_a_serial_line_gives_and_takes_what_it_can() -> None:
    near, far = socket.socketpair()
    with near, far:
        carrier = SerialCarrier(near)
        assert carrier.read() == b""
        far.sendall(b"up")
        carrier.pause(10.0)
        assert carrier.read() == b"up"
        taken = 0
        while count := carrier.write(memoryview(bytes(1 << 16))):
            taken += count
        received = 0
        while received < taken:
            received += len(far.recv(1 << 16))
        far.close()
        with pytest.raises(MachineError, match="serial port is gone"):
            carrier.write(memoryview(b"a"))
        assert carrier.read() == b""
