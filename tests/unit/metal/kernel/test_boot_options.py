"""The command line's word about a mapped model, well formed, missing and damaged."""

import numpy as np
import pytest

from axiom.lang import zeroed
from axiom.metal.kernel.boot_options import MappedModel, find_mapped_model
from tests.support.targets import TARGETS, run


def find(target: str, line: str) -> tuple[int, int, int] | None:
    """Return what the kernel reads from a line: address, bytes and offset of the weights."""
    model = zeroed(MappedModel)
    text = np.frombuffer(line.encode("latin-1"), np.uint8).copy()
    if not run(target, find_mapped_model, text, model):
        return None
    return int(model.address), int(model.bytes), int(model.weights_offset)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("model=100000000,2e00000,201000", (1 << 32, 0x2E00000, 0x201000)),
        ("quiet model=1,2,3", (1, 2, 3)),
        ("model=1,2,3 quiet", (1, 2, 3)),
        ("a  model=abcdef,0,9", (0xABCDEF, 0, 9)),
        ("model=ffffffffffffffff,ffffffffffffffff,1", (2**64 - 1, 2**64 - 1, 1)),
        ("mymodel=9,9,9 model=1,2,3", (1, 2, 3)),
        ("model=1,2,3 model=4,5,6", (1, 2, 3)),
    ],
)
def test_the_place_of_a_model_is_read(target: str, line: str, expected: tuple[int, int, int]) -> None:
    assert find(target, line) == expected


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("line", ["", " ", "mode", "model", "mymodel=1,2,3", "model 1,2,3", "MODEL=1,2,3"])
def test_a_line_that_speaks_of_none_has_none(target: str, line: str) -> None:
    assert find(target, line) is None


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("model=", (0, 0, 0)),
        ("model=1", (1, 0, 0)),
        ("model=1,", (1, 0, 0)),
        ("model=1,2", (1, 2, 0)),
        ("model=,,", (0, 0, 0)),
        ("model=xyz", (0, 0, 0)),
        ("model=0x1,2,3", (0, 0, 0)),
        ("model=1,2;3", (1, 2, 0)),
        ("model=FF,2,3", (0, 0, 0)),
    ],
)
def test_what_is_no_number_is_zero(target: str, line: str, expected: tuple[int, int, int]) -> None:
    """A place of 0 bytes holds no packed model, which is found when its header is looked for."""
    assert find(target, line) == expected


@pytest.mark.parametrize("target", TARGETS)
def test_no_line_is_read_past_its_end(target: str) -> None:
    rng = np.random.default_rng()
    letters = "model=,0123456789abcdef xZ\xff"
    for _ in range(300):
        line = "".join(rng.choice(list(letters), rng.integers(0, 24)))
        found = find(target, line)
        assert (found is not None) == (f" {line}".find(" model=") >= 0)
