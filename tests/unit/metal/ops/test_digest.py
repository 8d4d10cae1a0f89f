"""The digest of logits is a CRC-32C that can be continued."""

import numpy as np
import pytest

from axiom.metal.ops.digest import logits_digest
from tests.support.checksums import crc32c
from tests.support.identity import run_checked
from tests.support.targets import TARGETS


@pytest.mark.parametrize("target", TARGETS)
def test_it_is_the_crc32c_of_the_bytes_so_far(target: str) -> None:
    logits = np.random.default_rng(1).normal(size=(3, 37)).astype(np.float32)
    digest = 0
    for step in logits:
        digest = int(run_checked(target, logits_digest, digest, step.copy()))
    assert digest == crc32c(logits.tobytes())
