"""How fast a running kernel reads its regions, core by core, and all cores at once."""

from dataclasses import dataclass
from statistics import median

from axiom.abi.boot import MAX_LANES, RegionKind
from axiom.host.errors import MachineError
from axiom.host.machine.events import MeasuredEvent
from axiom.host.machine.link import LinkClient

MEASURED_KINDS = (RegionKind.ACTIVATIONS, RegionKind.KV_CACHE, RegionKind.WEIGHTS)
# Long enough that the telling of lanes does not count, short enough for the watchdog under emulation.
PART_BYTES = 32 << 20
N_PARTS = 7
PART_SECONDS = 60.0
ALL_LANES = MAX_LANES


@dataclass(frozen=True)
class RegionSpeed:
    """Medians over the parts of a region, in 10^9 bytes a second: by core, and of all of them together."""

    kind: RegionKind
    by_core_gb_s: tuple[float, ...]
    together_gb_s: float


def measure_region(
    link: LinkClient, tsc_hz: int, kind: RegionKind, region_bytes: int, n_lanes: int
) -> RegionSpeed:
    """Measure one region; no sequence may run. Raises MachineError when the kernel does not answer."""
    length = min(region_bytes, PART_BYTES)
    step = (region_bytes - length) // (N_PARTS - 1) // 64 * 64
    parts = [number * step for number in range(N_PARTS)]

    def speed(lane: int) -> float:
        found = [_read(link, kind, lane, first, length) for first in parts]
        return median(one.bytes / one.cycles * tsc_hz / 1e9 for one in found)

    for first in parts:
        _read(link, kind, ALL_LANES, first, length)  # what was never touched is not memory's fault
    return RegionSpeed(kind, tuple(speed(lane) for lane in range(n_lanes)), speed(ALL_LANES))


def read_region(link: LinkClient, tsc_hz: int, kind: RegionKind, region_bytes: int) -> float:
    """Read all of a region once, on all cores; return 10^9 bytes a second. Raises as `measure_region`."""
    found = [
        _read(link, kind, ALL_LANES, first, PART_BYTES) for first in range(0, region_bytes, PART_BYTES)
    ]
    return sum(part.bytes for part in found) / sum(part.cycles for part in found) * tsc_hz / 1e9


def _read(link: LinkClient, kind: RegionKind, lane: int, first: int, count: int) -> MeasuredEvent:
    link.ask_measure(kind, lane, first, count)
    event = link.next_event(PART_SECONDS)
    if not isinstance(event, MeasuredEvent):
        raise MachineError(f"the kernel answered a measurement with {event}")
    return event
