"""Host and kernel talk over shared memory and over a serial port, on a machine."""

import struct
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from axiom.abi.boot import ExitCode
from axiom.abi.link import LINK_BYTES, ErrorCode
from axiom.host.machine.carriers import RingCarrier, SerialCarrier
from axiom.host.machine.events import CountersEvent, ErrorEvent, LogitsEvent
from axiom.host.machine.link import LinkClient
from axiom.host.machine.machine import Machine, MachineEnded, MachineOptions
from axiom.host.machine.requests import StartRequest
from tests.metal.images import parrot
from tests.support.metal import ACCELERATORS, build_image, require_accelerator

PATIENCE = 30.0
Link = Literal["memory", "serial"]
LINKS: tuple[Link, ...] = ("memory", "serial")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[Link, Path]:
    """An image for each carrier."""
    folder = tmp_path_factory.mktemp("parrot")
    return {
        link: build_image(folder / f"{link}.elf", parrot.make_parrot(link == "serial")) for link in LINKS
    }


@contextmanager
def connected(
    images: dict[Link, Path], accelerator: str, link: Link
) -> Generator[tuple[Machine, LinkClient, RingCarrier | SerialCarrier]]:
    """Boot the image of a carrier and talk to it."""
    require_accelerator(accelerator)
    options = MachineOptions(
        image=images[link],
        memory_bytes=64 << 20,
        shared_bytes=32 << 20,
        accelerator="kvm" if accelerator == "kvm" else "tcg",
        link=link,
    )
    with Machine(options) as machine:
        if machine.serial is not None:
            carrier: RingCarrier | SerialCarrier = SerialCarrier(machine.serial)
        else:
            with machine.memory.view(parrot.LINK_ADDRESS, LINK_BYTES) as region:
                carrier = RingCarrier(region)
        client = LinkClient(carrier, machine.check_alive)
        assert client.wait_ready(PATIENCE).vector_bytes == 123
        yield machine, client, carrier
        client.close()


@pytest.mark.parametrize("accelerator", ACCELERATORS)
@pytest.mark.parametrize("link", LINKS)
def test_what_is_said_comes_back(images: dict[Link, Path], accelerator: str, link: Link) -> None:
    longest = 20_000 if link == "memory" else 500
    with connected(images, accelerator, link) as (machine, client, _):
        for count in (0, 1, 7, longest):
            numbers = np.arange(count, dtype=np.float32)
            client.start(StartRequest(1, numbers.view("<u4").tolist(), 1))
            event = client.next_event(PATIENCE)
            assert isinstance(event, LogitsEvent)
            assert np.array_equal(event.logits, numbers)
        client.ask_counters()
        event = client.next_event(PATIENCE)
        assert isinstance(event, CountersEvent)
        assert (event.counters["frames_received"], event.counters["frames_bad"]) == (5, 0)
        client.shut_down()
        assert machine.wait(PATIENCE) == ExitCode.OK
        with pytest.raises(MachineEnded, match="shut down"):
            client.next_event(PATIENCE)


@pytest.mark.parametrize("link", LINKS)
def test_damage_on_the_way_is_answered(images: dict[Link, Path], link: Link) -> None:
    with connected(images, "tcg", link) as (_, client, carrier):
        bad = struct.pack("<HHIIII", 0xA71C, 4, 4, 0, 0xBAD, 0)
        assert carrier.write(memoryview(bad)) == len(bad)
        event = client.next_event(PATIENCE)
        assert isinstance(event, ErrorEvent)
        assert event.code == ErrorCode.BAD_FRAME
        client.ask_counters()
        event = client.next_event(PATIENCE)
        assert isinstance(event, CountersEvent)
        assert (event.counters["frames_received"], event.counters["frames_bad"]) == (1, 1)
