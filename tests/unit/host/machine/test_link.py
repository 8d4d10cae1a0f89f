"""The link client against the kernel's end in the same process: order, deadlines, the end of a machine."""

import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager

import numpy as np
import pytest

from axiom.abi.boot import BootReport
from axiom.abi.link import LINK_BYTES, REQUEST_BYTES, ErrorMessage, MessageType, TokenMessage
from axiom.host.errors import CrashError, MachineError
from axiom.host.machine.carriers import RingCarrier
from axiom.host.machine.events import BootEvent, ErrorEvent, TokenEvent
from axiom.host.machine.link import LinkClient
from axiom.host.machine.requests import StartRequest
from axiom.host.machine.wire import Record
from axiom.lang import size_of
from tests.support.kernel_link import KernelEnd, kernel_end

TOKEN = Record(TokenMessage)


def alive() -> None:
    """A machine that has not ended."""


@contextmanager
def connected(check_alive: Callable[[], None] = alive) -> Generator[tuple[KernelEnd, LinkClient]]:
    """A kernel's end and a client that talks to it."""
    with kernel_end("hosted-v3") as kernel:
        yield kernel, LinkClient(RingCarrier(kernel.memory.data), check_alive)


def test_requests_reach_the_kernel_in_order() -> None:
    with connected() as (kernel, client):
        client.start(StartRequest(sequence_id=3, prompt=[5, 6], max_new=2))
        client.cancel(3)
        client.ask_counters()
        client.shut_down()
        taken = [kernel.poll() for _ in range(5)]
        kinds = [frame.kind for frame in taken if frame is not None]
        assert kinds == [
            MessageType.START,
            MessageType.CANCEL,
            MessageType.STATISTICS,
            MessageType.SHUTDOWN,
        ]
        assert kernel.bad == 0


def test_a_kernel_that_becomes_ready_later_is_waited_for() -> None:
    with connected() as (kernel, client):
        ready = kernel.memory[256:260].copy()
        kernel.memory[256:260] = 0

        def become_ready() -> None:
            time.sleep(0.02)
            kernel.memory[256:260] = ready
            assert kernel.send(MessageType.BOOT, bytes(size_of(BootReport)))

        thread = threading.Thread(target=become_ready)
        thread.start()
        assert isinstance(client.wait_ready(10.0), BootEvent)
        thread.join()


def test_events_come_one_by_one() -> None:
    with connected() as (kernel, client):
        assert client.poll_event() is None
        for number in range(3):
            assert kernel.send(MessageType.TOKEN, TOKEN.pack(sequence_id=1, index=number, token=number))
        events = [client.next_event(1.0), client.poll_event(), client.next_event(1.0), client.poll_event()]
        assert events == [*(TokenEvent(1, number, number, 0) for number in range(3)), None]


def test_silence_and_a_full_ring_end_at_the_deadline() -> None:
    with connected() as (kernel, client):
        with pytest.raises(MachineError, match=r"said nothing for 0.01 s"):
            client.next_event(0.01)
        kernel.memory[256] = 0
        with pytest.raises(MachineError, match=r"not ready within 0.01 s"):
            client.wait_ready(0.01)


def test_a_ring_that_stays_full_is_an_error() -> None:
    memory = np.zeros(LINK_BYTES, np.uint8)
    memory[0:4].view("<u4")[0] = REQUEST_BYTES
    client = LinkClient(RingCarrier(memory.data), alive, send_seconds=0.01)
    with pytest.raises(MachineError, match=r"took no request for 0.01 s"):
        client.cancel(1)


def test_what_the_kernel_said_before_it_ended_is_heard_first() -> None:
    def crashed() -> None:
        raise CrashError("the kernel crashed")

    with connected(crashed) as (kernel, client):
        kernel.send(MessageType.ERROR, Record(ErrorMessage).pack(code=4))
        assert isinstance(client.next_event(5.0), ErrorEvent)
        with pytest.raises(CrashError):
            client.next_event(5.0)


def test_a_lost_frame_and_a_damaged_one_are_errors() -> None:
    with connected() as (kernel, client):
        kernel.send(MessageType.TOKEN, TOKEN.pack(token=1))
        kernel.send(MessageType.TOKEN, TOKEN.pack(token=2))
        first = kernel.memory[4096 + REQUEST_BYTES :]
        first[:40] = first[40:80]
        with pytest.raises(MachineError, match="1 frames from the kernel were lost"):
            client.next_event(1.0)
    with connected() as (kernel, client):
        kernel.send(MessageType.TOKEN, TOKEN.pack(token=1))
        kernel.memory[4096 + REQUEST_BYTES + 20] ^= 1
        with pytest.raises(MachineError, match="damaged on the link"):
            client.next_event(1.0)


def test_a_boot_report_must_come_first() -> None:
    with connected() as (kernel, client):
        kernel.send(MessageType.TOKEN, TOKEN.pack(token=1))
        with pytest.raises(MachineError, match="began with TokenEvent"):
            client.wait_ready(1.0)
