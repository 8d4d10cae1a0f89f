"""The kernel's end of the link against the host's end, over shared memory that may be damaged."""

import struct

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from axiom.abi.link import (
    HEADER_BYTES,
    MAX_REQUEST_PAYLOAD,
    REPLY_BYTES,
    REQUEST_BYTES,
    ErrorCode,
    MessageType,
)
from axiom.host.machine.carriers import RingCarrier
from axiom.host.machine.events import ErrorEvent, parse_event
from axiom.host.machine.frames import Frame, FrameReader, encode_frame
from tests.support.kernel_link import KernelEnd, Taken, kernel_end
from tests.support.targets import TARGETS

SLOW = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=40)
FAST_TARGETS = ("hosted-v3",)


class Host:
    """The host's end, byte by byte."""

    def __init__(self, kernel: KernelEnd) -> None:
        self.carrier = RingCarrier(kernel.memory.data)
        self._reader = FrameReader()

    def write(self, data: bytes) -> None:
        assert self.carrier.write(memoryview(data)) == len(data)

    def frames(self) -> list[Frame]:
        frames = self._reader.feed(self.carrier.read())
        assert self._reader.damaged == 0
        return frames

    def errors(self) -> list[ErrorCode]:
        events = [parse_event(frame) for frame in self.frames()]
        return [event.code for event in events if isinstance(event, ErrorEvent)]


def drain(kernel: KernelEnd) -> list[Taken]:
    """Poll until nothing comes."""
    taken: list[Taken] = []
    while (frame := kernel.poll()) is not None:
        taken.append(frame)
    return taken


@pytest.mark.parametrize("target", TARGETS)
def test_the_host_sees_when_the_kernel_listens(target: str) -> None:
    with kernel_end(target) as kernel:
        host = Host(kernel)
        assert host.carrier.is_ready()
        kernel.memory[256] ^= 1
        assert not host.carrier.is_ready()


@pytest.mark.parametrize("target", TARGETS)
def test_frames_arrive_in_order_with_their_payloads(target: str) -> None:
    with kernel_end(target) as kernel:
        host = Host(kernel)
        payloads = [b"", b"a", b"four", bytes(range(256)) * 5]
        for number, payload in enumerate(payloads):
            host.write(encode_frame(MessageType.START, number, payload))
        assert drain(kernel) == [Taken(MessageType.START, payload) for payload in payloads]
        for payload in payloads:
            assert kernel.send(MessageType.TOKEN, payload[:3], payload[3:])
        assert host.frames() == [
            Frame(MessageType.TOKEN, number, payload) for number, payload in enumerate(payloads)
        ]
        assert kernel.bad == 0


@pytest.mark.parametrize("target", FAST_TARGETS)
def test_frames_survive_many_rounds_of_both_rings(target: str) -> None:
    with kernel_end(target) as kernel:
        host = Host(kernel)
        for number in range(200):
            payload = bytes([number]) * (number * 379 % MAX_REQUEST_PAYLOAD)
            host.write(encode_frame(MessageType.START, number, payload))
            assert kernel.poll() == Taken(MessageType.START, payload)
            assert kernel.send(MessageType.LOGITS, payload, payload)
            assert host.frames() == [Frame(MessageType.LOGITS, number, payload + payload)]


@pytest.mark.parametrize("target", TARGETS)
def test_a_frame_that_is_not_whole_waits_for_its_rest(target: str) -> None:
    with kernel_end(target) as kernel:
        host = Host(kernel)
        frame = encode_frame(MessageType.CANCEL, 0, b"12345678")
        for i in range(len(frame)):
            assert kernel.poll() is None
            host.write(frame[i : i + 1])
        assert kernel.poll() == Taken(MessageType.CANCEL, b"12345678")
        assert host.errors() == []


@pytest.mark.parametrize("target", TARGETS)
def test_a_damaged_frame_is_answered_and_the_next_is_taken(target: str) -> None:
    with kernel_end(target) as kernel:
        host = Host(kernel)
        bad = bytearray(encode_frame(MessageType.SHUTDOWN, 0, b"abcd"))
        bad[HEADER_BYTES] ^= 1
        host.write(bytes(bad) + encode_frame(MessageType.CANCEL, 1, b"next"))
        assert drain(kernel) == [Taken(MessageType.CANCEL, b"next")]
        assert host.errors() == [ErrorCode.BAD_FRAME, ErrorCode.LOST_FRAME]
        assert kernel.bad == 2


@pytest.mark.parametrize("target", TARGETS)
def test_a_gap_in_the_sequence_is_answered_and_the_frame_is_still_taken(target: str) -> None:
    with kernel_end(target) as kernel:
        host = Host(kernel)
        host.write(encode_frame(MessageType.CANCEL, 3, b"late"))
        host.write(encode_frame(MessageType.CANCEL, 4, b"then"))
        assert [taken.payload for taken in drain(kernel)] == [b"late", b"then"]
        assert host.errors() == [ErrorCode.LOST_FRAME]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("length", [MAX_REQUEST_PAYLOAD + 1, 1 << 31, (1 << 32) - 1])
def test_a_length_beyond_the_limit_is_refused_at_once(target: str, length: int) -> None:
    with kernel_end(target) as kernel:
        host = Host(kernel)
        host.write(struct.pack("<HHIII", 0xA71C, MessageType.START, length, 0, 0))
        host.write(encode_frame(MessageType.CANCEL, 0, b"good"))
        assert drain(kernel) == [Taken(MessageType.CANCEL, b"good")]
        assert host.errors() == [ErrorCode.BAD_FRAME]


@pytest.mark.parametrize("target", TARGETS)
def test_a_frame_that_does_not_go_on_gives_way_to_those_behind_it(target: str) -> None:
    with kernel_end(target) as kernel:
        host = Host(kernel)
        # The length says 1,000 bytes; only a whole other frame follows.
        host.write(struct.pack("<HHIII", 0xA71C, MessageType.START, 1000, 0, 0))
        host.write(encode_frame(MessageType.CANCEL, 0, b"good"))
        assert kernel.poll() is None
        assert kernel.poll() is None
        kernel.set_patience(False)
        assert drain(kernel) == [Taken(MessageType.CANCEL, b"good")]
        assert host.errors() == [ErrorCode.BAD_FRAME]


@pytest.mark.parametrize("target", TARGETS)
def test_counters_that_make_no_sense_empty_the_ring(target: str) -> None:
    with kernel_end(target) as kernel:
        host = Host(kernel)
        kernel.memory[0:4].view("<u4")[0] = REQUEST_BYTES + 1
        assert kernel.poll() is None
        assert host.errors() == [ErrorCode.BAD_FRAME]
        host.write(encode_frame(MessageType.CANCEL, 0, b"good"))
        assert drain(kernel) == [Taken(MessageType.CANCEL, b"good")]


@pytest.mark.parametrize("target", FAST_TARGETS)
def test_a_full_ring_delays_frames_and_answers_but_loses_none(target: str) -> None:
    with kernel_end(target) as kernel:
        host = Host(kernel)
        block = bytes(REPLY_BYTES // 8)
        sent = 0
        while kernel.send(MessageType.LOGITS, block):
            sent += 1
        while kernel.send(MessageType.TOKEN, b""):
            sent += 1
        host.write(b"junk" + encode_frame(MessageType.CANCEL, 0, b"good"))
        assert drain(kernel) == []
        assert len(host.frames()) == sent
        assert drain(kernel) == [Taken(MessageType.CANCEL, b"good")]
        assert host.errors() == [ErrorCode.BAD_FRAME]


@pytest.mark.parametrize("target", FAST_TARGETS)
@SLOW
@given(data=st.data())
def test_only_what_the_host_sent_is_ever_taken(target: str, data: st.DataObject) -> None:
    """Good frames among noise and damaged frames: nothing else is taken, and in the end the last one is."""
    with kernel_end(target) as kernel:
        host = Host(kernel)
        good: list[bytes] = []
        for number in range(data.draw(st.integers(1, 8))):
            payload = data.draw(st.binary(max_size=80))
            frame = bytearray(encode_frame(MessageType.START, number, payload))
            what = data.draw(st.sampled_from(["good", "damaged", "cut", "noise"]))
            if what == "good":
                good.append(payload)
            elif what == "damaged":
                # The padding is outside of the checksum.
                at = data.draw(st.integers(0, HEADER_BYTES + len(payload) - 1))
                frame[at] ^= 1 << data.draw(st.integers(0, 7))
            elif what == "cut":
                del frame[data.draw(st.integers(1, HEADER_BYTES + len(payload) - 1)) :]
            else:
                frame = bytearray(data.draw(st.binary(max_size=60)))
            host.write(bytes(frame))
        host.write(encode_frame(MessageType.START, 99, b"the last"))
        kernel.set_patience(False)
        taken: list[bytes] = []
        for _ in range(600):
            if (frame := kernel.poll()) is not None:
                taken.append(frame.payload)
        assert taken[-1] == b"the last"
        rest = iter(good)
        assert all(payload in rest for payload in taken[:-1])


@pytest.mark.parametrize("target", FAST_TARGETS)
@SLOW
@given(
    noise=st.binary(max_size=2000), control=st.lists(st.integers(0, (1 << 32) - 1), min_size=4, max_size=4)
)
def test_no_bytes_and_no_counters_make_the_kernel_panic(
    target: str, noise: bytes, control: list[int]
) -> None:
    with kernel_end(target) as kernel:
        kernel.memory[4096 : 4096 + len(noise)] = list(noise)
        for place, value in zip((0, 64, 128, 192), control, strict=True):
            kernel.memory[place : place + 4].view("<u4")[0] = value
        kernel.set_patience(False)
        for _ in range(5):
            kernel.poll()
            kernel.send(MessageType.TOKEN, b"abc")
