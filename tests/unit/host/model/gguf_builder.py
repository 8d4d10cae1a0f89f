"""Write small GGUF files for tests, honest ones and lying ones."""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from gguf.constants import GGMLQuantizationType, GGUFValueType
from gguf.quants import quantize
from numpy.typing import NDArray

Value = bool | int | float | str | Sequence[str] | Sequence[int] | Sequence[float]
D_MODEL, D_FFN, N_HEADS, N_KV_HEADS, HEAD_DIM, N_LAYERS = 32, 64, 4, 2, 8, 2
WORDS = ("\u2581", "a", "b", "c", "ab", "\u2581ab", "abc", "\u2581abc")
TOKENS = ("<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *WORDS)
TYPES = (2, 3, 3, *[6] * 256, *[1] * len(WORDS))


@dataclass(frozen=True)
class Entry:
    """A tensor to write. offset: what the directory claims; None for the truth."""

    name: str
    shape: tuple[int, ...]
    type: int
    data: bytes
    offset: int | None = None


def text(value: str | bytes) -> bytes:
    """Write a string."""
    raw = value if isinstance(value, bytes) else value.encode()
    return struct.pack("<Q", len(raw)) + raw


def _scalar(value: bool | int | float | str) -> tuple[int, bytes]:
    if isinstance(value, bool):
        return int(GGUFValueType.BOOL), struct.pack("<?", value)
    if isinstance(value, int):
        return int(GGUFValueType.INT32), struct.pack("<i", value)
    if isinstance(value, float):
        return int(GGUFValueType.FLOAT32), struct.pack("<f", value)
    return int(GGUFValueType.STRING), text(value)


def pair(key: str | bytes, value: Value) -> bytes:
    """Write a key, the value's kind and the value."""
    if isinstance(value, bool | int | float | str):
        kind, raw = _scalar(value)
        return text(key) + struct.pack("<I", kind) + raw
    scalars = [_scalar(element) for element in value]
    kind = scalars[0][0] if scalars else int(GGUFValueType.INT32)
    head = struct.pack("<IIQ", int(GGUFValueType.ARRAY), kind, len(scalars))
    return text(key) + head + b"".join(raw for _, raw in scalars)


def gguf_bytes(
    values: Mapping[str, Value] | Sequence[bytes],
    entries: Sequence[Entry] = (),
    version: int = 3,
    alignment: int = 32,
    n_tensors: int | None = None,
    n_values: int | None = None,
) -> bytes:
    """Return a whole file. n_tensors, n_values: what the header claims; None for the truth."""
    pairs = [pair(k, v) for k, v in values.items()] if isinstance(values, Mapping) else list(values)
    directory, data = b"", b""
    for entry in entries:
        offset = len(data) if entry.offset is None else entry.offset
        directory += text(entry.name) + struct.pack("<I", len(entry.shape))
        directory += struct.pack(f"<{len(entry.shape)}Q", *reversed(entry.shape))
        directory += struct.pack("<IQ", entry.type, offset)
        data += entry.data + bytes(-len(entry.data) % alignment)
    counts = (
        len(entries) if n_tensors is None else n_tensors,
        len(pairs) if n_values is None else n_values,
    )
    head = b"GGUF" + struct.pack("<IQQ", version, *counts) + b"".join(pairs) + directory
    return head + bytes(-len(head) % alignment) + data


def llama_values(d_ffn: int = D_FFN) -> dict[str, Value]:
    """Return the metadata of a very small Llama with a SentencePiece vocabulary."""
    return {
        "general.architecture": "llama",
        "general.name": "very small",
        "llama.context_length": 64,
        "llama.embedding_length": D_MODEL,
        "llama.block_count": N_LAYERS,
        "llama.feed_forward_length": d_ffn,
        "llama.attention.head_count": N_HEADS,
        "llama.attention.head_count_kv": N_KV_HEADS,
        "llama.rope.freq_base": 10000.0,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": TOKENS,
        "tokenizer.ggml.token_type": TYPES,
        "tokenizer.ggml.scores": [-float(i) for i in range(len(TOKENS))],
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0,
        "tokenizer.chat_template": "{{ messages }}",
    }


def tensor(name: str, values: NDArray[np.float32], kind: GGMLQuantizationType) -> Entry:
    """Return an entry that holds these values in that type."""
    return Entry(name, values.shape, int(kind), quantize(values, kind).tobytes())


def llama_entries(
    kind: GGMLQuantizationType = GGMLQuantizationType.Q8_0, tied: bool = True, d_ffn: int = D_FFN
) -> list[Entry]:
    """Return the tensors of that Llama: random matrices of one type, norms about 1."""
    random = np.random.default_rng(7)

    def matrix(name: str, rows: int, columns: int) -> Entry:
        return tensor(name, random.standard_normal((rows, columns), np.float32), kind)

    def norm(name: str) -> Entry:
        values = random.uniform(0.5, 1.5, D_MODEL).astype(np.float32)
        return tensor(name, values, GGMLQuantizationType.F32)

    kv_dim = N_KV_HEADS * HEAD_DIM
    entries = [matrix("token_embd.weight", len(TOKENS), D_MODEL), norm("output_norm.weight")]
    for layer in range(N_LAYERS):
        at = f"blk.{layer}."
        entries += [norm(at + "attn_norm.weight"), norm(at + "ffn_norm.weight")]
        entries += [matrix(at + "attn_q.weight", D_MODEL, D_MODEL)]
        entries += [matrix(f"{at}attn_{part}.weight", kv_dim, D_MODEL) for part in "kv"]
        entries += [matrix(at + "attn_output.weight", D_MODEL, D_MODEL)]
        entries += [matrix(f"{at}ffn_{part}.weight", d_ffn, D_MODEL) for part in ("gate", "up")]
        entries += [matrix(at + "ffn_down.weight", D_MODEL, d_ffn)]
    if not tied:
        entries += [matrix("output.weight", len(TOKENS), D_MODEL)]
    return entries


def changed(entries: Sequence[Entry], name: str, **fields: object) -> list[Entry]:
    """Return the entries, one of them with other fields."""
    assert any(entry.name == name for entry in entries)
    return [replace(entry, **fields) if entry.name == name else entry for entry in entries]


def write(folder: Path, data: bytes, name: str = "model.gguf") -> Path:
    """Write a file and return its path."""
    path = folder / name
    path.write_bytes(data)
    return path
