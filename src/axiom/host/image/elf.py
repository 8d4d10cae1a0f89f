"""Read what the host needs from an ELF image: its symbols and what is loaded where.

Only 64-bit little-endian x86-64 files, as `link_script.link` makes them. Every offset is checked.
Source: ELF-64 Object File Format, version 1.5 draft 2.
"""

import struct
from dataclasses import dataclass
from pathlib import Path

from axiom.host.errors import UserError

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SEGMENT = struct.Struct("<IIQQQQQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_MACHINE_X86_64 = 62
_SYMBOL_TABLE = 2
_LOAD = 1


@dataclass(frozen=True)
class Segment:
    """A part of the file that is loaded: flags are bit 0 execute, bit 1 write, bit 2 read."""

    address: int
    file_bytes: int
    memory_bytes: int
    flags: int


@dataclass(frozen=True)
class ElfImage:
    """An executable's entry address, loaded segments, and symbols by name."""

    entry: int
    segments: tuple[Segment, ...]
    symbols: dict[str, int]

    def symbol(self, name: str) -> int:
        """Return a symbol's address; UserError when the image lacks it."""
        if name not in self.symbols:
            raise UserError(f"the image has no symbol `{name}`: it was not built by this version")
        return self.symbols[name]


def read_elf(path: Path) -> ElfImage:
    """Read an image. Raises UserError for a file that is not one, or is truncated."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read the image {path}: {error.strerror}") from error
    try:
        return _parse(data)
    except (struct.error, ValueError, IndexError) as error:
        raise UserError(f"{path} is not an x86-64 ELF image: {error}") from error


def _parse(data: bytes) -> ElfImage:
    header = _HEADER.unpack_from(data)
    identity, _, machine, _, entry, segments_at, sections_at = header[:7]
    if identity[:7] != b"\x7fELF\x02\x01\x01" or machine != _MACHINE_X86_64:
        raise ValueError("wrong magic number or machine")
    segment_bytes, n_segments, section_bytes, n_sections = header[9:13]
    if segment_bytes != _SEGMENT.size or section_bytes != _SECTION.size:
        raise ValueError("unknown table formats")
    segments: list[Segment] = []
    for i in range(n_segments):
        kind, flags, _, address, _, file_bytes, memory_bytes, _ = _SEGMENT.unpack_from(
            data, segments_at + i * _SEGMENT.size
        )
        if kind == _LOAD:
            segments.append(Segment(address, file_bytes, memory_bytes, flags))
    sections: list[tuple[int, ...]] = [
        _SECTION.unpack_from(data, sections_at + i * _SECTION.size) for i in range(n_sections)
    ]
    symbols: dict[str, int] = {}
    for section in sections:
        if section[1] == _SYMBOL_TABLE:
            names = sections[section[6]]
            symbols |= _symbols(_part(data, section[4], section[5]), _part(data, names[4], names[5]))
    return ElfImage(entry, tuple(segments), symbols)


def _part(data: bytes, offset: int, size: int) -> bytes:
    if offset + size > len(data):
        raise ValueError(f"it ends before offset {offset + size}")
    return data[offset : offset + size]


def _symbols(table: bytes, names: bytes) -> dict[str, int]:
    found: dict[str, int] = {}
    for name_at, _, _, section, value, _ in _SYMBOL.iter_unpack(table):
        name = names[name_at : names.index(b"\0", name_at)].decode()
        if name and section != 0:
            found[name] = value
    return found
