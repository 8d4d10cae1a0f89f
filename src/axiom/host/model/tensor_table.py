"""Where every tensor lies in the weights region: in the order of the forward pass, on page boundaries."""

import hashlib
import json

from axiom.abi.model_shape import ModelShape, TensorSpec
from axiom.host.model.layout import LAYOUTS, packed_bytes
from axiom.host.model.llama import LlamaModel

PAGE_BYTES = 4096
ROPE_FREQUENCIES = "rope_frequencies"


def align(value: int, to: int) -> int:
    """Round up to a multiple."""
    return -(-value // to) * to


def tensor_table(model: LlamaModel) -> tuple[TensorSpec, ...]:
    """Lay out the weights region: the rope frequencies, then the tensors of the model."""
    half = model.shape.head_dim // 2
    placed = [TensorSpec(ROPE_FREQUENCIES, "f64_vector", "", 1, half, 0, 8 * half)]
    offset = align(8 * half, PAGE_BYTES)
    for name, tensor in model.tensors.items():
        if len(tensor.shape) == 1:
            kind, layout, rows, columns = "f32_vector", "", 1, tensor.shape[0]
            size = 4 * columns
        else:
            kind, layout, (rows, columns) = "matrix", LAYOUTS[tensor.type], tensor.shape
            size = packed_bytes(layout, rows, columns)
        placed.append(TensorSpec(name, kind, layout, rows, columns, offset, size))
        offset = align(offset + size, PAGE_BYTES)
    return tuple(placed)


def layout_id(shape: ModelShape, tensors: tuple[TensorSpec, ...]) -> int:
    """Return what distinguishes images: a hash of the shape and of where every tensor lies."""
    text = json.dumps([shape._asdict(), [t._asdict() for t in tensors]], sort_keys=True)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")
