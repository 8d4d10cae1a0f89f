"""Put an image's segments into a machine's memory, and find where it begins.

Sources: ELF-64 Object File Format, version 1.5 draft 2; Xen, public/elfnote.h (XEN_ELFNOTE_PHYS32_ENTRY:
the address of the 32-bit entry).
"""

import struct
from collections.abc import Callable

from axiom.host.errors import MachineError

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SEGMENT = struct.Struct("<IIQQQQQQ")
_NOTE = struct.Struct("<III")
_MACHINE_X86_64 = 62
_LOAD, _NOTES = 1, 4
_PHYS32_ENTRY = 18


def load_image(data: bytes, put: Callable[[int, bytes], None]) -> int:
    """Put each loaded segment at its physical address; return the address of the entry.

    Memory behind a segment's bytes is zero already. Raises MachineError for what is not an image.
    """
    entry = None
    try:
        for kind, at, address, count in _segments(data):
            if at + count > len(data):
                raise ValueError("it is cut off")
            if kind == _LOAD:
                put(address, data[at : at + count])
            elif kind == _NOTES:
                entry = _entry(data[at : at + count], entry)
    except (struct.error, ValueError) as error:
        raise MachineError(f"the image is not one that can be started: {error}") from error
    if entry is None:
        raise MachineError("the image is not one that can be started: it has no PVH entry")
    return entry


def _segments(data: bytes) -> list[tuple[int, int, int, int]]:
    """Return the kind, place in the file, physical address and length in the file of each segment."""
    header = _HEADER.unpack_from(data)
    identity, machine, segments_at, segment_bytes, count = (header[i] for i in (0, 2, 5, 9, 10))
    if (
        identity[:7] != b"\x7fELF\x02\x01\x01"
        or machine != _MACHINE_X86_64
        or segment_bytes != _SEGMENT.size
    ):
        raise ValueError("no ELF file for x86-64")
    found: list[tuple[int, int, int, int]] = []
    for number in range(count):
        kind, _, at, _, address, length, _, _ = _SEGMENT.unpack_from(
            data, segments_at + number * _SEGMENT.size
        )
        found.append((kind, at, address, length))
    return found


def _entry(notes: bytes, found: int | None) -> int | None:
    at = 0
    while at + _NOTE.size <= len(notes):
        name_bytes, value_bytes, kind = _NOTE.unpack_from(notes, at)
        name_at = at + _NOTE.size
        value_at = name_at + -(-name_bytes // 4) * 4
        name = notes[name_at : name_at + name_bytes].rstrip(b"\0")
        if name == b"Xen" and kind == _PHYS32_ENTRY:
            found = int.from_bytes(notes[value_at : value_at + value_bytes], "little")
        at = value_at + -(-value_bytes // 4) * 4
    return found
