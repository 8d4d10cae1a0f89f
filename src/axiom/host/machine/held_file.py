"""A file kept in Linux's page cache, in pages of 2 MiB, while a machine has it mapped.

A machine that finds a page of its mapped model missing waits for the disk, and each small page costs a
fault of its own: 20 us for 4 KiB under nested virtualisation. So the file is read ahead of the machine in
huge pages; where the cache has it in small ones it is dropped and read again, which takes less than the
faults; and it is locked where that is allowed, as Linux may otherwise take back what was not used for some
seconds. All of it is best effort, in a thread of its own: when it fails, only time is lost.

Sources: Linux man pages madvise(2), mlock(2), posix_fadvise(2); Linux, Documentation/admin-guide/mm/
pagemap.rst (PAGEMAP_SCAN, from 6.7 on).
"""

import ctypes
import fcntl
import os
import struct
import threading
from pathlib import Path

from axiom.host.machine.mapping import (
    HUGE_PAGE_BYTES,
    MADV_DONTNEED,
    MADV_HUGEPAGE,
    MADV_POPULATE_READ,
    Room,
    advise,
    give_back,
    keep_from_children,
    lock,
    map_file,
    reserve,
)

STRETCH_BYTES = 32 * HUGE_PAGE_BYTES
_PAGEMAP_SCAN = 0xC0606610
_PAGE_IS_HUGE = 1 << 6
_SCAN = struct.Struct("<12Q")
_REGION = struct.Struct("<3Q")
_MAX_REGIONS = STRETCH_BYTES // HUGE_PAGE_BYTES


class HeldFile:
    """Reads a file ahead and holds it until `close`. What is shorter than a huge page is left alone.

    place: first address and end of where it is mapped, if it is.
    """

    def __init__(self, path: Path) -> None:
        self._stop = threading.Event()
        self._held: Room | None = None
        self.place: tuple[int, int] | None = None
        self._thread = threading.Thread(target=self._hold, name="held-file", daemon=True)
        try:
            self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return
        size = os.fstat(self._file).st_size // HUGE_PAGE_BYTES * HUGE_PAGE_BYTES
        start = self._map(self._file, size) if size else None
        if start is None:
            os.close(self._file)
            return
        self.place = start, start + size
        self._thread.start()

    def wait(self) -> None:
        """Wait until the file is in memory, as far as it goes."""
        if self._thread.ident is not None:
            self._thread.join()

    def close(self) -> None:
        """Let the file go."""
        self._stop.set()
        self.wait()
        if self._held is not None:
            give_back(self._held)
            self._held = self.place = None

    def _hold(self) -> None:
        assert self.place is not None
        start, end = self.place
        try:
            self._read(self._file, start, end - start)
        finally:
            os.close(self._file)

    def _map(self, file: int, size: int) -> int | None:
        """Map the file where huge pages fit; return the address."""
        try:
            self._held = reserve(size)
            map_file(self._held.start, size, file)
            keep_from_children(self._held.start, size)
        except OSError:
            self.close()
            return None
        return self._held.start

    def _read(self, file: int, start: int, size: int) -> None:
        advise(start, size, MADV_HUGEPAGE)
        mending = True
        for offset in range(0, size, STRETCH_BYTES):
            if self._stop.is_set():
                return
            count = min(STRETCH_BYTES, size - offset)
            if not advise(start + offset, count, MADV_POPULATE_READ):
                return
            mending = mending and self._mend(file, start, offset, count)
        lock(start, size)

    def _mend(self, file: int, start: int, offset: int, count: int) -> bool:
        """Read again what is not in huge pages; tell whether that helps."""
        for address in small_pages(start + offset, start + offset + count):
            advise(address, HUGE_PAGE_BYTES, MADV_DONTNEED)
            os.posix_fadvise(file, address - start, HUGE_PAGE_BYTES, os.POSIX_FADV_DONTNEED)
            advise(address, HUGE_PAGE_BYTES, MADV_POPULATE_READ)
            if small_pages(address, address + HUGE_PAGE_BYTES):
                # The file system has none, or somebody else is using these pages.
                return False
        return True


def small_pages(start: int, end: int) -> list[int]:
    """Return where this process's memory is not mapped by huge pages, by 2 MiB; nothing if unknown.

    start, end: multiples of 2 MiB.
    """
    regions = ctypes.create_string_buffer(_REGION.size * _MAX_REGIONS)
    wanted = (_PAGE_IS_HUGE, _PAGE_IS_HUGE, 0, _PAGE_IS_HUGE)  # inverted, all of, any of, returned
    where = ctypes.addressof(regions)
    scan = bytearray(_SCAN.pack(_SCAN.size, 0, start, end, 0, where, _MAX_REGIONS, 0, *wanted))
    try:
        with open("/proc/self/pagemap", "rb", buffering=0) as pagemap:
            found = fcntl.ioctl(pagemap, _PAGEMAP_SCAN, scan)
    except OSError:
        return []
    small: set[int] = set()
    for number in range(found):
        first, last, _ = _REGION.unpack_from(regions, number * _REGION.size)
        small.update(range(first // HUGE_PAGE_BYTES * HUGE_PAGE_BYTES, last, HUGE_PAGE_BYTES))
    return sorted(small)
