"""Gathering a row is exact in every layout."""

from functools import cache
from typing import Any

import numpy as np
import pytest

from axiom.lang import Slice, f32, fn, u8, u64
from axiom.metal.ops.embedding import embed_row
from axiom.metal.ops.matrix import Matrix
from tests.support.identity import run_checked
from tests.support.packing import LAYOUTS, columns_for, pack
from tests.support.targets import TARGETS


@cache
def embed_for(matrix: Matrix) -> Any:
    """Return the op specialised for one matrix shape."""

    @fn
    def specialised(weights: Slice[u8], row: u64, out: Slice[f32]) -> None:
        embed_row(matrix, weights, row, out)

    return specialised


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_row_comes_back_as_its_numbers_rounded_once(target: str, layout: str) -> None:
    random = np.random.default_rng(7)
    columns = columns_for(layout, 64)
    packed, exact = pack(layout, random.normal(size=(37, columns)).astype(np.float32))
    for row in (0, 15, 16, 36):
        out = np.full(columns, np.nan, np.float32)
        run_checked(target, embed_for(Matrix(layout, 37, columns)), packed, row, out)
        assert out.tolist() == exact[row].astype(np.float32).tolist()
