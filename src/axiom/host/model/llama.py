"""A GGUF file of the Llama architecture: its shape, and its tensors in the order of the forward pass."""

from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import Any

import numpy as np
from gguf.constants import GGMLQuantizationType

from axiom.abi.model_shape import ModelShape
from axiom.host.errors import UserError
from axiom.host.model.gguf_file import GgufFile, GgufTensor

MATRIX_TYPES = (
    GGMLQuantizationType.F32,
    GGMLQuantizationType.F16,
    GGMLQuantizationType.Q8_0,
    GGMLQuantizationType.Q4_0,
)
LAYER_MATRICES = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")


@dataclass(frozen=True)
class LlamaModel:
    """What packing needs: the shape, the source tensors by packed name, and the rope frequencies."""

    file: GgufFile
    shape: ModelShape
    tensors: dict[str, GgufTensor]
    rope_frequencies: np.ndarray[Any, np.dtype[np.float64]]

    @property
    def name(self) -> str:
        """The model's name, or the file's."""
        return str(self.file.metadata.get("general.name", self.file.path.stem))


def read_llama(file: GgufFile) -> LlamaModel:
    """Check that a file holds a Llama model whose tensors fit its metadata.

    Raises UserError naming the key or the tensor.
    """
    architecture = file.metadata.get("general.architecture")
    if architecture != "llama":
        raise UserError(f"{file.path} holds the architecture {architecture}; only llama is supported.")
    shape = _shape(file)
    tensors = _tensors(file, shape)
    return LlamaModel(file, shape, tensors, _rope_frequencies(file, shape))


def _key(file: GgufFile, name: str, kind: type[Any], default: Any = None) -> Any:
    value = file.metadata.get(f"llama.{name}", default)
    if value is None:
        raise UserError(f"{file.path} lacks the key llama.{name}.")
    wanted = (int, float) if kind is float else (kind,)
    if not isinstance(value, wanted) or isinstance(value, bool):
        raise UserError(f"{file.path}: llama.{name} is {value!r}, not a number.")
    return kind(value)


def _shape(file: GgufFile) -> ModelShape:
    d_model = _key(file, "embedding_length", int)
    n_heads = _key(file, "attention.head_count", int)
    if n_heads < 1 or d_model < 1:
        raise UserError(f"{file.path}: llama.attention.head_count and embedding_length must be positive.")
    head_dim = _key(file, "attention.key_length", int, d_model // n_heads)
    embedding = file.tensors.get("token_embd.weight")
    if embedding is None or len(embedding.shape) != 2:
        raise UserError(f"{file.path} has no matrix token_embd.weight; a whole model is needed.")
    for key, value in (
        ("rope.dimension_count", head_dim),
        ("attention.value_length", head_dim),
        ("vocab_size", embedding.shape[0]),
    ):
        if _key(file, key, int, value) != value:
            raise UserError(
                f"{file.path}: llama.{key} is {file.metadata[f'llama.{key}']}, expected {value}."
            )
    scaling = file.metadata.get("llama.rope.scaling.type", "none")
    if scaling not in ("none", ""):
        raise UserError(f"{file.path}: llama.rope.scaling.type {scaling} is not supported; only none is.")
    try:
        return ModelShape(
            n_layers=_key(file, "block_count", int),
            d_model=d_model,
            d_ffn=_key(file, "feed_forward_length", int),
            n_heads=n_heads,
            n_kv_heads=_key(file, "attention.head_count_kv", int, n_heads),
            head_dim=head_dim,
            n_vocab=embedding.shape[0],
            n_context=_key(file, "context_length", int),
            rope_theta=_key(file, "rope.freq_base", float, 10000.0),
            rms_epsilon=_key(file, "attention.layer_norm_rms_epsilon", float),
            tied="output.weight" not in file.tensors,
        )
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
    found: dict[str, GgufTensor] = {}
    wanted = _expected(shape)
    for name, (source, size) in wanted.items():
        tensor = file.tensors.get(source)
        if tensor is None:
            raise UserError(f"{file.path} lacks the tensor {source}.")
        if tensor.shape != size:
            raise UserError(
                f"{file.path}: the tensor {source} has the shape {tensor.shape}, expected {size}."
            )
        allowed = MATRIX_TYPES if len(size) == 2 else (GGMLQuantizationType.F32,)
        if tensor.type not in allowed:
            raise UserError(
                f"{file.path}: the tensor {source} is of type {tensor.type.name}, which is not "
                f"supported yet; {', '.join(t.name for t in allowed)} {'are' if len(allowed) > 1 else 'is'}."
            )
        found[name] = tensor
    known = {source for source, _ in wanted.values()} | {"rope_freqs.weight"}
    for name in file.tensors:
        if name not in known:
            raise UserError(
                f"{file.path} holds the tensor {name}, which this architecture does not use here."
            )
    return found


def _rope_frequencies(file: GgufFile, shape: ModelShape) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return theta ** (-2i / head_dim), divided by rope_freqs[i] when the file has them.

    Computed in decimal, so that every machine gets the same bits.
    """
    half = shape.head_dim // 2
    factors = np.ones(half, np.float32)
    tensor = file.tensors.get("rope_freqs.weight")
    if tensor is not None:
        if tensor.type is not GGMLQuantizationType.F32 or tensor.shape != (half,):
            raise UserError(f"{file.path}: rope_freqs.weight must be {half} values of type F32.")
        factors = file.raw(tensor).view(np.float32)
        if not np.all(np.isfinite(factors) & (factors > 0)):
            raise UserError(f"{file.path}: rope_freqs.weight holds a value that is not positive.")
    if not 0 < shape.rope_theta < 1e30:
        raise UserError(f"{file.path}: llama.rope.freq_base is {shape.rope_theta}, which is out of range.")
    with localcontext() as context:
        context.prec = 50
        logarithm = Decimal(shape.rope_theta).ln()
        values = [
            float((logarithm * (-2 * i) / shape.head_dim).exp() / Decimal(float(factor)))
            for i, factor in enumerate(factors)
        ]
    return np.array(values, np.float64)
