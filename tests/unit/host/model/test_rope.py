"""Rope frequencies: theta ** (-2i / head_dim), over the file's factors, to the last bit."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from axiom.host.errors import UserError
from axiom.host.model.gguf_file import open_gguf
from axiom.host.model.llama import LlamaModel, read_llama
from tests.unit.host.model.gguf_builder import Entry, gguf_bytes, llama_entries, llama_values, write


def read(folder: Path, theta: float, factors: Entry | None) -> LlamaModel:
    """Read the small Llama with another theta and factors."""
    entries = llama_entries() + ([] if factors is None else [factors])
    values = {**llama_values(), "llama.rope.freq_base": theta}
    return read_llama(open_gguf(write(folder, gguf_bytes(values, entries))))


def factors_entry(*factors: float) -> Entry:
    """Return the tensor that holds these factors."""
    return Entry("rope_freqs.weight", (len(factors),), 0, np.array(factors, "<f4").tobytes())


@pytest.mark.parametrize("theta", [16.0, 10000.0, 500000.0])
def test_every_value_is_the_nearest_double(theta: float, tmp_path: Path) -> None:
    frequencies = read(tmp_path, theta, None).rope_frequencies
    assert frequencies[0] == 1.0
    for i, value in enumerate(frequencies.tolist()):
        # value ** 4 must be theta ** -i: bracket it between the neighbours of the double, exactly.
        exact = Fraction(1) / Fraction(theta) ** i
        below = Fraction(float(np.nextafter(value, 0)))
        above = Fraction(float(np.nextafter(value, 2)))
        middle = Fraction(value)
        assert ((below + middle) / 2) ** 4 <= exact <= ((middle + above) / 2) ** 4


def test_factors_divide(tmp_path: Path) -> None:
    plain = read(tmp_path, 10000.0, None).rope_frequencies
    divided = read(tmp_path, 10000.0, factors_entry(1, 2, 4, 32)).rope_frequencies
    assert np.array_equal(divided, plain / [1, 2, 4, 32])


@pytest.mark.parametrize(
    ("factors", "sentence"),
    [
        (factors_entry(1, 1, 1), r"rope_freqs\.weight is F32 of shape \(3,\)"),
        (factors_entry(1, 1, 0, 1), "not positive"),
        (factors_entry(1, 1, float("nan"), 1), "not positive"),
        (Entry("rope_freqs.weight", (4,), 1, bytes(8)), r"rope_freqs\.weight is F16"),
    ],
)
def test_other_factors_are_refused(factors: Entry, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=sentence):
        read(tmp_path, 10000.0, factors)
