"""Frames as bytes, and found again among bytes that are not."""

from hypothesis import given
from hypothesis import strategies as st

from axiom.host.machine.frames import Frame, FrameReader, encode_frame


def test_a_frame_is_these_bytes() -> None:
    # CRC-32C of the header with crc 0 and the payload, computed bit by bit from the polynomial 0x82F63B78.
    assert encode_frame(2, 1, b"\x07\0\0\0").hex() == "1ca702000400000001000000bb13689007000000"
    assert len(encode_frame(1, 0, b"abcde")) == 16 + 8


@given(payloads=st.lists(st.binary(max_size=50), max_size=6), cuts=st.lists(st.integers(1, 40)))
def test_frames_come_back_however_the_stream_is_cut(payloads: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(encode_frame(64, number, payload) for number, payload in enumerate(payloads))
    reader = FrameReader()
    found: list[Frame] = []
    for cut in [*cuts, len(stream)]:
        found += reader.feed(stream[:cut])
        stream = stream[cut:]
    assert found == [Frame(64, number, payload) for number, payload in enumerate(payloads)]
    assert reader.damaged == 0


@given(noise=st.binary(min_size=1, max_size=100), payload=st.binary(max_size=40))
def test_noise_is_noticed_and_the_frame_behind_it_found(noise: bytes, payload: bytes) -> None:
    reader = FrameReader(longest_payload=100)
    frames = reader.feed(noise + encode_frame(65, 3, payload))
    # What looks like the start of a frame in the noise may claim up to 100 bytes more.
    frames += reader.feed(bytes(200))
    assert frames == [Frame(65, 3, payload)]
    assert reader.damaged >= 1


@given(payload=st.binary(max_size=40), bit=st.integers(0, 8 * 56 - 1))
def test_a_flipped_bit_never_gives_a_frame(payload: bytes, bit: int) -> None:
    data = bytearray(encode_frame(65, 3, payload))
    bit %= 8 * (16 + len(payload))
    data[bit // 8] ^= 1 << bit % 8
    reader = FrameReader(longest_payload=100)
    assert reader.feed(bytes(data) + bytes(200)) == []
    assert reader.damaged >= 1
