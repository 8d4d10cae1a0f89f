"""The bundled model's shape. Every matrix has a multiple of 32 columns, as Q8_0 needs."""

from dataclasses import dataclass

from tools.bundled_model.tokenizer import VOCABULARY_TOKENS


@dataclass(frozen=True)
class Shape:
    """A llama model's dimensions, with tied embeddings."""

    n_layers: int = 6
    d_model: int = 192
    d_ffn: int = 512
    n_heads: int = 6
    n_kv_heads: int = 2
    head_dim: int = 32
    n_vocab: int = VOCABULARY_TOKENS
    n_context: int = 512
    rope_theta: float = 10000.0
    rms_epsilon: float = 1e-5


SHAPE = Shape()
