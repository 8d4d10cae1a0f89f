"""The host's packing and the tests' own plain writing of the layouts agree byte for byte."""

from pathlib import Path

import numpy as np
import pytest

from axiom.host.model.pack import packed_model
from tests.support.small_model import MODELS, load_small_model


@pytest.mark.parametrize("name", ["f32", "f32-untied", "f16", "q8_0", "q4_0"])
def test_the_host_packs_what_the_engine_reads(name: str, tmp_path: Path) -> None:
    mine = load_small_model(name, 512, "f32")
    packed = packed_model(MODELS / f"stories260K-{name}.gguf", tmp_path)
    assert packed.shape == mine.spec.shape
    assert packed.tensors == mine.spec.tensors
    header = packed.header
    data = np.fromfile(packed.path, np.uint8)
    weights = data[header.weights_offset : header.weights_offset + header.weights_bytes]
    page = 4096
    assert weights[page:].tobytes() == mine.weights[page:].tobytes()
    # The first page holds the rope frequencies, which the host computes in decimal.
    exact, plain = (a[:page].view(np.float64) for a in (weights, mine.weights))
    assert np.allclose(exact, plain, rtol=1e-15, atol=0)
