"""Quantise activations for a matrix, as the schedule has it done."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from axiom.metal.ops.matrix import SUPER_COLUMNS, Matrix
from axiom.metal.ops.quantise import quantise, quantise_super, quantised_bytes
from tests.support.targets import run


def quantiser(matrix: Matrix) -> Any:
    """Return the op that quantises what a matrix takes."""
    return quantise_super if matrix.scale_columns == SUPER_COLUMNS else quantise


def quantised_for(matrix: Matrix, x: NDArray[np.float32], target: str = "python") -> NDArray[np.uint8]:
    """Return the bytes that a matrix takes for one token."""
    out = np.zeros(quantised_bytes(len(x)), np.uint8)
    run(target, quantiser(matrix), x, out)
    return out
