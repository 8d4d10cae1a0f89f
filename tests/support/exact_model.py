"""A forward pass that rounds nothing to eight bits: the quantised weights as they are, all else in floats.

Plain NumPy after the definition of the Llama architecture, for whole texts; each matrix is widened when
it is needed, so that models of some billions of weights fit in memory.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray

Reals = NDArray[Any]


@dataclass(frozen=True)
class ExactModel:
    """A GGUF file. number: in which floats products are taken, float32 or float64."""

    path: Path
    number: type[np.floating[Any]] = np.float64

    def logits(self, tokens: list[int]) -> NDArray[np.float32]:
        """Return the logits of every position, [positions, vocabulary]."""
        return _Pass(self.path, self.number, len(tokens)).logits(tokens)


class _Pass:
    def __init__(self, path: Path, number: type[np.floating[Any]], count: int) -> None:
        self._reader = gguf.GGUFReader(path)
        self._tensors = {tensor.name: tensor for tensor in self._reader.tensors}
        self._number = number
        self._layers = int(self._value("block_count"))
        self._heads = int(self._value("attention.head_count"))
        self._kv_heads = int(self._value("attention.head_count_kv"))
        self._head = int(self._value("embedding_length")) // self._heads
        self._epsilon = float(self._value("attention.layer_norm_rms_epsilon"))
        steps = np.arange(0, self._head, 2) / self._head
        angle = np.arange(count)[:, None] * self._slower(float(self._value("rope.freq_base")) ** -steps)
        self._cosine, self._sine = np.cos(angle)[:, None], np.sin(angle)[:, None]
        self._mask = np.triu(np.full((count, count), -np.inf), 1)

    def _value(self, name: str) -> Any:
        field = self._reader.get_field(f"llama.{name}")
        if field is None:
            raise ValueError(f"the model does not say its {name}")
        return field.contents()

    def _slower(self, frequencies: Reals) -> Reals:
        has = "rope_freqs.weight" in self._tensors
        return frequencies / self._weights("rope_freqs").astype(np.float64) if has else frequencies

    def _weights(self, name: str) -> Reals:
        tensor = self._tensors[f"{name}.weight"]
        return gguf.dequantize(tensor.data, tensor.tensor_type).astype(self._number)

    def _norm(self, rows: Reals, name: str) -> Reals:
        size = np.sqrt((rows.astype(np.float64) ** 2).mean(axis=-1, keepdims=True) + self._epsilon)
        return (rows / size * self._weights(name)).astype(self._number)

    def _times(self, rows: Reals, name: str, heads: int = 0) -> Reals:
        made = rows @ self._weights(name).T
        return made.reshape(len(rows), heads, self._head) if heads else made

    def _rotate(self, rows: Reals) -> Reals:
        """Turn the pairs (0, 1), (2, 3), ... of every head, [positions, heads, size of a head]."""
        made = np.empty_like(rows)
        first, second = rows[..., 0::2], rows[..., 1::2]
        made[..., 0::2] = first * self._cosine - second * self._sine
        made[..., 1::2] = first * self._sine + second * self._cosine
        return made

    def _attend(self, rows: Reals, layer: str) -> Reals:
        query = self._rotate(self._times(rows, layer + "attn_q", self._heads))
        key = self._rotate(self._times(rows, layer + "attn_k", self._kv_heads))
        value = self._times(rows, layer + "attn_v", self._kv_heads)
        made = np.empty_like(query)
        for head in range(self._heads):
            shared = head * self._kv_heads // self._heads
            scores = query[:, head].astype(np.float64) @ key[:, shared].T.astype(np.float64)
            scores = scores / np.sqrt(self._head) + self._mask
            weights = np.exp(scores - scores.max(axis=1, keepdims=True))
            made[:, head] = weights / weights.sum(axis=1, keepdims=True) @ value[:, shared]
        return self._times(made.reshape(len(rows), -1), layer + "attn_output")

    def _feed(self, rows: Reals, layer: str) -> Reals:
        gate, up = self._times(rows, layer + "ffn_gate"), self._times(rows, layer + "ffn_up")
        return self._times(gate / (1 + np.exp(-gate)) * up, layer + "ffn_down")

    def logits(self, tokens: list[int]) -> NDArray[np.float32]:
        rows = self._weights("token_embd")[tokens]
        for number in range(self._layers):
            layer = f"blk.{number}."
            rows = rows + self._attend(self._norm(rows, layer + "attn_norm"), layer)
            rows = rows + self._feed(self._norm(rows, layer + "ffn_norm"), layer)
        output = "output" if "output.weight" in self._tensors else "token_embd"
        return self._times(self._norm(rows, "output_norm"), output).astype(np.float32)
