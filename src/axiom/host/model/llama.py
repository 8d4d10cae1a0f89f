"""A GGUF file of the Llama architecture: its shape, and its tensors in the order of the forward pass."""

from dataclasses import dataclass

import numpy as np
from gguf.constants import GGMLQuantizationType
from numpy.typing import NDArray

from axiom.abi.model_shape import ModelShape
from axiom.host.errors import UserError
from axiom.host.model.gguf_file import GgufFile, GgufTensor
from axiom.host.model.gguf_metadata import Metadata
from axiom.host.model.layout import LAYOUTS
from axiom.host.model.rope import ROPE_FACTORS, rope_frequencies
from axiom.host.model.shown import shown

MATRIX_TYPES = tuple(LAYOUTS)
VECTOR_TYPES = (GGMLQuantizationType.F32,)
MAX_CONTEXT = 1 << 31


@dataclass(frozen=True)
class LlamaModel:
    """What packing needs: the shape, the source tensors by packed name, and the rope frequencies.

    `tensors` is in the order in which the forward pass reads them.
    """

    file: GgufFile
    shape: ModelShape
    tensors: dict[str, GgufTensor]
    rope_frequencies: NDArray[np.float64]

    @property
    def name(self) -> str:
        """The model's name, or the file's."""
        return self.file.metadata.text("general.name", self.file.path.stem)

    def quantisation(self) -> dict[str, int]:
        """Return how many matrices there are of each type."""
        kinds = [tensor.type.name for tensor in self.tensors.values() if len(tensor.shape) == 2]
        return {kind: kinds.count(kind) for kind in sorted(set(kinds))}


def read_llama(file: GgufFile) -> LlamaModel:
    """Check that a file holds a Llama model whose tensors fit its metadata.

    Raises UserError naming the key or the tensor.
    """
    architecture = file.metadata.text("general.architecture")
    if architecture != "llama":
        raise UserError(
            f"{file.path} holds the architecture {shown(architecture)}; only llama is supported."
        )
    _refuse_variants(file.metadata)
    shape = _shape(file)
    tensors = _tensors(file, shape)
    return LlamaModel(file, shape, tensors, rope_frequencies(file, shape))


def _refuse_variants(metadata: Metadata) -> None:
    """Refuse what other models of the same architecture name do differently."""
    scaling = metadata.text("llama.rope.scaling.type", "none")
    if scaling not in ("none", ""):
        raise UserError(
            f"{metadata.source}: the rope scaling {shown(scaling)} of llama.rope.scaling.type is not "
            f"supported; none and {ROPE_FACTORS} are."
        )
    for key, plain in (("rope.scale_linear", 1.0), ("expert_count", 0)):
        value = metadata.number(f"llama.{key}", plain)
        if value != plain:
            raise UserError(f"{metadata.source}: llama.{key} is {value:g}; only {plain:g} is supported.")


def _shape(file: GgufFile) -> ModelShape:
    metadata = file.metadata
    d_model = metadata.integer("llama.embedding_length")
    n_heads = metadata.integer("llama.attention.head_count")
    if n_heads < 1 or d_model < 1:
        raise UserError(
            f"{file.path}: llama.attention.head_count and llama.embedding_length must be positive."
        )
    head_dim = metadata.integer("llama.attention.key_length", d_model // n_heads)
    embedding = file.tensors.get("token_embd.weight")
    if embedding is None or len(embedding.shape) != 2:
        raise UserError(f"{file.path} has no matrix token_embd.weight; a whole model is needed.")
    n_vocab = embedding.shape[0]
    for key, expected in (
        ("rope.dimension_count", head_dim),
        ("attention.value_length", head_dim),
        ("vocab_size", n_vocab),
    ):
        value = metadata.integer(f"llama.{key}", expected)
        if value != expected:
            raise UserError(f"{file.path}: llama.{key} is {value}; only {expected} works with this model.")
    n_context = metadata.integer("llama.context_length")
    if n_context > MAX_CONTEXT:
        raise UserError(f"{file.path}: llama.context_length is {n_context}; at most {MAX_CONTEXT} works.")
    try:
        return ModelShape(
            n_layers=metadata.integer("llama.block_count"),
            d_model=d_model,
            d_ffn=metadata.integer("llama.feed_forward_length"),
            n_heads=n_heads,
            n_kv_heads=metadata.integer("llama.attention.head_count_kv", n_heads),
            head_dim=head_dim,
            n_vocab=n_vocab,
            n_context=n_context,
            rope_theta=metadata.number("llama.rope.freq_base", 10000.0),
            rms_epsilon=metadata.number("llama.attention.layer_norm_rms_epsilon"),
            tied="output.weight" not in file.tensors,
        ).checked()
    except ValueError as error:
        raise UserError(f"{file.path} contradicts itself: {error}.") from None


def _expected(shape: ModelShape) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Return, by packed name, the GGUF name and the shape of every tensor, in forward order."""
    d, kv, q = shape.d_model, shape.kv_dim, shape.q_dim
    wanted: dict[str, tuple[str, tuple[int, ...]]] = {
        "token_embd": ("token_embd.weight", (shape.n_vocab, d))
    }
    sizes = {
        "attn_norm": (d,),
        "attn_q": (q, d),
        "attn_k": (kv, d),
        "attn_v": (kv, d),
        "attn_output": (d, q),
        "ffn_norm": (d,),
        "ffn_gate": (shape.d_ffn, d),
        "ffn_up": (shape.d_ffn, d),
        "ffn_down": (d, shape.d_ffn),
    }
    for layer in range(shape.n_layers):
        for name, size in sizes.items():
            wanted[f"blk.{layer}.{name}"] = (f"blk.{layer}.{name}.weight", size)
    wanted["output_norm"] = ("output_norm.weight", (d,))
    if not shape.tied:
        wanted["output"] = ("output.weight", (shape.n_vocab, d))
    return wanted


def _tensors(file: GgufFile, shape: ModelShape) -> dict[str, GgufTensor]:
    if shape.n_layers > len(file.tensors):
        raise UserError(
            f"{file.path}: llama.block_count is {shape.n_layers}, more than the file has tensors."
        )
    expected = _expected(shape)
    known = {source for source, _ in expected.values()} | {ROPE_FACTORS}
    unknown = next((name for name in file.tensors if name not in known), None)
    if unknown is not None:
        raise UserError(
            f"{file.path} holds the tensor {unknown}, which the supported llama models do not have."
        )
    return {name: _tensor(file, source, size) for name, (source, size) in expected.items()}


def _tensor(file: GgufFile, source: str, size: tuple[int, ...]) -> GgufTensor:
    tensor = file.tensors.get(source)
    if tensor is None:
        raise UserError(f"{file.path} lacks the tensor {source}; a whole model is needed.")
    if tensor.shape != size:
        raise UserError(
            f"{file.path}: the tensor {source} has the shape {tensor.shape}, "
            f"and the metadata ask for {size}."
        )
    working = MATRIX_TYPES if len(size) == 2 else VECTOR_TYPES
    if tensor.type not in working:
        names = ", ".join(kind.name for kind in working)
        raise UserError(
            f"{file.path}: the tensor {source} is of type {tensor.type.name}, which is not supported; "
            f"what works: {names}."
        )
    return tensor
