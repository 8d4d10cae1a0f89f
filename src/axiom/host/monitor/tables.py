"""What firmware would leave in memory: PVH's start information, and ACPI's list of processors.

All of it lies in one reserved stretch below 640 KiB. Sources: Xen, public/arch-x86/hvm/start_info.h,
version 1; ACPI Specification 6.5, sections 5.2.5.3 (RSDP), 5.2.6 (header), 5.2.8 (XSDT), 5.2.12 (MADT).
"""

import struct
from collections.abc import Sequence

TABLES_ADDRESS = 0x90000
TABLES_END = 0xA0000
_COMMAND_LINE_AT = 0x1000
_ROOT_AT = 0x2000
_LIST_AT = 0x3000
_PROCESSORS_AT = 0x4000

_MAGIC, _VERSION = 0x336EC578, 1
_START_INFO = struct.Struct("<4I4QII")
_RANGE = struct.Struct("<QQII")
_USABLE, _RESERVED = 1, 2
_HIGH_MEMORY = 0x10_0000

_HEADER = struct.Struct("<4sIBB6s8sI4sI")
_HEADER_CHECKSUM_AT = 9
_ROOT = struct.Struct("<8sB6sBIIQB3x")
_ROOT_V1_BYTES = 20
_ROOT_CHECKSUM_AT, _ROOT_WIDE_CHECKSUM_AT = 8, 32
_LOCAL_APIC_ADDRESS = 0xFEE00000
_LOCAL_APIC = struct.Struct("<BBBBI")
_ENABLED = 1


def start_tables(ram: Sequence[tuple[int, int]], n_processors: int, command_line: str) -> bytes:
    """Return what belongs at TABLES_ADDRESS, the start information first.

    ram: (address, bytes) of each stretch of memory, the first from address 0 and reaching past 1 MiB.
    The processors' APIC ids are 0 to n_processors - 1, which is below 255.
    """
    tables = bytearray(TABLES_END - TABLES_ADDRESS)
    ranges = memory_ranges(ram)
    info = _START_INFO.pack(
        _MAGIC,
        _VERSION,
        0,
        0,
        0,
        TABLES_ADDRESS + _COMMAND_LINE_AT,
        TABLES_ADDRESS + _ROOT_AT,
        TABLES_ADDRESS + _START_INFO.size,
        len(ranges),
        0,
    )
    _put(tables, 0, info + b"".join(_RANGE.pack(*each, 0) for each in ranges), _COMMAND_LINE_AT)
    line = command_line.encode() + b"\0"
    _put(tables, _COMMAND_LINE_AT, line, _ROOT_AT)
    _put(tables, _ROOT_AT, _root_pointer(TABLES_ADDRESS + _LIST_AT), _LIST_AT)
    listed = struct.pack("<Q", TABLES_ADDRESS + _PROCESSORS_AT)
    _put(tables, _LIST_AT, _table(b"XSDT", 1, listed), _PROCESSORS_AT)
    _put(tables, _PROCESSORS_AT, _table(b"APIC", 4, _processors(n_processors)), len(tables))
    return bytes(tables)


def memory_ranges(ram: Sequence[tuple[int, int]]) -> list[tuple[int, int, int]]:
    """Return the memory map: (address, bytes, kind), with the kinds of ACPI's E820 map."""
    (_, low), *others = ram
    return [
        (0, TABLES_ADDRESS, _USABLE),
        (TABLES_ADDRESS, TABLES_END - TABLES_ADDRESS, _RESERVED),
        (_HIGH_MEMORY, low - _HIGH_MEMORY, _USABLE),
        *((address, count, _USABLE) for address, count in others),
    ]


def _put(tables: bytearray, at: int, data: bytes, end: int) -> None:
    if len(data) > end - at:
        raise ValueError(f"{len(data)} bytes do not fit where a machine's tables have {end - at}")
    tables[at : at + len(data)] = data


def _processors(count: int) -> bytes:
    entries = [_LOCAL_APIC.pack(0, _LOCAL_APIC.size, number, number, _ENABLED) for number in range(count)]
    return struct.pack("<II", _LOCAL_APIC_ADDRESS, 0) + b"".join(entries)


def _table(signature: bytes, revision: int, body: bytes) -> bytes:
    head = _HEADER.pack(
        signature, _HEADER.size + len(body), revision, 0, b"AXIOM ", b"AXIOM   ", 1, b"AXIM", 1
    )
    return _summed(bytearray(head + body), _HEADER_CHECKSUM_AT)


def _root_pointer(list_address: int) -> bytes:
    root = bytearray(_ROOT.pack(b"RSD PTR ", 0, b"AXIOM ", 2, 0, _ROOT.size, list_address, 0))
    root[:_ROOT_V1_BYTES] = _summed(root[:_ROOT_V1_BYTES], _ROOT_CHECKSUM_AT)
    return _summed(root, _ROOT_WIDE_CHECKSUM_AT)


def _summed(data: bytearray, checksum_at: int) -> bytes:
    """Return data whose bytes add up to zero modulo 256."""
    data[checksum_at] = 0
    data[checksum_at] = -sum(data) % 256
    return bytes(data)
