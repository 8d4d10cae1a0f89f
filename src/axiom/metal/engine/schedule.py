"""The forward pass as a static list of operations, fixed when the image is built.

A batch of tokens (one, when generating) is one walk through the list; the operations from
`output_start` on make the logits of one token and are walked for those tokens alone that need them.

A *step* is a run of operations that a lane executes without waiting for the others: it goes on with the
rows or the tokens that it has made itself. A batch goes through a step of more than
`MAX_SHARE_MULTIPLY_ADDS` a lane in several pieces, so that the link is looked at in between.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from axiom.abi.model_shape import TensorSpec
from axiom.metal.engine.activations import Activations, Buffer, plan_activations
from axiom.metal.engine.kv_cache import plan_kv_cache
from axiom.metal.engine.operation import Operation, OperationKind
from axiom.metal.engine.spec import EngineSpec, matrix_of
from axiom.metal.ops.matrix import Matrix, round_up

MAX_SHARE_MULTIPLY_ADDS = 2**30
# Of a step for one token: with less, a few additions to a counter cost more than a lane's waiting.
LEAST_SHARED_OUT_MULTIPLY_ADDS = 2**20
GROUP_ROWS = 16
LAYER_MATRICES = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")


@dataclass(frozen=True)
class Schedule:
    """The operations in order; the distinct matrix shapes; where the output part starts."""

    operations: tuple[Operation, ...]
    matrices: tuple[Matrix, ...]
    output_start: int


class _Builder:
    """Collects operations for one spec."""

    def __init__(self, spec: EngineSpec) -> None:
        self.spec = spec
        self.buffers: Activations = plan_activations(spec)
        self.kv_cache = plan_kv_cache(spec)
        self.operations: list[Operation] = []
        self.matrices: list[Matrix] = []

    def embed(self) -> None:
        """Start with the tokens' embeddings and the positions' rotations."""
        tensor = self.spec.tensor("token_embd")
        matrix = matrix_of(tensor)
        self.operations += [
            Operation(
                OperationKind.EMBED,
                "embed",
                ends_step=False,
                matrix=self._matrix_number(matrix),
                weights=tensor.offset,
                target=self.buffers.residual.offset,
                bytes_read=matrix.group_bytes // GROUP_ROWS,
            ),
            Operation(
                OperationKind.ROPE_TABLES,
                "rope_tables",
                ends_step=False,
                weights=self.spec.tensor("rope_frequencies").offset,
                bytes_read=self.spec.shape.head_dim // 2 * 8,
            ),
        ]

    def norm(self, layer: int, name: str, readers: list[TensorSpec]) -> None:
        """Normalise the residual, and quantise the result as its first readers need it: by tokens."""
        n = self.spec.shape.d_model
        scale_columns = _forms(readers)[0]
        self.operations.append(
            Operation(
                OperationKind.NORM_AND_QUANTISE if scale_columns else OperationKind.NORM,
                name,
                layer,
                count=n,
                scale_columns=scale_columns,
                weights=self.spec.tensor(name).offset,
                source=self.buffers.residual.offset,
                target=self.buffers.normed.offset,
                bytes_read=n * 4,
                multiply_adds=n,
            )
        )

    def quantise(self, layer: int, source: Buffer, columns: int, scale_columns: int) -> None:
        """Quantise a buffer, if its readers need it."""
        if scale_columns:
            self.operations.append(
                Operation(
                    OperationKind.QUANTISE,
                    "quantise",
                    layer,
                    count=columns,
                    scale_columns=scale_columns,
                    source=source.offset,
                    target=self.buffers.quantised.offset,
                )
            )

    def multiply_all(
        self,
        layer: int,
        source: Buffer,
        readers: list[tuple[TensorSpec, Buffer]],
        then: Iterable[Operation] = (),
    ) -> None:
        """Multiply by several matrices that read one buffer, and go on with `then`, by the same rows.

        What the first of them needs is in the buffer of quantised numbers. Those that need another form
        have a step of their own, after the numbers have been quantised again.
        """
        forms = _forms([tensor for tensor, _ in readers])
        for form in forms:
            if form != forms[0]:
                self.quantise(layer, source, readers[0][0].columns, form)
            run = [
                self.multiply(layer, tensor, source, target)
                for tensor, target in readers
                if (_form(tensor) or forms[0]) == form
            ]
            self.step(run + list(then) if form == forms[-1] else run)

    def multiply(self, layer: int, tensor: TensorSpec, source: Buffer, target: Buffer) -> Operation:
        """Return the multiplication by a matrix, by rows."""
        matrix = matrix_of(tensor)
        return Operation(
            OperationKind.MATMUL,
            tensor.name,
            layer,
            matrix=self._matrix_number(matrix),
            weights=tensor.offset,
            source=(self.buffers.quantised if matrix.quantised else source).offset,
            target=target.offset,
            bytes_read=matrix.bytes,
            multiply_adds=matrix.n_groups * GROUP_ROWS * matrix.columns,
        )

    def combine(
        self, kind: OperationKind, name: str, layer: int, source: Buffer, target: Buffer, count: int
    ) -> Operation:
        """Return an elementwise operation, by rows as those of a matrix."""
        padded = round_up(count, GROUP_ROWS)
        return Operation(kind, name, layer, count=padded, source=source.offset, target=target.offset)

    def step(self, operations: Iterable[Operation]) -> None:
        """Add a step: operations by rows that need nothing from other lanes."""
        run = list(operations)
        work = sum(o.multiply_adds for o in run)
        n_pieces = -(-work * self.spec.n_batch // (MAX_SHARE_MULTIPLY_ADDS * self.spec.n_lanes))
        is_shared_out = work >= LEAST_SHARED_OUT_MULTIPLY_ADDS
        run = [replace(o, ends_step=False) for o in run]
        run[0] = replace(run[0], n_pieces=n_pieces, is_shared_out=is_shared_out)
        run[-1] = replace(run[-1], ends_step=True)
        self.operations += run

    def _matrix_number(self, matrix: Matrix) -> int:
        if matrix not in self.matrices:
            self.matrices.append(matrix)
        return self.matrices.index(matrix)

    def attention(self, layer: int) -> None:
        """Rotate, cache and attend."""
        shape = self.spec.shape
        work = 2 * shape.n_heads * shape.head_dim
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
                multiply_adds=work,
                per_position=True,
                is_shared_out=work * self.spec.n_context >= LEAST_SHARED_OUT_MULTIPLY_ADDS,
            ),
        ]

    def layer(self, layer: int) -> None:
        """One block: attention, then the feed-forward network, each added to the residual."""
        at, n = self.buffers, self.spec.shape.d_ffn
        query, key, value, output, gate, up, down = (
            self.spec.tensor(f"blk.{layer}.{name}") for name in LAYER_MATRICES
        )
        self.norm(layer, f"blk.{layer}.attn_norm", [query, key, value])
        inputs = [(query, at.query), (key, at.key), (value, at.value)]
        self.multiply_all(layer, at.normed, inputs)
        self.attention(layer)
        self._multiply_and_add(layer, output, at.attended)
        self.norm(layer, f"blk.{layer}.ffn_norm", [gate, up])
        swiglu = self.combine(OperationKind.SWIGLU, "swiglu", layer, at.up, at.gate, n)
        self.multiply_all(layer, at.normed, [(gate, at.gate), (up, at.up)], [swiglu])
        self._multiply_and_add(layer, down, at.gate)

    def _multiply_and_add(self, layer: int, tensor: TensorSpec, source: Buffer) -> None:
        at, n = self.buffers, self.spec.shape.d_model
        self.quantise(layer, source, tensor.columns, _form(tensor))
        add = self.combine(OperationKind.ADD, "add", layer, at.projected, at.residual, n)
        self.multiply_all(layer, source, [(tensor, at.projected)], [add])


def _form(tensor: TensorSpec) -> int:
    """Return how many of the activations that a matrix takes share a scale; 0: it takes plain numbers."""
    matrix = matrix_of(tensor)
    return matrix.scale_columns if matrix.quantised else 0


def _forms(readers: list[TensorSpec]) -> list[int]:
    """Return the forms that a buffer's readers need, once each, in order; [0] if none needs any."""
    return list(dict.fromkeys(form for tensor in readers if (form := _form(tensor)))) or [0]


def build_schedule(spec: EngineSpec) -> Schedule:
    """Return the operations of one batch."""
    builder = _Builder(spec)
    builder.embed()
    for layer in range(spec.shape.n_layers):
        builder.layer(layer)
    output_start = len(builder.operations)
    output = spec.output_tensor()
    builder.norm(0, "output_norm", [output])
    builder.step([builder.multiply(0, output, builder.buffers.normed, builder.buffers.logits)])
    builder.operations.append(Operation(OperationKind.SAMPLE, "sample"))
    return Schedule(tuple(builder.operations), tuple(builder.matrices), output_start)
