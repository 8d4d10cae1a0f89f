"""A Llama file gives its shape and its tensors; everything else is refused by name."""

from pathlib import Path

import numpy as np
import pytest
from gguf.constants import GGMLQuantizationType

from axiom.abi.model_shape import ModelShape
from axiom.host.errors import UserError
from axiom.host.model.gguf_file import open_gguf
from axiom.host.model.llama import LlamaModel, read_llama
from tests.unit.host.model.gguf_builder import (
    TOKENS,
    Entry,
    Value,
    changed,
    gguf_bytes,
    llama_entries,
    llama_values,
    write,
)

F32 = int(GGMLQuantizationType.F32)
IQ4_NL = int(GGMLQuantizationType.IQ4_NL)
Q4_K = int(GGMLQuantizationType.Q4_K)
ENTRIES = llama_entries()


def read(folder: Path, values: dict[str, Value], entries: list[Entry]) -> LlamaModel:
    """Write a file of these and read it as a Llama."""
    return read_llama(open_gguf(write(folder, gguf_bytes(values, entries))))


def test_the_shape_is_that_of_the_metadata(tmp_path: Path) -> None:
    model = read(tmp_path, llama_values(), ENTRIES)
    assert model.shape == ModelShape(
        n_layers=2,
        d_model=32,
        d_ffn=64,
        n_heads=4,
        n_kv_heads=2,
        head_dim=8,
        n_vocab=len(TOKENS),
        n_context=64,
        rope_theta=10000.0,
        rms_epsilon=float(np.float32(1e-5)),
        tied=True,
    )
    assert model.name == "very small"
    assert model.quantisation() == {"Q8_0": 15}


def test_an_output_matrix_makes_the_model_untied(tmp_path: Path) -> None:
    model = read(tmp_path, llama_values(), llama_entries(tied=False))
    assert not model.shape.tied
    assert list(model.tensors)[-1] == "output"


def test_tensors_come_in_the_order_of_the_forward_pass(tmp_path: Path) -> None:
    names = list(read(tmp_path, llama_values(), ENTRIES).tensors)
    layer = [
        "attn_norm",
        "attn_q",
        "attn_k",
        "attn_v",
        "attn_output",
        "ffn_norm",
        "ffn_gate",
        "ffn_up",
        "ffn_down",
    ]
    assert names == [
        "token_embd",
        *(f"blk.0.{part}" for part in layer),
        *(f"blk.1.{part}" for part in layer),
        "output_norm",
    ]


def test_absent_optional_keys_have_their_usual_values(tmp_path: Path) -> None:
    values = llama_values()
    del values["llama.rope.freq_base"], values["general.name"]
    model = read(tmp_path, values, ENTRIES)
    assert model.shape.rope_theta == 10000.0
    assert model.name == "model"


BAD_VALUES: list[tuple[str, Value, str]] = [
    ("general.architecture", "gemma2", "architecture 'gemma2'; only llama is supported"),
    ("llama.block_count", 3, "lacks the tensor blk.2."),
    ("llama.block_count", 1, "holds the tensor blk.1."),
    ("llama.block_count", 2_000_000_000, "llama.block_count is 2000000000"),
    ("llama.block_count", -1, "every dimension must be at least 1"),
    ("llama.block_count", 2.0, "the key llama.block_count is 2.0"),
    ("llama.embedding_length", 64, "the tensor token_embd.weight has the shape"),
    ("llama.embedding_length", 0, "llama.embedding_length must be positive"),
    ("llama.feed_forward_length", 96, "the tensor blk.0.ffn_gate.weight has the shape (64, 32)"),
    ("llama.feed_forward_length", [64, 64], "the key llama.feed_forward_length is an array of 2"),
    ("llama.attention.head_count", 0, "llama.attention.head_count and"),
    ("llama.attention.head_count_kv", 3, "4 heads are no multiple of 3 kv heads"),
    ("llama.attention.head_count_kv", 4, "the tensor blk.0.attn_k.weight has the shape (16, 32)"),
    ("llama.attention.key_length", 16, "the tensor blk.0.attn_q.weight has the shape (32, 32)"),
    ("llama.attention.value_length", 16, "llama.attention.value_length is 16; only 8"),
    ("llama.rope.dimension_count", 4, "llama.rope.dimension_count is 4; only 8"),
    ("llama.rope.freq_base", 0.0, "rope_theta 0 is not positive"),
    ("llama.rope.freq_base", float("nan"), "the key llama.rope.freq_base is nan"),
    ("llama.rope.freq_base", 0.5, "llama.rope.freq_base is 0.5"),
    ("llama.rope.scaling.type", "yarn", "the rope scaling 'yarn' of llama.rope.scaling.type"),
    ("llama.rope.scale_linear", 2.0, "llama.rope.scale_linear is 2"),
    ("llama.expert_count", 8, "llama.expert_count is 8"),
    ("llama.attention.layer_norm_rms_epsilon", -1.0, "rms_epsilon -1 is not positive"),
    ("llama.context_length", 0, "every dimension must be at least 1"),
    ("llama.vocab_size", 99, "llama.vocab_size is 99"),
]


@pytest.mark.parametrize(
    ("key", "value", "sentence"), BAD_VALUES, ids=[f"{k}={v}" for k, v, _ in BAD_VALUES]
)
def test_a_bad_value_is_named(key: str, value: Value, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        read(tmp_path, {**llama_values(), key: value}, ENTRIES)
    assert sentence in caught.value.message


@pytest.mark.parametrize(
    "key",
    [
        "general.architecture",
        "llama.context_length",
        "llama.embedding_length",
        "llama.block_count",
        "llama.feed_forward_length",
        "llama.attention.head_count",
        "llama.attention.layer_norm_rms_epsilon",
    ],
)
def test_a_missing_key_is_named(key: str, tmp_path: Path) -> None:
    values = llama_values()
    del values[key]
    with pytest.raises(UserError, match=f"lacks the key {key}"):
        read(tmp_path, values, ENTRIES)


@pytest.mark.parametrize("name", [entry.name for entry in ENTRIES])
def test_a_missing_tensor_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        read(tmp_path, llama_values(), [entry for entry in ENTRIES if entry.name != name])
    assert name in caught.value.message
    assert "a whole model is needed" in caught.value.message


@pytest.mark.parametrize(
    ("name", "fields", "sentence"),
    [
        ("blk.0.attn_v.weight", {"shape": (32, 32), "data": bytes(32 * 34)}, "has the shape (32, 32)"),
        ("output_norm.weight", {"shape": (1, 32)}, "the tensor output_norm.weight has the shape (1, 32)"),
        ("token_embd.weight", {"shape": (len(TOKENS) * 32,)}, "no matrix token_embd.weight"),
        (
            "blk.1.ffn_up.weight",
            {"type": IQ4_NL, "data": bytes(64 * 18)},
            "the tensor blk.1.ffn_up.weight is of type IQ4_NL, which is not supported; "
            "what works: F32, F16, Q8_0, Q4_0",
        ),
        ("blk.0.ffn_norm.weight", {"type": 1, "data": bytes(64)}, "is of type F16, which is not supported"),
    ],
)
def test_a_tensor_of_another_kind_is_named(
    name: str, fields: dict[str, object], sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError) as caught:
        read(tmp_path, llama_values(), changed(ENTRIES, name, **fields))
    assert sentence in caught.value.message


def test_a_tensor_that_nobody_would_read_is_refused(tmp_path: Path) -> None:
    bias = Entry("blk.0.attn_q.bias", (32,), F32, bytes(128))
    with pytest.raises(UserError, match=r"holds the tensor blk\.0\.attn_q\.bias"):
        read(tmp_path, llama_values(), [*ENTRIES, bias])
