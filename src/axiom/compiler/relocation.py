"""An x86-64 object file laid out in memory and relocated: what is left to do before its code can run.

Objects of hosted programs are compiled for the large code model, so that all their addresses are whole
words (`R_X86_64_64`); other relocations are refused. Sections for a debugger and for unwinding stay out.
Sources: ELF-64 Object File Format 1.5; System V Application Binary Interface, AMD64, 4.4.1 (relocation).
"""

import ctypes
import mmap
from collections.abc import Callable

from axiom.compiler.elf_symbols import Section, read_relocations, read_sections, read_symbol_table

_WHOLE_WORD = 1
_WORD_BYTES = 8
_WORD_MASK = (1 << 64) - 1
_NO_BYTES = 8  # SHT_NOBITS
_UNWINDING = 0x7000_0001  # SHT_X86_64_UNWIND
_WRITE, _IN_MEMORY, _EXECUTE = 1, 2, 4
_PROT_READ, _PROT_EXEC = 1, 4

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]


class LoadError(Exception):
    """An object asks for something that no object of this compiler needs."""


def address_in_process(name: str) -> int:
    """Return the address of a function of the C library. Raises LoadError."""
    try:
        found = getattr(_libc, name)
    except AttributeError:
        raise LoadError(f"this process has no {name}") from None
    return ctypes.cast(found, ctypes.c_void_p).value or 0


def place_object(data: bytes, outside: Callable[[str], int]) -> tuple[mmap.mmap, dict[str, int]]:
    """Load an object; return its memory and the addresses of its symbols. Raises LoadError.

    outside: gives the address of a symbol that the object lacks. The code can be executed and not be
    written, constants can only be read. Keep the memory as long as the code may run.
    """
    sections = read_sections(data)
    places, ends = _layout(sections)
    memory = mmap.mmap(-1, max(ends[-1], mmap.PAGESIZE))
    base = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    for number, place in places.items():
        section = sections[number]
        if section.kind != _NO_BYTES:
            memory[place : place + section.size] = data[section.offset : section.offset + section.size]
    symbols: dict[str, int] = {}
    values: list[int | str] = []
    for name, home, value in read_symbol_table(data, sections):
        if home in places:
            symbols[name] = base + places[home] + value
        values.append(base + places[home] + value if home in places else name)
    for section in sections:
        if section.target in places:
            _relocate(data, section, memory, places[section.target], values, outside)
    for start, end, protection in zip(
        (0, *ends), ends[:2], (_PROT_READ | _PROT_EXEC, _PROT_READ), strict=False
    ):
        if end > start and _libc.mprotect(base + start, end - start, protection) != 0:
            raise LoadError("Linux does not let this process make code executable")
    return memory, symbols


def _layout(sections: list[Section]) -> tuple[dict[int, int], list[int]]:
    """Place what is in memory: code, then constants, then what is written, each in pages of its own."""
    places: dict[int, int] = {}
    ends: list[int] = []
    end = 0
    for wanted in (_EXECUTE, 0, _WRITE):
        for number, section in enumerate(sections):
            loaded = section.flags & _IN_MEMORY and section.kind != _UNWINDING
            if loaded and section.flags & (_EXECUTE | _WRITE) == wanted:
                places[number] = end = -(-end // section.align) * section.align
                end += section.size
        end = -(-end // mmap.PAGESIZE) * mmap.PAGESIZE
        ends.append(end)
    return places, ends


def _relocate(
    data: bytes,
    section: Section,
    memory: mmap.mmap,
    place: int,
    values: list[int | str],
    outside: Callable[[str], int],
) -> None:
    for offset, kind, symbol, addend in read_relocations(data, section):
        if kind != _WHOLE_WORD:
            raise LoadError(f"the object has a relocation of type {kind}")
        value = values[symbol]
        if isinstance(value, str):
            value = values[symbol] = outside(value)
        at = place + offset
        memory[at : at + _WORD_BYTES] = ((value + addend) & _WORD_MASK).to_bytes(_WORD_BYTES, "little")
