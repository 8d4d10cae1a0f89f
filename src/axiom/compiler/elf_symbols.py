"""The sections, symbols and relocations of an x86-64 ELF file. Source: ELF-64 Object File Format 1.5."""

import struct
from collections.abc import Iterator
from typing import NamedTuple

_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_RELOCATION = struct.Struct("<QQq")
_SECTIONS_AT = struct.Struct("<Q")
_COUNTS = struct.Struct("<HHH")
_SYMBOL_TABLE = 2
_RELOCATIONS = 4
_EXECUTABLE = 4
_FIRST_RESERVED = 0xFF00


class Section(NamedTuple):
    """A section header. target: of relocations, the number of the section that they are for, else -1."""

    kind: int
    flags: int
    offset: int
    size: int
    link: int
    align: int
    target: int


class Symbol(NamedTuple):
    """A named place: its address (in an object, its offset in its section), its length, if it is code."""

    name: str
    address: int
    size: int
    is_code: bool


def read_sections(data: bytes) -> list[Section]:
    """Return all section headers, in order."""
    (sections_at,) = _SECTIONS_AT.unpack_from(data, 40)
    size, count, _ = _COUNTS.unpack_from(data, 58)
    made: list[Section] = []
    for place in range(sections_at, sections_at + count * size, size):
        _, kind, flags, _, offset, length, link, info, align, _ = _SECTION.unpack_from(data, place)
        target = info if kind == _RELOCATIONS else -1
        made.append(Section(kind, flags, offset, length, link, max(align, 1), target))
    return made


def code_bytes(data: bytes) -> int:
    """Return the length of all sections that hold code."""
    return sum(section.size for section in read_sections(data) if section.flags & _EXECUTABLE)


def _entries(data: bytes, sections: list[Section]) -> Iterator[tuple[str, int, int, int]]:
    """Yield name, number of the section, value and length of every symbol, in order."""
    for section in sections:
        if section.kind != _SYMBOL_TABLE:
            continue
        names_at = sections[section.link].offset
        table = data[section.offset : section.offset + section.size]
        for name, _, _, home, value, length in _SYMBOL.iter_unpack(table):
            start = names_at + name
            yield data[start : data.index(b"\0", start)].decode(), home, value, length


def read_symbol_table(data: bytes, sections: list[Section]) -> list[tuple[str, int, int]]:
    """Return name, number of the section (0: of none) and value of every symbol, in their order."""
    return [entry[:3] for entry in _entries(data, sections)]


def read_relocations(data: bytes, section: Section) -> Iterator[tuple[int, int, int, int]]:
    """Yield offset, type, number of the symbol and addend of each relocation of a section of them."""
    for offset, info, addend in _RELOCATION.iter_unpack(
        data[section.offset : section.offset + section.size]
    ):
        yield offset, info & 0xFFFF_FFFF, info >> 32, addend


def read_symbols(data: bytes) -> Iterator[Symbol]:
    """Yield the defined symbols of an ELF file."""
    sections = read_sections(data)
    for name, home, value, length in _entries(data, sections):
        if 0 < home < _FIRST_RESERVED:
            yield Symbol(name, value, length, bool(sections[home].flags & _EXECUTABLE))


def code_offset(data: bytes, symbol: str) -> int:
    """Return the offset of a symbol in its section. Raises KeyError when the object lacks it."""
    for found in read_symbols(data):
        if found.name == symbol:
            return found.address
    raise KeyError(symbol)
