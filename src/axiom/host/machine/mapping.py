"""Address space where pages of 2 MiB fit, and what is mapped into it.

Source: Linux man pages mmap(2), madvise(2), mlock(2).
"""

import ctypes
import os
from typing import NamedTuple

HUGE_PAGE_BYTES = 2 << 20
MADV_DONTNEED, MADV_HUGEPAGE, MADV_POPULATE_READ, MADV_POPULATE_WRITE = 4, 14, 22, 23
_MADV_DONTFORK = 10
_PROT_NONE, _PROT_READ, _PROT_WRITE = 0, 1, 2
_MAP_SHARED, _MAP_PRIVATE, _MAP_FIXED, _MAP_ANONYMOUS, _MAP_NORESERVE = 0x01, 0x02, 0x10, 0x20, 0x4000

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
_libc.mlock.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_FAILED = ctypes.c_void_p(-1).value


class Room(NamedTuple):
    """Reserved address space: where it begins, its length, and its first multiple of 2 MiB."""

    base: int
    bytes: int
    start: int


def reserve(count: int) -> Room:
    """Reserve `count` bytes from a multiple of 2 MiB on. Raises OSError."""
    room = count + HUGE_PAGE_BYTES
    base = _mmap(None, room, _PROT_NONE, _MAP_PRIVATE | _MAP_ANONYMOUS | _MAP_NORESERVE, -1)
    return Room(base, room, -(-base // HUGE_PAGE_BYTES) * HUGE_PAGE_BYTES)


def map_file(address: int, count: int, file: int, *, writable: bool = False) -> None:
    """Map the first `count` bytes of a file, shared, over reserved addresses. Raises OSError."""
    rights = _PROT_READ | _PROT_WRITE if writable else _PROT_READ
    _mmap(address, count, rights, _MAP_SHARED | _MAP_FIXED, file)


def map_memory(address: int, count: int) -> None:
    """Map zeros that are this process's own over reserved addresses, in huge pages. Raises OSError."""
    flags = _MAP_PRIVATE | _MAP_FIXED | _MAP_ANONYMOUS | _MAP_NORESERVE
    _mmap(address, count, _PROT_READ | _PROT_WRITE, flags, -1)
    advise(address, count, MADV_HUGEPAGE)


def advise(address: int, count: int, advice: int) -> bool:
    """Tell Linux what will be done with memory; False when it refuses."""
    return _libc.madvise(address, count, advice) == 0


def keep_from_children(address: int, count: int) -> None:
    """Leave memory out of processes that are forked, which would keep it for as long as they live."""
    advise(address, count, _MADV_DONTFORK)


def lock(address: int, count: int) -> bool:
    """Keep memory from being taken back; False when that is not allowed."""
    return _libc.mlock(address, count) == 0


def give_back(room: Room) -> None:
    """Unmap reserved addresses and all that was mapped there."""
    _libc.munmap(room.base, room.bytes)


def _mmap(address: int | None, count: int, rights: int, flags: int, file: int) -> int:
    found = _libc.mmap(address, count, rights, flags, file, 0)
    if found is None or found == _FAILED:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return found
