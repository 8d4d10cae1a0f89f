"""Memory of this process in pages of 2 MiB, touched ahead of whoever uses it.

Linux needs some time for each page that is touched first. Of a KV cache every page holds a part of the
first positions, so that the first token would touch them all. It is done in a thread, while the rest of the
program is imported, a page at a time: Linux lets nobody else map memory meanwhile.
"""

import threading
from collections.abc import Callable

from axiom.host.machine.mapping import (
    HUGE_PAGE_BYTES,
    MADV_POPULATE_WRITE,
    advise,
    give_back,
    map_memory,
    reserve,
)

MOST_READY_BYTES = 512 << 20


class ReadyMemory:
    """`count` bytes of zeros; of very much memory only a part is touched ahead.

    place: the address and the length, as compiled code takes a slice.
    """

    def __init__(self, count: int) -> None:
        self._room = reserve(-(-count // HUGE_PAGE_BYTES) * HUGE_PAGE_BYTES)
        map_memory(self._room.start, self._room.bytes - HUGE_PAGE_BYTES)
        self.place = (self._room.start, count)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._touch, name="ready-memory", daemon=True)
        self._thread.start()

    def _touch(self) -> None:
        start, count = self.place
        touch(start, min(count, MOST_READY_BYTES), MADV_POPULATE_WRITE, self._stop.is_set)

    def close(self) -> None:
        """Give the memory back."""
        self._stop.set()
        self._thread.join()
        give_back(self._room)


def touch(start: int, count: int, advice: int, is_over: Callable[[], bool] = lambda: False) -> None:
    """Touch mapped memory, page by page, until Linux refuses or it is over."""
    for at in range(start, start + count, HUGE_PAGE_BYTES):
        if is_over() or not advise(at, HUGE_PAGE_BYTES, advice):
            return
