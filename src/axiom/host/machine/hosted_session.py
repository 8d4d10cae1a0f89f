"""A session with the kernel's service in this process. Light to import."""

import time
from collections.abc import Generator
from contextlib import contextmanager

from axiom.host.errors import UserError
from axiom.host.machine.hosted import HostedMachine
from axiom.host.machine.hosted_launch import remember_hosted
from axiom.host.machine.link import LinkClient
from axiom.host.machine.options import SessionOptions
from axiom.host.machine.session import READY_SECONDS, Session, Stages
from axiom.host.model.packed_file import PackedModel


@contextmanager
def hosted_session(
    model: PackedModel, options: SessionOptions, machine: HostedMachine | None
) -> Generator[Session]:
    """Serve a packed model until the block ends. machine: what has loaded it already, if anything."""
    stages: Stages = {}
    if machine is None:
        if options.link == "uart":
            raise UserError("a hosted kernel has no serial port.", "leave --link out")
        from axiom.host.machine.prepare_hosted import prepare_hosted

        start = time.monotonic()
        launch, stored = prepare_hosted(model, options)
        stages["build"] = (time.monotonic() - start) * 1e3
        machine = HostedMachine(launch, stored)
    stages["launch"] = (machine.launched - machine.began) * 1e3
    with machine:
        began = time.monotonic()
        machine.start()
        link = LinkClient(machine.carrier, machine.check_alive)
        boot = link.wait_ready(READY_SECONDS)
        stages["ready"] = (time.monotonic() - began) * 1e3
        remember_hosted(machine.launch, machine.stored, options)
        yield Session("hosted", "in this process", link, boot, stages)
        link.shut_down()
        machine.join()
