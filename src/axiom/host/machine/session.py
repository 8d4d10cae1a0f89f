"""A model being served, on a machine or in this process: `with open_session(...) as session:`.

A session knows how it started (stages, regions) and has a `LinkClient`. What goes wrong in the kernel
comes out as one of the host's errors: a crash as its Python traceback, a refusal as a sentence.
"""

import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from axiom.abi.boot import HUGE_PAGE_BYTES, BootFailure, BootStage, ExitCode, RegionKind
from axiom.host.errors import CrashError, MachineError, UserError
from axiom.host.image.build import build_image
from axiom.host.image.plan import (
    MemoryPlan,
    available_bytes,
    check_memory,
    least_memory,
    place_regions,
    plan_memory,
)
from axiom.host.machine.carriers import RingCarrier
from axiom.host.machine.crash_report import parse_crash, render_crash
from axiom.host.machine.events import BootEvent
from axiom.host.machine.hosted import HostedMachine
from axiom.host.machine.link import LinkClient
from axiom.host.machine.qemu import MachineEnded, MachineOptions, Qemu
from axiom.host.model.packed_file import PackedModel
from axiom.metal.drivers.model_loader import LoadStatus
from axiom.metal.drivers.nvme_registers import NvmeStatus

MachineName = Literal["auto", "kvm", "tcg", "hosted"]
READY_SECONDS = 120.0
LEAST_SHARED_BYTES = 16 << 20
Stages = dict[str, float]


@dataclass
class Session:
    """How the model is served: the machine's name, the link, the boot report and the stages so far.

    process_id: of the process that is the machine, if it is another than this one.
    """

    machine: str
    note: str
    link: LinkClient
    boot: BootEvent
    stages_ms: Stages = field(default_factory=dict[str, float])
    process_id: int | None = None


@dataclass(frozen=True)
class SessionOptions:
    """What was asked for; None means "as the plan says"."""

    machine: MachineName = "auto"
    cpus: int = 1
    memory_bytes: int | None = None
    n_context: int | None = None
    cache: Path = Path()


def plan_for(model: PackedModel, n_context: int | None, n_lanes: int = 1) -> MemoryPlan:
    """Return the memory plan of a packed model on so many processors."""
    return plan_memory(
        model.shape, model.tensors, model.layout_id, model.weights_bytes, n_context, n_lanes=n_lanes
    )


@contextmanager
def open_session(model: PackedModel, options: SessionOptions) -> Generator[Session]:
    """Serve a packed model until the block ends. Raises UserError, MachineError or CrashError."""
    plan = plan_for(model, options.n_context, options.cpus)
    if options.machine == "hosted":
        with HostedMachine(plan.config.engine, model) as hosted:
            link = LinkClient(hosted.carrier, hosted.check_alive)
            boot = link.wait_ready(READY_SECONDS)
            yield Session("hosted", "in this process", link, boot, hosted.stages_ms)
            link.shut_down()
        return
    with _on_machine(model, options, plan) as session:
        yield session


@contextmanager
def _on_machine(model: PackedModel, options: SessionOptions, plan: MemoryPlan) -> Generator[Session]:
    start = time.monotonic()
    image = build_image(plan.config, options.cache)
    built = time.monotonic()
    memory_bytes = options.memory_bytes or least_memory(plan, image.end)
    check_memory(plan, image.end, memory_bytes)
    missing = memory_bytes - available_bytes()
    if missing > 0:
        raise UserError(
            f"the machine needs {memory_bytes >> 20} MiB, and this computer is short of {missing} bytes.",
            "close something, or choose a shorter --context",
        )
    placed = place_regions(plan.config.regions, image.end, memory_bytes)
    assert placed is not None
    rings = next(region for region in placed if region.kind == RegionKind.LINK)
    shared = max(LEAST_SHARED_BYTES, -(-(rings.address + rings.bytes) // HUGE_PAGE_BYTES) * HUGE_PAGE_BYTES)
    wanted = MachineOptions(
        image=image.path,
        memory_bytes=memory_bytes,
        shared_bytes=min(shared, memory_bytes),
        model=model.path,
        cores=options.cpus,
        accelerator=options.machine if options.machine != "hosted" else "auto",
    )
    with Qemu(wanted) as machine:
        launched = time.monotonic()
        region = machine.memory.view(rings.address, rings.bytes)
        link = LinkClient(RingCarrier(region), machine.check_alive)
        try:
            boot = link.wait_ready(READY_SECONDS)
            if boot.failure != BootFailure.NONE:
                raise _refusal(boot, model)
            stages = {"build": (built - start) * 1e3, "launch": (launched - built) * 1e3}
            note = "KVM" if machine.accelerator.name == "kvm" else f"TCG: {machine.accelerator.reason}"
            all_stages = stages | boot_stages_ms(boot)
            yield Session(machine.accelerator.name, note, link, boot, all_stages, machine.process.id)
            link.shut_down()
            machine.wait(5.0)
        except MachineEnded as ended:
            raise _explain(ended, machine, image.path) from None
        finally:
            link.close()
            region.release()


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
    if boot.failure == BootFailure.MODEL_REFUSED:
        status = LoadStatus(boot.failure_detail).name.lower().replace("_", " ")
        return UserError(
            f"the packed model {model.path} is damaged ({status}).",
            "delete it; it is made again when needed",
        )
    if boot.failure == BootFailure.DRIVE_FAILED:
        status = NvmeStatus(boot.failure_detail).name
        return MachineError(f"the NVMe drive did not do its part: {status}.")
    reason = boot.failure.name.lower().replace("_", " ")
    return MachineError(f"the kernel refused to start: {reason} (detail {boot.failure_detail}).")


def _explain(ended: MachineEnded, machine: Qemu, image: Path) -> CrashError | MachineError:
    if ended.code == ExitCode.CRASH:
        crash = parse_crash(machine.console.text())
        if crash is not None:
            return CrashError(render_crash(crash, image))
    return ended
