"""The link over a serial port that moves a few bytes at a time and may damage them."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from axiom.abi.link import MessageType
from axiom.compiler.objects import compile_text
from axiom.host.machine.frames import Frame, FrameReader, encode_frame
from axiom.lang import fn
from axiom.metal.kernel.serial_link import serial_link_step
from tests.support.kernel_link import SerialEnd, Taken, kernel_end


@pytest.mark.parametrize("limit", [1, 16, 1000])
def test_frames_go_both_ways(limit: int) -> None:
    with kernel_end("python") as kernel:
        serial = SerialEnd(limit)
        serial.to_kernel += encode_frame(MessageType.CANCEL, 0, b"down") * 1
        serial.to_kernel += encode_frame(MessageType.CANCEL, 1, bytes(200))
        assert kernel.send(MessageType.TOKEN, b"up")
        taken: list[Taken] = []
        while serial.step():
            if (frame := kernel.poll()) is not None:
                taken.append(frame)
        assert taken == [Taken(MessageType.CANCEL, b"down"), Taken(MessageType.CANCEL, bytes(200))]
        assert FrameReader().feed(bytes(serial.to_host)) == [Frame(MessageType.TOKEN, 0, b"up")]


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=25)
@given(before=st.binary(max_size=40), between=st.binary(max_size=40))
def test_noise_on_the_line_costs_no_good_frame(before: bytes, between: bytes) -> None:
    with kernel_end("python") as kernel:
        kernel.set_patience(False)
        serial = SerialEnd(16)
        for number, noise in enumerate((before, between)):
            serial.to_kernel += noise + encode_frame(MessageType.CANCEL, number, b"good")
        taken: list[Taken] = []
        for _ in range(200):
            serial.step()
            if (frame := kernel.poll()) is not None:
                taken.append(frame)
        assert taken == [Taken(MessageType.CANCEL, b"good")] * 2


def test_a_full_request_ring_leaves_bytes_on_the_line() -> None:
    with kernel_end("python") as kernel:
        serial = SerialEnd(16)
        kernel.memory[0:4].view("<u4")[0] = 256 << 10
        serial.to_kernel += b"abc"
        assert not serial.step()
        assert serial.to_kernel == b"abc"


def test_the_step_for_com2_compiles() -> None:
    @fn(export="step")
    def step() -> bool:
        return serial_link_step()

    text = compile_text([step], [])
    assert "inb" in text
    assert "outb" in text
