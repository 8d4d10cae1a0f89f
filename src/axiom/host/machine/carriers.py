"""What brings the bytes of frames to the kernel and back: rings in shared memory, or a serial port."""

import select
import time
from typing import TYPE_CHECKING, Protocol

from axiom.abi.link import (
    LINK_BYTES,
    LINK_READY,
    REPLY_BYTES,
    REPLY_CONTROL_OFFSET,
    REPLY_OFFSET,
    REQUEST_BYTES,
    REQUEST_CONTROL_OFFSET,
    REQUEST_OFFSET,
    STATE_OFFSET,
    RingControl,
)
from axiom.host.errors import MachineError
from axiom.lang.layout import struct_layout

if TYPE_CHECKING:
    import socket

_COUNTER = 1 << 32


class Carrier(Protocol):
    """A two-way stream of bytes; nothing in it waits but `pause`."""

    def is_ready(self) -> bool:
        """Tell whether the kernel listens, as far as the carrier can tell."""
        ...

    def read(self) -> bytes:
        """Take all bytes that have arrived."""
        ...

    def write(self, data: memoryview) -> int:
        """Give bytes away; return how many were taken."""
        ...

    def pause(self, seconds: float) -> None:
        """Let up to `seconds` pass; may return as soon as there is something to read."""
        ...

    def close(self) -> None:
        """Let go of what the carrier holds."""
        ...


def _word(register: str) -> int:
    layout = struct_layout(RingControl)
    assert layout is not None
    return layout.fields[register].offset // 4


class RingCarrier:
    """The host's end of the two rings in the link region (see `axiom.metal.kernel.byte_ring`).

    A counter is one aligned 32-bit store or load of a `memoryview`, and CPython neither merges nor moves
    these. x86, the only processor that the images run on, keeps stores and loads in order, so that
    who sees a new HEAD sees the bytes before it.
    """

    def __init__(self, region: memoryview) -> None:
        """Take the link region: LINK_BYTES of writable bytes."""
        self._region = region[:LINK_BYTES]
        if len(self._region) != LINK_BYTES:
            raise MachineError(f"the link region has {len(region)} bytes, not {LINK_BYTES}")
        self._words = self._region[:REQUEST_OFFSET].cast("I")
        self._requests = self._region[REQUEST_OFFSET : REQUEST_OFFSET + REQUEST_BYTES]
        self._replies = self._region[REPLY_OFFSET : REPLY_OFFSET + REPLY_BYTES]
        self._request_head = REQUEST_CONTROL_OFFSET // 4 + _word("HEAD")
        self._request_tail = REQUEST_CONTROL_OFFSET // 4 + _word("TAIL")
        self._reply_head = REPLY_CONTROL_OFFSET // 4 + _word("HEAD")
        self._reply_tail = REPLY_CONTROL_OFFSET // 4 + _word("TAIL")

    def is_ready(self) -> bool:
        """Tell whether the kernel has emptied the rings and polls them."""
        return self._words[STATE_OFFSET // 4] == LINK_READY

    def read(self) -> bytes:
        """Take all bytes that have arrived. Raises MachineError when the counters contradict each other."""
        tail = self._words[self._reply_tail]
        waiting = (self._words[self._reply_head] - tail) % _COUNTER
        if waiting == 0:
            return b""
        if waiting > REPLY_BYTES:
            raise MachineError(f"the kernel's ring claims {waiting} bytes and holds {REPLY_BYTES}")
        start = tail % REPLY_BYTES
        first = min(waiting, REPLY_BYTES - start)
        data = bytes(self._replies[start : start + first]) + bytes(self._replies[: waiting - first])
        self._words[self._reply_tail] = (tail + waiting) % _COUNTER
        return data

    def write(self, data: memoryview) -> int:
        """Put all of `data` into the ring when it fits whole, else nothing."""
        head = self._words[self._request_head]
        used = (head - self._words[self._request_tail]) % _COUNTER
        if used > REQUEST_BYTES:
            raise MachineError(f"the kernel's ring claims {used} bytes and holds {REQUEST_BYTES}")
        if len(data) > REQUEST_BYTES - used:
            return 0
        start = head % REQUEST_BYTES
        first = min(len(data), REQUEST_BYTES - start)
        self._requests[start : start + first] = data[:first]
        self._requests[: len(data) - first] = data[first:]
        self._words[self._request_head] = (head + len(data)) % _COUNTER
        return len(data)

    def pause(self, seconds: float) -> None:
        """Let the processor do something else: nothing tells this process that a ring has changed."""
        time.sleep(seconds)

    def close(self) -> None:
        """Let go of the region."""
        for view in (self._words, self._requests, self._replies, self._region):
            view.release()


class SerialCarrier:
    """The other end of the kernel's serial port, as a non-blocking stream socket."""

    def __init__(self, stream: "socket.socket") -> None:
        stream.setblocking(False)
        self._stream = stream

    def is_ready(self) -> bool:
        """A serial line cannot tell: the kernel's first frame does."""
        return True

    def read(self) -> bytes:
        """Take all bytes that have arrived."""
        parts: list[bytes] = []
        try:
            while part := self._stream.recv(1 << 16):
                parts.append(part)
        except (BlockingIOError, ConnectionResetError):
            pass
        return b"".join(parts)

    def write(self, data: memoryview) -> int:
        """Give away as many bytes as the stream takes now."""
        try:
            return self._stream.send(data)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise MachineError(f"the kernel's serial port is gone: {error.strerror}") from error

    def pause(self, seconds: float) -> None:
        """Wait until there is something to read, no longer than `seconds`."""
        waiting = select.poll()
        waiting.register(self._stream, select.POLLIN)
        waiting.poll(seconds * 1000)

    def close(self) -> None:
        """The stream belongs to the machine."""
