"""The host's end of the link: asks the kernel, and hears what it reports.

One `LinkClient` for one kernel, whatever carries the bytes. Every wait has a deadline and notices when the
machine has ended. A frame that was damaged or lost on the way here is an error: what it said is gone.
"""

import time
from collections import deque
from collections.abc import Callable

from axiom.abi.boot import RegionKind
from axiom.abi.link import MessageType
from axiom.host.errors import AxiomError, MachineError
from axiom.host.machine.carriers import Carrier
from axiom.host.machine.events import BootEvent, Event, parse_event
from axiom.host.machine.frames import Frame, FrameReader, encode_frame
from axiom.host.machine.requests import StartRequest, cancel_payload, measure_payload

SEND_SECONDS = 5.0
# Polling a ring costs a processor, which a machine with as many lanes as processors wants for itself: every
# look of ours stops one lane, and all others wait for it. So: busily for the first moments; then asleep for
# most of the time that the last event took; then more and more seldom, up to a small part of the wait.
_BUSY_SECONDS = 0.0002
_SHORTEST_PAUSE = 0.00005
_LONGEST_PAUSE = 0.001
_SURE_PART = 0.85
_LATE_PART = 1 / 64
_LONGEST_SLEEP = 0.25


class LinkClient:
    """Requests out, events in. `check_alive` raises when the machine has ended."""

    def __init__(
        self, carrier: Carrier, check_alive: Callable[[], None], send_seconds: float = SEND_SECONDS
    ) -> None:
        self._carrier = carrier
        self._check_alive = check_alive
        self._send_seconds = send_seconds
        self._reader = FrameReader()
        self._frames: deque[Frame] = deque()
        self._next_sent = 0
        self._next_received = 0
        self._usual_seconds = 0.0

    def wait_ready(self, seconds: float) -> BootEvent:
        """Wait until the kernel listens and has reported how it booted.

        Raises MachineError when it does not in time, or says something else first.
        """
        deadline = time.monotonic() + seconds
        self._wait(self._carrier.is_ready, deadline, f"the kernel was not ready within {seconds:g} s")
        event = self.next_event(max(0.0, deadline - time.monotonic()))
        if not isinstance(event, BootEvent):
            raise MachineError(f"the kernel began with {type(event).__name__} and not with its boot report")
        return event

    def start(self, request: StartRequest) -> None:
        """Ask for a sequence; its events bear its `sequence_id`."""
        self._send(MessageType.START, request.payload())

    def cancel(self, sequence_id: int) -> None:
        """Ask for a sequence to end early; its DoneEvent follows."""
        self._send(MessageType.CANCEL, cancel_payload(sequence_id))

    def ask_counters(self) -> None:
        """Ask for a CountersEvent."""
        self._send(MessageType.STATISTICS, b"")

    def ask_trace(self) -> None:
        """Ask for the trace of the last sequence: TraceEvents, the last one without records."""
        self._send(MessageType.TRACE, b"")

    def ask_measure(self, kind: RegionKind, lane: int, first: int, count: int) -> None:
        """Ask for a MeasuredEvent: what reading a part of a region takes. See abi.link.MeasureMessage."""
        self._send(MessageType.MEASURE, measure_payload(kind, lane, first, count))

    def shut_down(self) -> None:
        """Ask the kernel to leave; the machine ends."""
        self._send(MessageType.SHUTDOWN, b"")

    def next_event(self, seconds: float) -> Event:
        """Return the next event. Raises MachineError when there is none within `seconds`."""
        started = time.monotonic()
        complaint = f"the kernel said nothing for {seconds:g} s"
        self._wait(self._has_frame, started + seconds, complaint, self._usual_seconds * _SURE_PART)
        self._usual_seconds = time.monotonic() - started
        return parse_event(self._frames.popleft())

    def poll_event(self) -> Event | None:
        """Return the next event if there is one now."""
        return parse_event(self._frames.popleft()) if self._has_frame() else None

    def close(self) -> None:
        """Let go of the carrier."""
        self._carrier.close()

    def _send(self, kind: MessageType, payload: bytes) -> None:
        frame = memoryview(encode_frame(int(kind), self._next_sent, payload))
        self._next_sent = (self._next_sent + 1) % (1 << 32)
        position = 0

        def all_taken() -> bool:
            nonlocal position
            position += self._carrier.write(frame[position:])
            return position == len(frame)

        refusal = f"the kernel took no request for {self._send_seconds:g} s"
        self._wait(all_taken, time.monotonic() + self._send_seconds, refusal)

    def _has_frame(self) -> bool:
        if not self._frames and (data := self._carrier.read()):
            for frame in self._reader.feed(data):
                lost = (frame.sequence - self._next_received) % (1 << 32)
                if lost:
                    raise MachineError(f"{lost} frames from the kernel were lost on the link")
                self._next_received = (frame.sequence + 1) % (1 << 32)
                self._frames.append(frame)
            if self._reader.damaged:
                raise MachineError("a frame from the kernel was damaged on the link")
        return bool(self._frames)

    def _wait(
        self, happened: Callable[[], bool], deadline: float, complaint: str, not_before: float = 0.0
    ) -> None:
        """Poll until something happens, less and less often, up to the deadline or the machine's end.

        not_before: in how many seconds it may be expected at the earliest.
        """
        started = time.monotonic()
        pause = 0.0
        while not happened():
            now = time.monotonic()
            if now >= deadline:
                raise MachineError(complaint)
            if now - started < _BUSY_SECONDS:
                continue
            try:
                self._check_alive()
            except AxiomError:
                # What the kernel said last may have arrived between the two looks.
                if happened():
                    return
                raise
            waited = now - started
            if waited < not_before <= _LONGEST_SLEEP:
                self._carrier.pause(min(not_before - waited, deadline - now))
                continue
            longest = max(_LONGEST_PAUSE, waited * _LATE_PART)
            pause = min(longest, pause * 2 or _SHORTEST_PAUSE)
            self._carrier.pause(min(pause, deadline - now))
