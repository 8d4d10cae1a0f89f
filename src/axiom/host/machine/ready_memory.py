"""Memory of this process in pages of 2 MiB, touched ahead of whoever uses it.

Linux needs some time for each page that is touched first. Of a KV cache every page holds a part of the
first positions, so that the first token would touch them all. It is done in a thread, while the rest of the
program is imported, a page at a time: Linux lets nobody else map memory meanwhile.
"""

import threading
from collections.abc import Callable

from axiom.host.errors import MachineError
from axiom.host.machine.mapping import (
    HUGE_PAGE_BYTES,
    MADV_POPULATE_WRITE,
    Room,
    advise,
    give_back,
    keep_from_children,
    map_memory,
    reserve,
)

MOST_READY_BYTES = 512 << 20


class ReadyMemory:
    """`count` bytes of zeros; of very much memory only a part is touched ahead.

    place: the address and the length, as compiled code takes a slice.
    """

    def __init__(self, count: int) -> None:
        """Raises MachineError when there is not so much memory."""
        whole = max(1, -(-count // HUGE_PAGE_BYTES)) * HUGE_PAGE_BYTES
        self._room: Room | None = None
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        try:
            self._room = reserve(whole)
            map_memory(self._room.start, whole)
            keep_from_children(self._room.start, whole)
        except OSError as error:
            self.close()
            raise MachineError(f"cannot get {whole >> 20} MiB of memory: {error.strerror}") from error
        self.place = (self._room.start, count)
        self._thread = threading.Thread(target=self._touch, name="ready-memory", daemon=True)
        self._thread.start()

    def _touch(self) -> None:
        start, count = self.place
        touch(start, min(count, MOST_READY_BYTES), MADV_POPULATE_WRITE, self._stop.is_set)

    def close(self) -> None:
        """Give the memory back; once is enough."""
        if self._thread is not None:
            self._stop.set()
            self._thread.join()
        if self._room is not None:
            give_back(self._room)
            self._room = None


def touch(start: int, count: int, advice: int, is_over: Callable[[], bool] = lambda: False) -> None:
    """Touch mapped memory, page by page, until Linux refuses or it is over."""
    for at in range(start, start + count, HUGE_PAGE_BYTES):
        if is_over() or not advise(at, HUGE_PAGE_BYTES, advice):
            return
