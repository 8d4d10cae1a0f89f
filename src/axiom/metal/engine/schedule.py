"""The forward pass as a static list of operations, fixed when the image is built.

One token is one walk through the list. For a token of the prompt that is not the last the walk stops
at `output_start`. A large matrix is split by row groups, so that no single operation takes longer than
reading `MAX_OPERATION_BYTES`.
"""

from dataclasses import dataclass

from axiom.abi.model_shape import TensorSpec
from axiom.metal.engine.activations import Activations, Buffer, plan_activations
from axiom.metal.engine.kv_cache import plan_kv_cache
from axiom.metal.engine.operation import Operation, OperationKind
from axiom.metal.engine.spec import EngineSpec, matrix_of
from axiom.metal.ops.matrix import Matrix, round_up

MAX_OPERATION_BYTES = 16 * 2**20


@dataclass(frozen=True)
class Schedule:
    """The operations in order; the distinct matrix shapes; where the output part starts."""

    operations: tuple[Operation, ...]
    matrices: tuple[Matrix, ...]
    output_start: int
    max_operation_bytes: int


class _Builder:
    """Collects operations for one spec."""

    def __init__(self, spec: EngineSpec) -> None:
        self.spec = spec
        self.buffers: Activations = plan_activations(spec)
        self.kv_cache = plan_kv_cache(spec)
        self.operations: list[Operation] = []
        self.matrices: list[Matrix] = []

    def embed(self) -> None:
        """Start with the token's embedding and the position's rotation."""
        tensor = self.spec.tensor("token_embd")
        matrix = matrix_of(tensor)
        self.operations += [
            Operation(
                OperationKind.EMBED,
                "embed",
                matrix=self._matrix_number(matrix),
                weights=tensor.offset,
                target=self.buffers.residual.offset,
                bytes_read=matrix.group_bytes // 16,
            ),
            Operation(
                OperationKind.ROPE_TABLES,
                "rope_tables",
                weights=self.spec.tensor("rope_frequencies").offset,
                bytes_read=self.spec.shape.head_dim // 2 * 8,
            ),
        ]

    def norm(self, layer: int, name: str) -> None:
        """Normalise the residual."""
        n = self.spec.shape.d_model
        self.operations.append(
            Operation(
                OperationKind.NORM,
                name,
                layer,
                weights=self.spec.tensor(name).offset,
                source=self.buffers.residual.offset,
                target=self.buffers.normed.offset,
                bytes_read=n * 4,
                multiply_adds=n,
            )
        )

    def multiply(self, layer: int, source: Buffer, outputs: list[tuple[TensorSpec, Buffer]]) -> None:
        """Multiply one vector by matrices, quantising it once if any of them needs it."""
        columns = outputs[0][0].columns
        if any(matrix_of(tensor).quantised for tensor, _ in outputs):
            self.operations.append(
                Operation(
                    OperationKind.QUANTISE,
                    "quantise",
                    layer,
                    count=columns,
                    source=source.offset,
                    target=self.buffers.quantised.offset,
                )
            )
        for tensor, target in outputs:
            self._matvec(layer, tensor, source, target)

    def _matvec(self, layer: int, tensor: TensorSpec, source: Buffer, target: Buffer) -> None:
        matrix = matrix_of(tensor)
        step = max(1, MAX_OPERATION_BYTES // matrix.group_bytes)
        number = self._matrix_number(matrix)
        for first in range(0, matrix.n_groups, step):
            last = min(first + step, matrix.n_groups)
            self.operations.append(
                Operation(
                    OperationKind.MATVEC,
                    tensor.name,
                    layer,
                    matrix=number,
                    first_group=first,
                    last_group=last,
                    weights=tensor.offset,
                    source=(self.buffers.quantised if matrix.quantised else source).offset,
                    target=target.offset,
                    bytes_read=(last - first) * matrix.group_bytes,
                    multiply_adds=(last - first) * 16 * matrix.columns,
                )
            )

    def _matrix_number(self, matrix: Matrix) -> int:
        if matrix not in self.matrices:
            self.matrices.append(matrix)
        return self.matrices.index(matrix)

    def attention(self, layer: int) -> None:
        """Rotate, cache and attend."""
        shape = self.spec.shape
        self.operations += [
            Operation(
                OperationKind.ROPE_AND_CACHE,
                "rope_and_cache",
                layer,
                multiply_adds=2 * (shape.n_heads + shape.n_kv_heads) * shape.head_dim,
            ),
            Operation(
                OperationKind.ATTENTION,
                "attention",
                layer,
                bytes_read=self.kv_cache.position_bytes,
                multiply_adds=2 * shape.n_heads * shape.head_dim,
                per_position=True,
            ),
        ]

    def elementwise(
        self, kind: OperationKind, name: str, layer: int, source: Buffer, target: Buffer, count: int
    ) -> None:
        """Combine two buffers into `target`."""
        self.operations.append(
            Operation(
                kind,
                name,
                layer,
                count=round_up(count, 16),
                source=source.offset,
                target=target.offset,
            )
        )

    def layer(self, layer: int) -> None:
        """One block: attention, then the feed-forward network, each added to the residual."""
        spec, shape, at = self.spec, self.spec.shape, self.buffers
        prefix = f"blk.{layer}."
        add = OperationKind.ADD
        self.norm(layer, prefix + "attn_norm")
        rows = [("attn_q", at.query), ("attn_k", at.key), ("attn_v", at.value)]
        self.multiply(layer, at.normed, [(spec.tensor(prefix + n), b) for n, b in rows])
        self.attention(layer)
        self.multiply(layer, at.attended, [(spec.tensor(prefix + "attn_output"), at.projected)])
        self.elementwise(add, "add_attention", layer, at.projected, at.residual, shape.d_model)
        self.norm(layer, prefix + "ffn_norm")
        rows = [("ffn_gate", at.gate), ("ffn_up", at.up)]
        self.multiply(layer, at.normed, [(spec.tensor(prefix + n), b) for n, b in rows])
        self.elementwise(OperationKind.SWIGLU, "swiglu", layer, at.up, at.gate, shape.d_ffn)
        self.multiply(layer, at.gate, [(spec.tensor(prefix + "ffn_down"), at.projected)])
        self.elementwise(add, "add_ffn", layer, at.projected, at.residual, shape.d_model)


def build_schedule(spec: EngineSpec) -> Schedule:
    """Return the operations of one token."""
    builder = _Builder(spec)
    builder.embed()
    for layer in range(spec.shape.n_layers):
        builder.layer(layer)
    output_start = len(builder.operations)
    builder.norm(0, "output_norm")
    builder.multiply(0, builder.buffers.normed, [(spec.output_tensor(), builder.buffers.logits)])
    builder.operations.append(Operation(OperationKind.SAMPLE, "sample"))
    operations = tuple(builder.operations)
    largest = max(o.bytes_read for o in operations)
    return Schedule(operations, tuple(builder.matrices), output_start, largest)
