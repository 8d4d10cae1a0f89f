"""A session with the kernel on a machine of its own, and the sentences for what goes wrong there."""

import re
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from axiom.abi.boot import BootFailure, BootStage
from axiom.abi.exit_code import ExitCode
from axiom.abi.link import LINK_BYTES
from axiom.host.errors import CrashError, MachineError, UserError
from axiom.host.machine.carriers import RingCarrier, SerialCarrier
from axiom.host.machine.events import BootEvent
from axiom.host.machine.launch import Started, remember_launch, start_machine
from axiom.host.machine.link import LinkClient
from axiom.host.machine.machine import Machine, MachineEnded
from axiom.host.machine.options import SessionOptions
from axiom.host.machine.pinning import pin_processors
from axiom.host.machine.session import READY_SECONDS, Session, Stages
from axiom.host.model.packed_file import PackedModel

STOP_SECONDS = 5.0
_REFUSED = re.compile(r"\(failure (\d+), detail (\d+)\)")


@contextmanager
def machine_session(
    model: PackedModel, options: SessionOptions, started: Started | None
) -> Generator[Session]:
    """Serve a packed model until the block ends. started: the machine that is booting it, if one is."""
    start = time.monotonic()
    if started is None:
        from axiom.host.machine.prepare import prepare_launch

        launch = prepare_launch(model, options)
        built = time.monotonic()
        started = start_machine(launch, options)
        stages = {"build": (built - start) * 1e3}
    else:
        stages = {}
    stages["launch"] = (started.launched - started.began) * 1e3
    with started, _served(model, options, started, stages) as session:
        yield session
        _shut_down(session, started.machine, options)


@contextmanager
def _served(
    model: PackedModel, options: SessionOptions, started: Started, stages: Stages
) -> Generator[Session]:
    """Wait until the machine is ready; say what happened when it ends too early."""
    launch, machine = started.launch, started.machine
    machine.release()
    region = machine.memory.view(launch.rings_address, LINK_BYTES)
    carrier = RingCarrier(region) if machine.serial is None else SerialCarrier(machine.serial)
    link = LinkClient(carrier, machine.check_alive)
    try:
        boot = link.wait_ready(READY_SECONDS if options.gdb_port is None else float("inf"))
        whole = (time.monotonic() - machine.running_since) * 1e3
        if boot.failure != BootFailure.NONE:
            raise _refusal(boot, model)
        kernel = boot_stages_ms(boot)
        stages["firmware"] = max(0.0, whole - sum(kernel.values()))
        pin_processors(machine.process.id, options.cpus)
        if options.gdb_port is None:
            remember_launch(launch, options)
        note = "KVM" if machine.accelerator.name == "kvm" else f"TCG: {machine.accelerator.reason}"
        if boot.n_lanes < options.cpus:
            note += f"; only {boot.n_lanes} of {options.cpus} processors started"
        name = machine.accelerator.name
        yield Session(name, note, link, boot, stages | kernel, machine.process.id)
    except MachineEnded as ended:
        raise _explain(ended, machine, model, Path(launch.image)) from None
    finally:
        link.close()
        region.release()


def _shut_down(session: Session, machine: Machine, options: SessionOptions) -> None:
    """Let the kernel leave; it first checks what it has not checked yet of a mapped model."""
    session.link.shut_down()
    patience = READY_SECONDS if session.boot.mapped else STOP_SECONDS
    code = machine.wait(patience if options.gdb_port is None else float("inf"))
    if code == ExitCode.REFUSED or code == ExitCode.CRASH:
        machine.check_alive()


def boot_stages_ms(boot: BootEvent) -> Stages:
    """Return how long each stage of start-up took, by name."""
    stages: Stages = {}
    before = boot.stage_cycles[BootStage.ENTRY]
    for stage, cycles in boot.stage_cycles.items():
        if cycles and stage != BootStage.ENTRY:
            stages[stage.name.lower()] = (cycles - before) / boot.tsc_hz * 1e3
            before = cycles
    return stages


def _refusal(boot: BootEvent, model: PackedModel) -> UserError | MachineError:
    """Turn a boot report's failure into the sentence that the user gets."""
    refused = _refused(boot.failure, boot.failure_detail, model)
    if boot.drive_opcode or boot.drive_status:
        refused.message += f" The command {boot.drive_opcode:#04x} gave the status {boot.drive_status:#x}."
    return refused


def _refused(failure: BootFailure, detail: int, model: PackedModel) -> UserError | MachineError:
    from axiom.metal.drivers.model_loader import LoadStatus
    from axiom.metal.drivers.nvme_registers import NvmeStatus

    if failure == BootFailure.MODEL_REFUSED:
        status = LoadStatus(detail).name.lower().replace("_", " ")
        return UserError(
            f"the packed model {model.path} is damaged ({status}).",
            "delete it; it is made again when needed",
        )
    if failure == BootFailure.DRIVE_FAILED:
        return MachineError(f"the NVMe drive did not do its part: {NvmeStatus(detail).name}.")
    reason = failure.name.lower().replace("_", " ")
    return MachineError(f"the kernel refused to start: {reason} (detail {detail}).")


def _explain(
    ended: MachineEnded, machine: Machine, model: PackedModel, image: Path
) -> CrashError | UserError | MachineError:
    if ended.code == ExitCode.CRASH:
        from axiom.host.machine.crash_report import parse_crash, render_crash

        crash = parse_crash(machine.console.text())
        if crash is not None:
            return CrashError(render_crash(crash, image))
    if ended.code == ExitCode.REFUSED and (found := _REFUSED.search(machine.console.text())):
        return _refused(BootFailure(int(found[1])), int(found[2]), model)
    return ended
