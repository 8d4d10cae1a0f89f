"""From a packed model and options to a launch: the plan, the image, where everything will lie."""

from typing import Literal

from axiom.abi.boot import HUGE_PAGE_BYTES, RegionKind
from axiom.host.errors import UserError
from axiom.host.image.build import Image, build_image
from axiom.host.image.plan import (
    MappedFile,
    MemoryPlan,
    PlacedRegion,
    check_memory,
    least_memory,
    place_regions,
    plan_memory,
)
from axiom.host.machine.guest_memory import mapped_file_address
from axiom.host.machine.launch import Launch
from axiom.host.machine.options import SessionOptions
from axiom.host.model.packed_file import PackedModel

LEAST_SHARED_BYTES = 4 << 20


def session_plan(model: PackedModel, options: SessionOptions) -> MemoryPlan:
    """Return the memory plan of a session."""
    return plan_memory(
        model.shape,
        model.tensors,
        model.layout_id,
        model.weights_bytes,
        options.n_context,
        options.kv_type,
        serial_link=options.link == "uart",
        n_lanes=options.cpus,
    )


def choose_load(model: PackedModel, options: SessionOptions) -> Literal["nvme", "map"]:
    """Return how the kernel gets the model: mapped, where the file's length allows."""
    fits = model.path.stat().st_size % HUGE_PAGE_BYTES == 0
    if options.load == "map" and not fits:
        raise UserError(f"{model.path} cannot be mapped: its length is no multiple of 2 MiB.")
    return "map" if fits and options.load != "nvme" else "nvme"


def place_session(
    model: PackedModel, options: SessionOptions, plan: MemoryPlan, image: Image
) -> tuple[int, MappedFile | None, tuple[PlacedRegion, ...]]:
    """Return a machine's memory, the mapped file if there is one, and where the regions will lie.

    Raises UserError when the memory that was asked for does not do.
    """
    file = None
    if choose_load(model, options) == "map":
        file = MappedFile(1 << 32, model.path.stat().st_size, model.weights_offset)
    memory_bytes = options.memory_bytes or least_memory(plan, image.end, file)
    check_memory(plan, image.end, memory_bytes, file)
    if file is not None:
        file = MappedFile(mapped_file_address(memory_bytes), file.bytes, file.weights_offset)
    placed = place_regions(plan.config.regions, image.end, memory_bytes, file)
    assert placed is not None
    return memory_bytes, file, placed


def prepare_launch(model: PackedModel, options: SessionOptions) -> Launch:
    """Plan, build the image where it is not in the cache, and say how to start it."""
    plan = session_plan(model, options)
    image = build_image(plan.config, options.cache_folder, options.gdb_port is not None)
    memory_bytes, file, placed = place_session(model, options, plan, image)
    rings = next(region for region in placed if region.kind == RegionKind.LINK)
    shared = max(LEAST_SHARED_BYTES, -(-(rings.address + rings.bytes) // HUGE_PAGE_BYTES) * HUGE_PAGE_BYTES)
    return Launch(
        image=str(image.path),
        model=str(model.path),
        memory_bytes=memory_bytes,
        shared_bytes=min(shared, memory_bytes),
        rings_address=rings.address,
        load="nvme" if file is None else "map",
        link="serial" if options.link == "uart" else "memory",
        command_line="" if file is None else file.command_line(),
    )
