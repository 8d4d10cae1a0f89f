"""One operation of the forward pass: what the host reads of it, and what the kernel interprets."""

from dataclasses import dataclass
from enum import IntEnum

from axiom.lang import struct, u32, u64


class OperationKind(IntEnum):
    """What an operation does."""

    EMBED = 0
    ROPE_TABLES = 1
    NORM = 2
    QUANTISE = 3
    MATVEC = 4
    ROPE_AND_CACHE = 5
    ATTENTION = 6
    ADD = 7
    SWIGLU = 8
    SAMPLE = 9


@struct
class OperationRecord:
    """An operation in the image's table.

    source, target: byte offsets in the activations region. weights: byte offset in the weights
    region. matrix: number of the matrix shape. count: numbers to process (QUANTISE, ADD, SWIGLU).
    """

    kind: OperationKind
    layer: u32
    matrix: u32
    first_group: u32
    last_group: u32
    count: u32
    weights: u64
    source: u64
    target: u64


@dataclass(frozen=True)
class Operation:
    """An operation as the schedule lists it.

    bytes_read and multiply_adds: weights and arithmetic of one execution; of ATTENTION: KV cache bytes
    and arithmetic per cached position (`per_position`).
    """

    kind: OperationKind
    name: str
    layer: int = 0
    matrix: int = 0
    first_group: int = 0
    last_group: int = 0
    count: int = 0
    weights: int = 0
    source: int = 0
    target: int = 0
    bytes_read: int = 0
    multiply_adds: int = 0
    per_position: bool = False

    def record(self) -> OperationRecord:
        """Return what the kernel's table holds of it."""
        return OperationRecord(
            kind=self.kind,
            layer=u32(self.layer),
            matrix=u32(self.matrix),
            first_group=u32(self.first_group),
            last_group=u32(self.last_group),
            count=u32(self.count),
            weights=u64(self.weights),
            source=u64(self.source),
            target=u64(self.target),
        )
