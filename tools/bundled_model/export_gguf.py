"""Write the trained weights as a GGUF file, with the tokenizer inside.

Matrices become Q8_0 and norms stay F32. Rows of attn_q and attn_k are written as trained, because
training already rotated the pairs (2i, 2i + 1) that GGUF's llama architecture rotates. The file appears
complete or not at all.

    python -m tools.bundled_model.export_gguf --weights build/bundled_model --output tales.gguf
"""

import argparse
import json
import os
from pathlib import Path
from typing import cast

import gguf
import numpy as np
from gguf.quants import quantize
from tools.bundled_model.shape import SHAPE
from tools.bundled_model.tokenizer import BOS_ID, EOS_ID

NAME = "Axiom Tales"
DESCRIPTION = (
    "Writes short stories for children, in English. Trained by the Axiom project on its own grammar."
)


def _add_shape(writer: gguf.GGUFWriter) -> None:
    writer.add_context_length(SHAPE.n_context)
    writer.add_embedding_length(SHAPE.d_model)
    writer.add_block_count(SHAPE.n_layers)
    writer.add_feed_forward_length(SHAPE.d_ffn)
    writer.add_head_count(SHAPE.n_heads)
    writer.add_head_count_kv(SHAPE.n_kv_heads)
    writer.add_key_length(SHAPE.head_dim)
    writer.add_value_length(SHAPE.head_dim)
    writer.add_rope_dimension_count(SHAPE.head_dim)
    writer.add_rope_freq_base(SHAPE.rope_theta)
    writer.add_layer_norm_rms_eps(SHAPE.rms_epsilon)
    writer.add_vocab_size(SHAPE.n_vocab)


def _add_tokenizer(writer: gguf.GGUFWriter, path: Path) -> None:
    model = json.loads(path.read_text())["model"]
    vocabulary = cast(dict[str, int], model["vocab"])
    merges = cast(list[list[str]], model["merges"])
    tokens = sorted(vocabulary, key=vocabulary.__getitem__)
    if [vocabulary[token] for token in tokens] != list(range(SHAPE.n_vocab)):
        raise ValueError(f"the vocabulary of {path} is not {SHAPE.n_vocab} tokens, numbered from 0")
    types = [gguf.TokenType.NORMAL] * len(tokens)
    types[BOS_ID] = types[EOS_ID] = gguf.TokenType.CONTROL
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges([" ".join(pair) for pair in merges])
    writer.add_bos_token_id(BOS_ID)
    writer.add_eos_token_id(EOS_ID)
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)


def _add_tensors(writer: gguf.GGUFWriter, path: Path) -> None:
    q8_0 = gguf.GGMLQuantizationType.Q8_0
    with np.load(path) as weights:
        for name in weights.files:
            array = np.ascontiguousarray(weights[name], np.float32)
            if array.ndim == 2:
                writer.add_tensor(name, quantize(array, q8_0), raw_dtype=q8_0)
            else:
                writer.add_tensor(name, array)


def export(folder: Path, output: Path) -> None:
    """Write `output` from the weights and the tokenizer in `folder`."""
    partial = output.with_name(output.name + ".partial")
    writer = gguf.GGUFWriter(partial, "llama")
    writer.add_type(gguf.GGUFType.MODEL)
    writer.add_name(NAME)
    writer.add_description(DESCRIPTION)
    writer.add_license("Apache-2.0")
    writer.add_languages(["en"])
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    _add_shape(writer)
    _add_tokenizer(writer, folder / "tokenizer.json")
    _add_tensors(writer, folder / "weights.npz")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    os.replace(partial, output)


def main() -> None:
    """Read the options and export."""
    parser = argparse.ArgumentParser(description="Write the bundled model's GGUF file.")
    parser.add_argument("--weights", type=Path, default=Path("build/bundled_model"))
    parser.add_argument("--output", type=Path, default=Path("src/axiom/models/tales.gguf"))
    options = parser.parse_args()
    export(options.weights, options.output)


if __name__ == "__main__":
    main()
