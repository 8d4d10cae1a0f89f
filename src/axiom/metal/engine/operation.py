"""One operation of the forward pass: what the host reads of it, and what the kernel interprets."""

from dataclasses import dataclass
from enum import IntEnum

from axiom.lang import struct, u32, u64


class OperationKind(IntEnum):
    """What an operation does."""

    EMBED = 0
    ROPE_TABLES = 1
    NORM = 2
    NORM_AND_QUANTISE = 3
    QUANTISE = 4
    MATMUL = 5
    ROPE_AND_CACHE = 6
    ATTENTION = 7
    ADD = 8
    SWIGLU = 9
    SAMPLE = 10


@struct
class OperationRecord:
    """An operation in the image's table.

    source, target: byte offsets in the activations region, of the first token. weights: byte offset in
    the weights region. matrix: number of the matrix shape. count: numbers per token (QUANTISE, ADD,
    SWIGLU). scale_columns: how many numbers share a scale (QUANTISE, NORM_AND_QUANTISE). ends_step: every
    lane must be through before the next operation begins. Of a step's first operation: n_pieces, in how
    many pieces a batch of several tokens goes through the step; is_shared_out, whether lanes that are
    through with their parts of a piece take of what is left.
    """

    kind: OperationKind
    ends_step: bool
    is_shared_out: bool
    n_pieces: u32
    layer: u32
    matrix: u32
    count: u32
    scale_columns: u32
    weights: u64
    source: u64
    target: u64


@dataclass(frozen=True)
class Operation:
    """An operation as the schedule lists it.

    bytes_read and multiply_adds: weights and arithmetic of one execution for one token; of ATTENTION: KV
    cache bytes and arithmetic per cached position (`per_position`). A batch reads the weights once.
    """

    kind: OperationKind
    name: str
    layer: int = 0
    ends_step: bool = True
    is_shared_out: bool = False
    n_pieces: int = 1
    matrix: int = 0
    count: int = 0
    scale_columns: int = 0
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
            ends_step=self.ends_step,
            is_shared_out=self.is_shared_out,
            n_pieces=u32(self.n_pieces),
            layer=u32(self.layer),
            matrix=u32(self.matrix),
            count=u32(self.count),
            scale_columns=u32(self.scale_columns),
            weights=u64(self.weights),
            source=u64(self.source),
            target=u64(self.target),
        )
