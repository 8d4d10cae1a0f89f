"""What one image is built for: a model, and the regions that the host has planned for it."""

from dataclasses import dataclass

from axiom.abi.boot import RegionKind
from axiom.metal.engine.spec import EngineSpec


@dataclass(frozen=True)
class PlannedRegion:
    """A region to be carved: lengths and alignments are multiples of 4 KiB."""

    kind: RegionKind
    align: int
    bytes: int


@dataclass(frozen=True)
class KernelConfig:
    """Everything that is fixed when an image is built."""

    engine: EngineSpec
    regions: tuple[PlannedRegion, ...]
    layout_id: int
    weights_bytes: int
    serial_link: bool = False
