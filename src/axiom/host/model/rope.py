"""The inverse frequencies of the rotary position embedding, the same bits on every machine."""

from decimal import Decimal, localcontext

import numpy as np
from gguf.constants import GGMLQuantizationType
from numpy.typing import NDArray

from axiom.abi.model_shape import ModelShape
from axiom.host.errors import UserError
from axiom.host.model.gguf_file import GgufFile

ROPE_FACTORS = "rope_freqs.weight"
MIN_THETA, MAX_THETA = 1.0, 1e30
DIGITS = 50


def rope_frequencies(file: GgufFile, shape: ModelShape) -> NDArray[np.float64]:
    """Return theta ** (-2i / head_dim), divided by rope_freqs[i] when the file has them.

    Computed in decimal arithmetic: the C library's `pow` differs between machines in the last bit.
    """
    if not MIN_THETA <= shape.rope_theta <= MAX_THETA:
        raise UserError(
            f"{file.path}: llama.rope.freq_base is {shape.rope_theta:g}; "
            f"{MIN_THETA:g} to {MAX_THETA:g} works."
        )
    with localcontext() as context:
        context.prec = DIGITS
        logarithm = Decimal(shape.rope_theta).ln()
        values = [
            float((logarithm * (-2 * i) / shape.head_dim).exp() / Decimal(factor))
            for i, factor in enumerate(_factors(file, shape.head_dim // 2))
        ]
    return np.array(values, np.float64)


def _factors(file: GgufFile, count: int) -> list[float]:
    tensor = file.tensors.get(ROPE_FACTORS)
    if tensor is None:
        return [1.0] * count
    if tensor.type is not GGMLQuantizationType.F32 or tensor.shape != (count,):
        raise UserError(
            f"{file.path}: the tensor {ROPE_FACTORS} is {tensor.type.name} of shape {tensor.shape}; "
            f"F32 of shape ({count},) works."
        )
    factors = file.raw(tensor).view("<f4")
    if not np.all(np.isfinite(factors) & (factors > 0)):
        raise UserError(f"{file.path}: the tensor {ROPE_FACTORS} holds a value that is not positive.")
    return [float(factor) for factor in factors]
