"""What an engine is specialised for: the model's shape, where its tensors lie, and the KV cache.

Ordinary Python: the host builds an `EngineSpec` from a packed model, and everything else in this
directory is derived from it before anything is compiled.
"""

from dataclasses import dataclass

from axiom.abi.model_shape import ModelShape, TensorSpec
from axiom.metal.ops.matrix import Matrix

# Enough for arithmetic and not memory to bound a prefill; the activations grow with it.
DEFAULT_BATCH = 128


@dataclass(frozen=True)
class EngineSpec:
    """A model and the run-time choices that are fixed with it.

    n_context: how many positions the KV cache holds. kv_type: "f32", "f16" or "q8_0".
    n_batch: how many tokens of a prompt are processed together, at most. n_lanes: how many processors share
    the work, at most.
    """

    shape: ModelShape
    tensors: tuple[TensorSpec, ...]
    n_context: int
    kv_type: str
    n_batch: int = DEFAULT_BATCH
    n_lanes: int = 1

    def tensor(self, name: str) -> TensorSpec:
        """Return the tensor of that name."""
        for tensor in self.tensors:
            if tensor.name == name:
                return tensor
        raise KeyError(f"the packed model has no tensor {name}")

    def output_tensor(self) -> TensorSpec:
        """Return the matrix that makes the logits."""
        return self.tensor("token_embd" if self.shape.tied else "output")


def matrix_of(tensor: TensorSpec) -> Matrix:
    """Return the matrix that a tensor holds."""
    matrix = Matrix(tensor.layout, tensor.rows, tensor.columns)
    if tensor.bytes < matrix.bytes:
        raise ValueError(f"{tensor.name} has {tensor.bytes} bytes, its layout takes {matrix.bytes}")
    return matrix
