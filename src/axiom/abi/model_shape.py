"""The dimensions of a Llama-architecture model: what an image is specialised for."""

import math
from typing import NamedTuple, Self


class ModelShape(NamedTuple):
    """Dimensions and constants of a model.

    n_context: positions that the model was trained for. tied: the output head is the token embedding.
    """

    n_layers: int
    d_model: int
    d_ffn: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    n_vocab: int
    n_context: int
    rope_theta: float
    rms_epsilon: float
    tied: bool

    def checked(self) -> Self:
        """Return it; raises ValueError for dimensions that contradict each other."""
        sizes = (
            self.n_layers,
            self.d_model,
            self.d_ffn,
            self.n_heads,
            self.n_kv_heads,
            self.head_dim,
            self.n_vocab,
            self.n_context,
        )
        if min(sizes) < 1:
            raise ValueError("every dimension must be at least 1")
        if self.n_heads % self.n_kv_heads:
            raise ValueError(f"{self.n_heads} heads are no multiple of {self.n_kv_heads} kv heads")
        if self.head_dim % 2:
            raise ValueError(f"head_dim {self.head_dim} is odd")
        for name, value in (("rope_theta", self.rope_theta), ("rms_epsilon", self.rms_epsilon)):
            if not 0 < value < math.inf:
                raise ValueError(f"{name} {value:g} is not positive and finite")
        return self

    @property
    def q_dim(self) -> int:
        """The length of all queries of one position."""
        return self.n_heads * self.head_dim

    @property
    def kv_dim(self) -> int:
        """The length of all keys, or values, of one position."""
        return self.n_kv_heads * self.head_dim


class TensorSpec(NamedTuple):
    """A tensor in the weights region of a packed model.

    kind: "f32_vector", "f64_vector" or "matrix"; layout: a matrix's, such as "q8_0x16", or "" for
    vectors. `offset` counts bytes from the start of the weights region.
    """

    name: str
    kind: str
    layout: str
    rows: int
    columns: int
    offset: int
    bytes: int
