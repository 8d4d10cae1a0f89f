"""The small trained model of the test data, packed in memory for the engine.

A second, plain writing of the packed model: the tests of the engine do not depend on `axiom.host`.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from numpy.typing import NDArray

from axiom.abi.model_shape import ModelShape, TensorSpec
from axiom.metal.engine.spec import EngineSpec
from tests.support.packing import pack_float, pack_q4, pack_q8

MODELS = Path(__file__).resolve().parents[2].parent / "shared" / "models"
LAYER_TENSORS = (
    "attn_norm",
    "attn_q",
    "attn_k",
    "attn_v",
    "attn_output",
    "ffn_norm",
    "ffn_gate",
    "ffn_up",
    "ffn_down",
)


@dataclass(frozen=True)
class SmallModel:
    """A packed model, and what the reference says of it."""

    spec: EngineSpec
    weights: NDArray[np.uint8]
    reference: dict[str, Any]


def _matrix_bytes(tensor: gguf.ReaderTensor) -> tuple[str, NDArray[np.uint8]]:
    kind, columns = tensor.tensor_type.name, int(tensor.shape[0])
    raw = np.asarray(tensor.data).reshape(int(tensor.shape[1]), -1)
    if kind in ("F32", "F16"):
        numbers = raw.view("<f4" if kind == "F32" else "<f2").reshape(-1, columns)
        dtype = "<f4" if kind == "F32" else "<f2"
        return kind.lower() + "x16", pack_float(numbers, dtype)
    blocks = raw.view(np.uint8).reshape(len(raw), columns // 32, -1)
    scales = np.ascontiguousarray(blocks[:, :, :2]).view("<f2")[:, :, 0]
    body = np.ascontiguousarray(blocks[:, :, 2:])
    if kind == "Q8_0":
        return "q8_0x16", pack_q8(scales, body.view(np.int8))
    return "q4_0x16", pack_q4(scales, np.concatenate([body & 15, body >> 4], axis=2).astype(np.uint8))


def load_small_model(name: str, n_context: int, kv_type: str) -> SmallModel:
    """Pack `stories260K-<name>.gguf`; skip the test when the test data are absent."""
    path = MODELS / f"stories260K-{name}.gguf"
    if not path.exists():
        pytest.skip(f"the test data are absent: {path}")
    reader = gguf.GGUFReader(path)

    def field(key: str) -> Any:
        found = reader.get_field(f"llama.{key}")
        assert found is not None
        return found.contents()

    tensors = {t.name.removesuffix(".weight"): t for t in reader.tensors}
    heads = field("attention.head_count")
    head_dim = field("embedding_length") // heads
    theta = float(field("rope.freq_base"))
    shape = ModelShape(
        n_layers=field("block_count"),
        d_model=field("embedding_length"),
        d_ffn=field("feed_forward_length"),
        n_heads=heads,
        n_kv_heads=field("attention.head_count_kv"),
        head_dim=head_dim,
        n_vocab=int(tensors["token_embd"].shape[1]),
        n_context=field("context_length"),
        rope_theta=theta,
        rms_epsilon=float(field("attention.layer_norm_rms_epsilon")),
        tied="output" not in tensors,
    )
    names = ["token_embd"]
    names += [f"blk.{layer}.{part}" for layer in range(shape.n_layers) for part in LAYER_TENSORS]
    names += ["output_norm"] + ([] if shape.tied else ["output"])
    frequencies = np.array([theta ** (-2 * i / head_dim) for i in range(head_dim // 2)])
    specs: list[TensorSpec] = []
    parts: list[bytes] = []
    at = 0

    def put(tensor_name: str, kind: str, layout: str, rows: int, columns: int, data: bytes) -> None:
        nonlocal at
        specs.append(TensorSpec(tensor_name, kind, layout, rows, columns, at, len(data)))
        parts.append(data + bytes(-len(data) % 4096))
        at += len(parts[-1])

    put("rope_frequencies", "f64_vector", "", 1, head_dim // 2, frequencies.tobytes())
    for tensor_name in names:
        tensor = tensors[tensor_name]
        if len(tensor.shape) == 1:
            put(tensor_name, "f32_vector", "", 1, int(tensor.shape[0]), tensor.data.tobytes())
        else:
            layout, packed = _matrix_bytes(tensor)
            rows, columns = int(tensor.shape[1]), int(tensor.shape[0])
            put(tensor_name, "matrix", layout, rows, columns, packed.tobytes())
    weights = np.frombuffer(b"".join(parts), np.uint8).copy()
    reference = json.loads((MODELS / f"stories260K-{name}.ref.json").read_text())
    return SmallModel(EngineSpec(shape, tuple(specs), n_context, kv_type), weights, reference)
