"""A llama forward pass in NumPy, one token at a time, from a GGUF file alone.

It is written to be compared with, not to be fast: dequantised weights, float32, one line per step of the
architecture. Everything it knows about the model, it reads from the file's metadata.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from gguf import GGUFReader
from gguf.quants import dequantize
from numpy.typing import NDArray
from tokenizers import Tokenizer
from tokenizers.models import BPE
from tools.bundled_model.tokenizer import empty_tokenizer

Floats = NDArray[np.float32]


def _metadata(reader: GGUFReader, key: str) -> float:
    field = reader.get_field(key)
    if field is None:
        raise ValueError(f"the file has no {key}")
    return field.contents()


def _strings(reader: GGUFReader, key: str) -> list[str]:
    field = reader.get_field(key)
    if field is None:
        raise ValueError(f"the file has no {key}")
    return [str(item) for item in field.contents()]


def tokenizer_of(reader: GGUFReader) -> Tokenizer:
    """Build the tokenizer from the file's metadata."""
    tokens = _strings(reader, "tokenizer.ggml.tokens")
    merges = [merge.split(" ") for merge in _strings(reader, "tokenizer.ggml.merges")]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    return empty_tokenizer(BPE(vocabulary, [(first, second) for first, second in merges]))


@dataclass
class Model:
    """Weights and numbers of a model, and the keys and values of the tokens so far."""

    weights: dict[str, Floats]
    n_layers: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    rms_epsilon: float
    frequencies: NDArray[np.float64]
    keys: list[list[Floats]]
    values: list[list[Floats]]

    def restart(self) -> None:
        """Forget all tokens."""
        self.keys = [[] for _ in range(self.n_layers)]
        self.values = [[] for _ in range(self.n_layers)]

    def _norm(self, x: Floats, name: str) -> Floats:
        mean_square = np.float32(np.mean(x * x))
        return x / np.sqrt(mean_square + np.float32(self.rms_epsilon)) * self.weights[name]

    def _rotate(self, x: Floats, position: int) -> Floats:
        """Rotate the pairs (2i, 2i + 1) of (heads, head_dim)."""
        cos = np.cos(position * self.frequencies).astype(np.float32)
        sin = np.sin(position * self.frequencies).astype(np.float32)
        even, odd = x[:, 0::2], x[:, 1::2]
        rotated = np.stack((even * cos - odd * sin, even * sin + odd * cos), axis=-1)
        return rotated.reshape(x.shape).astype(np.float32)

    def _attention(self, x: Floats, layer: int) -> Floats:
        blk, position = f"blk.{layer}", len(self.keys[layer])
        q = (self.weights[f"{blk}.attn_q.weight"] @ x).reshape(self.n_heads, self.head_dim)
        k = (self.weights[f"{blk}.attn_k.weight"] @ x).reshape(self.n_kv_heads, self.head_dim)
        v = (self.weights[f"{blk}.attn_v.weight"] @ x).reshape(self.n_kv_heads, self.head_dim)
        self.keys[layer].append(self._rotate(k, position))
        self.values[layer].append(v)
        group = self.n_heads // self.n_kv_heads
        q = self._rotate(q, position).reshape(self.n_kv_heads, group, self.head_dim)
        keys, values = np.stack(self.keys[layer], axis=1), np.stack(self.values[layer], axis=1)
        scores = q @ keys.transpose(0, 2, 1) / np.float32(np.sqrt(self.head_dim))
        shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
        shares /= shares.sum(axis=-1, keepdims=True)
        return self.weights[f"{blk}.attn_output.weight"] @ (shares @ values).reshape(-1)

    def _feed_forward(self, x: Floats, layer: int) -> Floats:
        blk = f"blk.{layer}"
        gate = self.weights[f"{blk}.ffn_gate.weight"] @ x
        up = self.weights[f"{blk}.ffn_up.weight"] @ x
        hidden = gate / (1 + np.exp(-gate)) * up
        return self.weights[f"{blk}.ffn_down.weight"] @ hidden.astype(np.float32)

    def logits(self, token: int) -> Floats:
        """Take one more token and return the logits of the next, (n_vocab,)."""
        x = self.weights["token_embd.weight"][token]
        for layer in range(self.n_layers):
            x = x + self._attention(self._norm(x, f"blk.{layer}.attn_norm.weight"), layer)
            x = x + self._feed_forward(self._norm(x, f"blk.{layer}.ffn_norm.weight"), layer)
        return self.weights["token_embd.weight"] @ self._norm(x, "output_norm.weight")


def open_model(path: Path) -> tuple[Model, Tokenizer]:
    """Read a GGUF file of the llama architecture, with tied embeddings."""
    reader = GGUFReader(path)
    weights = {t.name: dequantize(t.data, t.tensor_type).astype(np.float32) for t in reader.tensors}
    head_dim = int(_metadata(reader, "llama.attention.key_length"))
    pairs = np.arange(0, head_dim, 2, dtype=np.float64) / head_dim
    model = Model(
        weights=weights,
        n_layers=int(_metadata(reader, "llama.block_count")),
        n_heads=int(_metadata(reader, "llama.attention.head_count")),
        n_kv_heads=int(_metadata(reader, "llama.attention.head_count_kv")),
        head_dim=head_dim,
        rms_epsilon=_metadata(reader, "llama.attention.layer_norm_rms_epsilon"),
        frequencies=_metadata(reader, "llama.rope.freq_base") ** -pairs,
        keys=[],
        values=[],
    )
    model.restart()
    return model, tokenizer_of(reader)
