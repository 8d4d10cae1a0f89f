"""The memory plan: what a model needs, region by region, before anything boots.

The regions are placed by the kernel's own `carve`, run here under CPython on the memory map that the
machine will have, so that what is predicted is what the kernel will report.
"""

from dataclasses import dataclass

from axiom.abi.boot import (
    HUGE_PAGE_BYTES,
    PAGE_BYTES,
    RegionKind,
    RegionRequest,
    RegionTable,
    lane_stacks_bytes,
)
from axiom.abi.link import LINK_BYTES
from axiom.abi.model_shape import ModelShape, TensorSpec
from axiom.host.errors import UserError
from axiom.host.machine.guest_memory import available_bytes as available_bytes
from axiom.lang import array, u32, u64, zeroed
from axiom.metal.boot.config import KernelConfig, PlannedRegion
from axiom.metal.drivers.nvme_registers import DEVICE_QUEUE_BYTES
from axiom.metal.engine.activations import activation_bytes
from axiom.metal.engine.kv_cache import kv_cache_bytes
from axiom.metal.engine.operation import Operation
from axiom.metal.engine.schedule import build_schedule
from axiom.metal.engine.spec import EngineSpec
from axiom.metal.kernel.address_map import page_table_bytes
from axiom.metal.kernel.frames import USABLE, CarveStatus, MemoryMap, carve

STACK_BYTES = 256 << 10
DIGEST_CHUNK_BYTES = 2 << 20
DEFAULT_CONTEXT = 4096
N_DEVICE_RANGES = 5
IMAGE_BLOCKS = 16
LOW_LIMIT_BYTES = 0xB000_0000
LOW_BYTES_WHEN_SPLIT = 0x8000_0000
HIGH_ADDRESS = 1 << 32
FIRST_USABLE = 1 << 20
SMALLEST_BYTES = 16 << 20


@dataclass(frozen=True)
class PlacedRegion:
    """Where a region will lie."""

    kind: RegionKind
    address: int
    bytes: int


@dataclass(frozen=True)
class MemoryPlan:
    """A model's regions, the machine's memory, and what a token costs.

    operations: the forward pass in order, by which a trace's numbers count.
    """

    config: KernelConfig
    operations: tuple[Operation, ...]

    @property
    def bytes_per_token(self) -> int:
        """Bytes of weights read for one token, without the KV cache."""
        return sum(o.bytes_read for o in self.operations if not o.per_position)

    @property
    def multiply_adds_per_token(self) -> int:
        """Multiply-adds of one token, without attention."""
        return sum(o.multiply_adds for o in self.operations if not o.per_position)

    @property
    def planned_bytes(self) -> int:
        """The sum of the planned regions."""
        return sum(region.bytes for region in self.config.regions)


def _pages(count: int, align: int = PAGE_BYTES) -> int:
    return -(-count // align) * align


def plan_memory(
    shape: ModelShape,
    tensors: tuple[TensorSpec, ...],
    layout_id: int,
    weights_bytes: int,
    n_context: int | None = None,
    kv_type: str | None = None,
    serial_link: bool = False,
    n_lanes: int = 1,
) -> MemoryPlan:
    """Plan a model. n_context None: what it was trained for, at most DEFAULT_CONTEXT positions.

    kv_type None: f32 for a model of f32 weights, else f16. Raises UserError for a context that the
    model was not trained for.
    """
    if n_context is None:
        n_context = min(shape.n_context, DEFAULT_CONTEXT)
    if not 1 <= n_context <= shape.n_context:
        raise UserError(f"the context of {n_context} positions is not within 1 and {shape.n_context}.")
    if kv_type is None:
        layouts = {t.layout for t in tensors if t.kind == "matrix"}
        kv_type = "f32" if layouts == {"f32x16"} else "f16"
    spec = EngineSpec(shape, tensors, n_context, kv_type, n_lanes=n_lanes)
    config = KernelConfig(spec, _regions(spec, weights_bytes), layout_id, weights_bytes, serial_link)
    return MemoryPlan(config, build_schedule(spec).operations)


def _regions(spec: EngineSpec, weights_bytes: int) -> tuple[PlannedRegion, ...]:
    """Return the regions in the order in which they lie; the host shares the first ones."""
    digests = PAGE_BYTES + _pages(4 * -(-weights_bytes // DIGEST_CHUNK_BYTES))
    data = (
        PlannedRegion(RegionKind.CRASH_RECORD, PAGE_BYTES, PAGE_BYTES),
        PlannedRegion(RegionKind.LINK, PAGE_BYTES, LINK_BYTES),
        PlannedRegion(RegionKind.ARENA, PAGE_BYTES, digests),
        PlannedRegion(RegionKind.DEVICE_QUEUES, PAGE_BYTES, _pages(DEVICE_QUEUE_BYTES)),
        PlannedRegion(
            RegionKind.ACTIVATIONS, HUGE_PAGE_BYTES, _pages(activation_bytes(spec), HUGE_PAGE_BYTES)
        ),
        PlannedRegion(RegionKind.KV_CACHE, HUGE_PAGE_BYTES, _pages(kv_cache_bytes(spec), HUGE_PAGE_BYTES)),
        PlannedRegion(RegionKind.WEIGHTS, HUGE_PAGE_BYTES, _pages(weights_bytes, HUGE_PAGE_BYTES)),
    )
    stacks = PlannedRegion(RegionKind.LANE_STACKS, PAGE_BYTES, lane_stacks_bytes(spec.n_lanes))
    others = (stacks,) if spec.n_lanes > 1 else ()
    mapped = [(r.align, r.bytes) for r in (*others, *data)]
    tables = page_table_bytes(mapped, N_DEVICE_RANGES, IMAGE_BLOCKS)
    return (
        PlannedRegion(RegionKind.GUARD_BELOW, PAGE_BYTES, PAGE_BYTES),
        PlannedRegion(RegionKind.STACK, PAGE_BYTES, STACK_BYTES),
        PlannedRegion(RegionKind.GUARD_ABOVE, PAGE_BYTES, PAGE_BYTES),
        *others,
        PlannedRegion(RegionKind.PAGE_TABLES, tables, tables),
        *data,
    )


def expected_memory_map(memory_bytes: int) -> MemoryMap:
    """Return the usable memory of a Q35 machine from 1 MiB on (see host.machine.guest_memory)."""
    made = zeroed(MemoryMap)
    low = memory_bytes if memory_bytes < LOW_LIMIT_BYTES else LOW_BYTES_WHEN_SPLIT
    for address, end in ((FIRST_USABLE, low), (HIGH_ADDRESS, HIGH_ADDRESS + memory_bytes - low)):
        if end > address:
            entry = made.ranges[int(made.count)]
            entry.address, entry.bytes, entry.kind = u64(address), u64(end - address), u32(USABLE)
            made.count += 1
    return made


@dataclass(frozen=True)
class MappedFile:
    """A packed model that lies in guest memory of its own: where it begins, and its weights in it."""

    address: int
    bytes: int
    weights_offset: int

    def command_line(self) -> str:
        """Return what tells the kernel (see metal.kernel.boot_options)."""
        return f"model={self.address:x},{self.bytes:x},{self.weights_offset:x}"


def place_regions(
    regions: tuple[PlannedRegion, ...], image_end: int, memory_bytes: int, mapped: MappedFile | None = None
) -> tuple[PlacedRegion, ...] | None:
    """Return where the kernel will put the regions; None when they do not fit."""
    carved = [r for r in regions if mapped is None or r.kind != RegionKind.WEIGHTS]
    requests = array(RegionRequest, len(carved))
    for i, planned in enumerate(carved):
        request = requests[i]
        request.kind, request.align, request.bytes = planned.kind, u64(planned.align), u64(planned.bytes)
    found = zeroed(RegionTable)
    if carve(expected_memory_map(memory_bytes), u64(image_end), requests.all, found) != CarveStatus.OK:
        return None
    records = [found.records[i] for i in range(int(found.count))]
    placed = [PlacedRegion(RegionKind(r.kind), int(r.address), int(r.bytes)) for r in records]
    if mapped is not None:
        weights = next(r for r in regions if r.kind == RegionKind.WEIGHTS)
        start = mapped.address + mapped.weights_offset
        placed.append(PlacedRegion(RegionKind.MODEL_HEADER, mapped.address, mapped.weights_offset))
        placed.append(PlacedRegion(RegionKind.WEIGHTS, start, weights.bytes))
    return tuple(placed)


def least_memory(plan: MemoryPlan, image_end: int, mapped: MappedFile | None = None) -> int:
    """Return the memory of the smallest machine that holds the plan, a multiple of 2 MiB."""
    regions = plan.config.regions
    low = place_regions(regions, image_end, LOW_LIMIT_BYTES - HUGE_PAGE_BYTES, mapped)
    if low is not None:
        return max(SMALLEST_BYTES, _pages(_end_of_carved(low, mapped), HUGE_PAGE_BYTES))
    split = place_regions(regions, image_end, LOW_LIMIT_BYTES + 2 * plan.planned_bytes, mapped)
    assert split is not None, "a machine with room for everything twice has no room"
    above = _end_of_carved(split, mapped) - HIGH_ADDRESS
    return max(LOW_LIMIT_BYTES, LOW_BYTES_WHEN_SPLIT + _pages(above, HUGE_PAGE_BYTES))


def _end_of_carved(placed: tuple[PlacedRegion, ...], mapped: MappedFile | None) -> int:
    ours = placed if mapped is None else placed[:-2]
    return ours[-1].address + ours[-1].bytes


def check_memory(
    plan: MemoryPlan, image_end: int, memory_bytes: int, mapped: MappedFile | None = None
) -> None:
    """Raise UserError saying how many bytes are missing when a machine is too small for the plan."""
    if place_regions(plan.config.regions, image_end, memory_bytes, mapped) is None:
        needed = least_memory(plan, image_end, mapped)
        raise UserError(
            f"the model needs a machine of {needed >> 20} MiB, and this one has {memory_bytes >> 20} MiB: "
            f"{needed - memory_bytes} bytes are missing.",
            "give more with --memory, or a shorter --context",
        )
