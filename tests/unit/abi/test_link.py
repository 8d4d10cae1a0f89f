"""The wire form of frames and messages, byte by byte."""

import struct
from itertools import pairwise
from typing import Any

import pytest

from axiom.abi import link
from axiom.lang import size_of, u16, u32, view_of
from axiom.lang.layout import struct_layout


def test_a_frame_header_is_sixteen_little_endian_bytes() -> None:
    raw = bytearray(link.HEADER_BYTES)
    header = view_of(link.FrameHeader, raw)
    header.magic = u16(link.FRAME_MAGIC)
    header.kind = u16(0x0203)
    header.length = u32(0x04050607)
    header.sequence = u32(0x08090A0B)
    header.crc = u32(0x0C0D0E0F)
    assert raw.hex() == "1ca70302070605040b0a09080f0e0d0c"
    assert size_of(link.FrameHeader) == link.HEADER_BYTES


@pytest.mark.parametrize(
    ("kind", "form"),
    [
        (link.StartMessage, "<IIIIfIfIQ8I"),
        (link.TokenMessage, "<IIIIQ"),
        (link.LogitsMessage, "<IIII"),
        (link.DoneMessage, "<IIIIQQQ"),
        (link.ErrorMessage, "<IIQ"),
    ],
)
def test_messages_have_no_hidden_padding(kind: Any, form: str) -> None:
    assert size_of(kind) == struct.calcsize(form)


def test_the_link_region_is_made_of_parts_that_do_not_overlap() -> None:
    control = struct_layout(link.RingControl)
    assert control is not None
    ends = [
        (link.REQUEST_CONTROL_OFFSET, control.size),
        (link.REPLY_CONTROL_OFFSET, control.size),
        (link.STATE_OFFSET, 4),
        (link.REQUEST_OFFSET, link.REQUEST_BYTES),
        (link.REPLY_OFFSET, link.REPLY_BYTES),
        (link.LINK_BYTES, 0),
    ]
    for (start, length), (following, _) in pairwise(ends):
        assert start + length <= following
    assert link.LINK_BYTES % 4096 == 0
    for size in (link.REQUEST_BYTES, link.REPLY_BYTES):
        assert size & (size - 1) == 0
    longest = link.HEADER_BYTES + link.MAX_REQUEST_PAYLOAD
    assert longest <= link.REQUEST_BYTES
    longest = link.HEADER_BYTES + size_of(link.LogitsMessage) + 4 * link.MAX_LOGITS_PER_FRAME
    assert longest <= link.REPLY_BYTES
