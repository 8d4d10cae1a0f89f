"""What a KV cache in bytes costs in quality: the bundled model's logits beside those with one in f16."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from axiom.host.bench.agreement import compare_logits
from axiom.host.bench.axiom_arm import axiom_arm
from axiom.host.machine.options import KvName
from axiom.host.machine.session import SessionOptions
from axiom.host.model.pack import packed_model
from axiom.host.model.packed_file import PackedModel
from axiom.models import bundled_model_path

TEXT = "Once upon a time, there was a little girl named Lily. She loved to play outside with her friends."


def logits(model: PackedModel, kv_type: KvName) -> NDArray[np.float32]:
    tokens = model.tokenizer.encode(TEXT * 3)
    with axiom_arm(model, SessionOptions("hosted", 1, None, 256, kv_type=kv_type)) as arm:
        return arm.logits(tokens)


def test_a_cache_in_bytes_says_next_to_the_same(tmp_path: Path) -> None:
    model = packed_model(bundled_model_path(), tmp_path)
    exact, rounded = logits(model, "f16"), logits(model, "q8_0")
    assert len(exact) > 50
    found = compare_logits(rounded, exact)
    assert found.max_difference > 0
    assert found.mean_divergence < 1e-3
    assert found.top1 > 0.95
