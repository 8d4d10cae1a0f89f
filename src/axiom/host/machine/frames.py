"""Frames as bytes: made here, and found again in a stream that may be damaged.

Read first: `axiom.abi.link`. Nothing here knows what a payload means.
"""

from typing import NamedTuple, cast

import google_crc32c

from axiom.abi.link import FRAME_MAGIC, HEADER_BYTES, REPLY_BYTES, FrameHeader
from axiom.host.machine.wire import Record

_HEADER = Record(FrameHeader)
_MAGIC = FRAME_MAGIC.to_bytes(2, "little")


class Frame(NamedTuple):
    """A frame that arrived whole."""

    kind: int
    sequence: int
    payload: bytes


def encode_frame(kind: int, sequence: int, payload: bytes) -> bytes:
    """Return the bytes of a frame: header, payload, padding to four bytes."""
    length = len(payload)
    bare = _HEADER.pack(magic=FRAME_MAGIC, kind=kind, length=length, sequence=sequence, crc=0)
    crc = google_crc32c.extend(google_crc32c.value(bare), payload)
    header = _HEADER.pack(magic=FRAME_MAGIC, kind=kind, length=length, sequence=sequence, crc=crc)
    return header + payload + bytes(-length % 4)


class FrameReader:
    """Finds frames in a stream of bytes. `damaged` counts the times it had to search for the next one."""

    def __init__(self, longest_payload: int = REPLY_BYTES) -> None:
        self.damaged = 0
        self._longest = longest_payload
        self._data = bytearray()
        self._searching = False

    def feed(self, data: bytes) -> list[Frame]:
        """Take bytes in; return the frames that are whole now, in order."""
        self._data += data
        frames: list[Frame] = []
        while self._find_magic() and len(self._data) >= HEADER_BYTES:
            fields = _HEADER.unpack(self._data)
            length = cast(int, fields["length"])
            if length > self._longest:
                self._skip()
                continue
            total = HEADER_BYTES + length + -length % 4
            if len(self._data) < total:
                break
            payload = bytes(self._data[HEADER_BYTES : HEADER_BYTES + length])
            bare = _HEADER.pack(**(fields | {"crc": 0}))
            if google_crc32c.extend(google_crc32c.value(bare), payload) != fields["crc"]:
                self._skip()
                continue
            self._searching = False
            del self._data[:total]
            frames.append(Frame(fields["kind"], fields["sequence"], payload))
        return frames

    def _find_magic(self) -> bool:
        """Drop bytes until the magic number, or what may become it, comes first."""
        if self._data.startswith(_MAGIC):
            return True
        place = self._data.find(_MAGIC)
        if place < 0:
            place = len(self._data) - (1 if self._data.endswith(_MAGIC[:1]) else 0)
        if place > 0:
            self._note_damage()
            del self._data[:place]
        return self._data.startswith(_MAGIC)

    def _skip(self) -> None:
        self._note_damage()
        del self._data[:1]

    def _note_damage(self) -> None:
        if not self._searching:
            self.damaged += 1
            self._searching = True
