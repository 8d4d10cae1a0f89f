"""The kernel's end of the link in this process, under CPython or compiled, for tests to talk to."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from axiom.abi.link import LINK_BYTES, MAX_REQUEST_PAYLOAD, MessageType
from axiom.compiler.hosted import Hosted, load_hosted
from axiom.lang import Slice, copy, fn, u8, u32, u64
from axiom.metal.kernel.clock import clock
from axiom.metal.kernel.link import link, payload, poll_frame, send_frame, start_link
from axiom.metal.kernel.serial_link import make_serial_link
from tests.support.static_storage import kept
from tests.support.targets import HOSTED_TARGETS, require_target, run

PATIENT_HZ = 1 << 40
IMPATIENT_HZ = 1000


@fn
def set_clock(hz: u64) -> None:
    clock.tsc_hz = hz


@fn
def take(target: Slice[u8], about: Slice[u64]) -> bool:
    """Poll; copy a frame's payload out and tell its kind, length, and what was counted."""
    found = poll_frame()
    about[2] = link.received
    about[3] = link.bad
    if found:
        about[0] = u64(link.kind)
        about[1] = link.payload_bytes
        copy(target.part(0, link.payload_bytes), payload())
    return found


@fn
def send(kind: u32, first: Slice[u8], second: Slice[u8]) -> bool:
    return send_frame(MessageType(kind), first, second)


@dataclass(frozen=True)
class Taken:
    """A frame that the kernel took."""

    kind: int
    payload: bytes


@cache
def _compiled(target: str) -> Hosted:
    return load_hosted([start_link, take, send, set_clock], HOSTED_TARGETS[target])


class KernelEnd:
    """The kernel's end with a link region of its own, `memory`. One at a time: its state is static."""

    def __init__(self, target: str) -> None:
        require_target(target)
        self._hosted = None if target == "python" else _compiled(target)
        self.memory: NDArray[np.uint8] = np.zeros(LINK_BYTES, np.uint8)
        self._target = np.zeros(MAX_REQUEST_PAYLOAD, np.uint8)
        self._about = np.zeros(4, np.uint64)
        self.set_patience(True)
        self._call(start_link, self.memory)

    def _call(self, function: Any, *arguments: Any) -> Any:
        if self._hosted is not None:
            return self._hosted(function, *arguments)
        return run("python", function, *arguments)

    def set_patience(self, patient: bool) -> None:
        """Let an unfinished frame wait for a very long time, or for next to none."""
        self._call(set_clock, PATIENT_HZ if patient else IMPATIENT_HZ)

    def poll(self) -> Taken | None:
        """Poll once."""
        if not self._call(take, self._target, self._about):
            return None
        return Taken(int(self._about[0]), self._target[: int(self._about[1])].tobytes())

    @property
    def bad(self) -> int:
        """How many frames were bad or lost so far, as of the last poll."""
        return int(self._about[3])

    def send(self, kind: MessageType, first: bytes, second: bytes = b"") -> bool:
        """Send a frame if there is room."""
        parts = [np.frombuffer(part + b"\0", np.uint8)[:-1].copy() for part in (first, second)]
        return bool(self._call(send, int(kind), *parts))


@contextmanager
def kernel_end(target: str) -> Generator[KernelEnd]:
    """Start a kernel's end, and leave its storage as it was."""
    with kept(link, clock):
        yield KernelEnd(target)


class SerialEnd:
    """A serial port between a host and a kernel's end under CPython: two buffers of bytes."""

    def __init__(self, transmit_limit: int) -> None:
        self.to_kernel = bytearray()
        self.to_host = bytearray()

        @fn
        def receive(target: Slice[u8]) -> u64:
            count = min(int(target.length), len(self.to_kernel))
            for i in range(count):
                target[i] = u8(self.to_kernel[i])
            del self.to_kernel[:count]
            return u64(count)

        @fn
        def transmit(source: Slice[u8]) -> u64:
            count = min(int(source.length), transmit_limit)
            self.to_host.extend(int(source[i]) for i in range(count))
            return u64(count)

        self.step = make_serial_link(receive, transmit)
