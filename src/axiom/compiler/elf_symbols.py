"""The symbols and sections of an x86-64 ELF file. Source: ELF-64 Object File Format 1.5."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_SECTIONS_AT = struct.Struct("<Q")
_COUNTS = struct.Struct("<HHH")
_SYMBOL_TABLE = 2
_RELOCATIONS = 4
_IN_MEMORY = 2
_EXECUTABLE = 4
_FIRST_RESERVED = 0xFF00


@dataclass(frozen=True)
class Symbol:
    """A named place: its address (in an object, its offset in its section), its length, if it is code."""

    name: str
    address: int
    size: int
    is_code: bool


def _section_places(data: bytes) -> range:
    (sections_at,) = _SECTIONS_AT.unpack_from(data, 40)
    size, count, _ = _COUNTS.unpack_from(data, 58)
    return range(sections_at, sections_at + count * size, size)


def _sections(data: bytes) -> list[tuple[int, ...]]:
    return [_SECTION.unpack_from(data, place) for place in _section_places(data)]


def code_bytes(data: bytes) -> int:
    """Return the length of all sections that hold code."""
    return sum(section[5] for section in _sections(data) if section[2] & _EXECUTABLE)


def only_for_running(data: bytes) -> bytes:
    """Return an object whose sections that are not in memory, those for a debugger, stay as they are.

    LLVM's loader would load and relocate them too, which takes ten times as long as all the rest.
    """
    sections = _sections(data)
    made = bytearray(data)
    for place, section in zip(_section_places(data), sections, strict=True):
        target = section[7]  # sh_info: of relocations, the section that they are for
        if section[1] == _RELOCATIONS and not sections[target][2] & _IN_MEMORY:
            _SECTION.pack_into(made, place, section[0], 0, *section[2:])
    return bytes(made)


def read_symbols(data: bytes) -> Iterator[Symbol]:
    """Yield the defined symbols of an ELF file."""
    sections = _sections(data)
    for section in sections:
        if section[1] != _SYMBOL_TABLE:
            continue
        names_at = sections[section[6]][4]
        table = data[section[4] : section[4] + section[5]]
        entries: Iterator[tuple[int, ...]] = _SYMBOL.iter_unpack(table)
        for name, _, _, home, value, length in entries:
            if not 0 < home < _FIRST_RESERVED:
                continue
            start = names_at + name
            text = data[start : data.index(b"\0", start)].decode()
            yield Symbol(text, value, length, bool(sections[home][2] & _EXECUTABLE))


def code_offset(data: bytes, symbol: str) -> int:
    """Return the offset of a symbol in its section. Raises KeyError when the object lacks it."""
    for found in read_symbols(data):
        if found.name == symbol:
            return found.address
    raise KeyError(symbol)
