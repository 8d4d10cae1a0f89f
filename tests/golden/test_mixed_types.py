"""A model whose matrices want their activations in different forms, one beside the other.

Super-blocks take activations with one scale per 256 columns, all other blocks with one per 32. Where both
read the same numbers, these are quantised again in between: a matrix that got the other's would multiply by
wrong scales.
"""

from pathlib import Path

import numpy as np
import pytest
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

from axiom.host.bench.agreement import compare_logits
from axiom.host.bench.axiom_arm import axiom_arm
from axiom.host.bench.peer_rounds import random_tokens
from axiom.host.machine.session import SessionOptions
from axiom.host.model.pack import packed_model
from tests.support.exact_model import ExactModel
from tests.unit.host.model.gguf_builder import TOKENS, Entry, gguf_bytes, llama_values, tensor, write

Type = GGMLQuantizationType
WIDTH, KV_WIDTH, POSITIONS = 256, 64, 40
VALUES = llama_values(WIDTH) | {
    "llama.embedding_length": WIDTH,
    "llama.block_count": 1,
    "llama.attention.head_count": 8,
}
# Where the scales lie in a super-block, as numbers of f16.
SCALES_AT = {Type.Q4_K: (0, 2), Type.Q5_K: (0, 2), Type.Q6_K: (208,)}
MIXES = {
    "blocks first": (Type.Q4_0, Type.Q4_K, Type.Q8_0, Type.Q6_K, Type.Q4_0, Type.Q5_K, Type.Q4_1),
    "super-blocks first": (Type.Q6_K, Type.Q8_0, Type.Q4_K, Type.Q5_0, Type.Q5_K, Type.Q4_0, Type.Q4_K),
}
# Eight bits of activations come to 1e-4 and 3.3e-4 in these models, scales of the wrong form to over 0.3.
MOST_DIVERGENCE = 0.003


def matrix(name: str, rows: int, kind: Type, random: np.random.Generator) -> Entry:
    """Return a random matrix of WIDTH columns with elements of about 1/16."""
    if kind not in SCALES_AT:
        values = (random.standard_normal((rows, WIDTH)) / 16).astype(np.float32)
        return tensor(f"{name}.weight", values, kind)
    blocks = random.integers(0, 256, (rows, GGML_QUANT_SIZES[kind][1]), np.uint8)
    for number, at in enumerate(SCALES_AT[kind]):
        scale = random.uniform(1e-4, 3e-4, rows) * (8 if number else 1)
        blocks[:, at : at + 2] = scale.astype("<f2").view(np.uint8).reshape(rows, 2)
    return Entry(f"{name}.weight", (rows, WIDTH), int(kind), blocks.tobytes())


def mixed(kinds: tuple[Type, ...]) -> bytes:
    """Return a model; kinds: of query, key, value, output, gate, up and down."""
    random = np.random.default_rng(3)
    rows = (WIDTH, KV_WIDTH, KV_WIDTH, WIDTH, WIDTH, WIDTH, WIDTH)
    names = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
    ones = np.ones(WIDTH, np.float32)
    norms = ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm")
    entries = [tensor(f"{name}.weight", ones, Type.F32) for name in norms]
    entries.append(matrix("token_embd", len(TOKENS), Type.Q8_0, random))
    parts = zip(names, rows, kinds, strict=True)
    entries += [matrix(f"blk.0.{name}", n, kind, random) for name, n, kind in parts]
    return gguf_bytes(VALUES, entries)


@pytest.mark.parametrize("mix", MIXES)
def test_each_matrix_gets_activations_of_its_own_form(mix: str, tmp_path: Path) -> None:
    path = write(tmp_path, mixed(MIXES[mix]))
    model = packed_model(path, tmp_path / "cache")
    tokens = random_tokens(model.shape.n_vocab, POSITIONS, 1)
    with axiom_arm(model, SessionOptions("hosted", 2, None, POSITIONS)) as axiom:
        found = compare_logits(ExactModel(path).logits(tokens), axiom.logits(tokens))
    assert found.mean_divergence < MOST_DIVERGENCE, found
