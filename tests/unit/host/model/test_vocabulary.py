"""The tokenizer's keys are read with llama.cpp's defaults, and checked by name."""

import json
from pathlib import Path

import pytest

from axiom.host.errors import UserError
from axiom.host.model.gguf_file import open_gguf
from axiom.host.model.vocabulary import Vocabulary, read_vocabulary
from axiom.host.model.vocabulary_table import (
    read_vocabulary_tables,
    vocabulary_facts,
    vocabulary_tables,
)
from tests.unit.host.model.gguf_builder import TOKENS, Value, gguf_bytes, llama_values, write

SPM = {key: value for key, value in llama_values().items() if key.startswith("tokenizer.ggml.")}
BPE: dict[str, Value] = {
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.pre": "llama-bpe",
    "tokenizer.ggml.tokens": ["a", "b", "ab", "<|begin|>", "<|eot_id|>", "<|end_of_text|>"],
    "tokenizer.ggml.token_type": [1, 1, 1, 3, 3, 3],
    "tokenizer.ggml.merges": ["a b"],
    "tokenizer.ggml.bos_token_id": 3,
    "tokenizer.ggml.eos_token_id": 5,
}


def read(folder: Path, values: dict[str, Value]) -> Vocabulary:
    """Write a file with these keys and read its vocabulary."""
    return read_vocabulary(open_gguf(write(folder, gguf_bytes(values))).metadata)


def test_a_byte_level_vocabulary_is_read(tmp_path: Path) -> None:
    vocabulary = read(tmp_path, BPE)
    assert (vocabulary.kind, vocabulary.pre) == ("bpe", "llama-bpe")
    assert vocabulary.tokens[2] == "ab"
    assert vocabulary.merges == [(0, 1)]
    assert vocabulary.bos_id == 3
    assert vocabulary.add_bos
    assert not vocabulary.add_space_prefix


def test_every_token_that_ends_a_turn_ends_the_answer(tmp_path: Path) -> None:
    assert read(tmp_path, BPE).eos_ids == (4, 5)
    plain = read(tmp_path, {**BPE, "tokenizer.ggml.token_type": [1, 1, 1, 3, 1, 3]})
    assert plain.eos_ids == (5,)  # a turn's end that is ordinary text is no such token
    keyed = read(tmp_path, {**BPE, "tokenizer.ggml.eot_token_id": 2})
    assert keyed.eos_ids == (2, 4, 5)


def test_only_llama_3_begins_with_bos_unasked(tmp_path: Path) -> None:
    assert not read(tmp_path, {**BPE, "tokenizer.ggml.pre": "gpt-2"}).add_bos
    assert read(
        tmp_path, {**BPE, "tokenizer.ggml.pre": "gpt-2", "tokenizer.ggml.add_bos_token": True}
    ).add_bos
    assert not read(tmp_path, {**BPE, "tokenizer.ggml.add_bos_token": False}).add_bos
    assert read(tmp_path, SPM).add_bos


def test_scores_become_merges_the_highest_first(tmp_path: Path) -> None:
    vocabulary = read(tmp_path, SPM)
    joined = [TOKENS[left] + TOKENS[right] for left, right in vocabulary.merges]
    assert joined == ["ab", "\u2581ab", "abc", "\u2581abc", "\u2581abc"]
    assert vocabulary.add_space_prefix


def test_what_is_written_to_json_comes_back(tmp_path: Path) -> None:
    for values in (SPM, BPE):
        vocabulary = read(tmp_path, values)
        facts = json.loads(json.dumps(vocabulary_facts(vocabulary)))
        back = read_vocabulary_tables(facts, memoryview(vocabulary_tables(vocabulary)))
        for name in Vocabulary._fields:
            if name in ("tokens", "types", "merges"):
                assert list(getattr(back, name)) == list(getattr(vocabulary, name))
            elif name != "finder":
                assert getattr(back, name) == getattr(vocabulary, name)
        assert back.finder is not None
        assert [back.tokens[i] for i in range(-1, len(back.tokens))] == [
            back.tokens[-1],
            *vocabulary.tokens,
        ]
        ids = {text: token_id for token_id, text in enumerate(vocabulary.tokens)}
        assert [back.finder.find(text) for text in ids] == list(ids.values())
        assert back.finder.find("no such token") is None
        assert [back.finder.rank(*merge) for merge in back.merges] == list(range(len(back.merges)))
        assert back.finder.rank(0, 0) is None


BAD: list[tuple[dict[str, Value], str, Value, str]] = [
    (BPE, "model", "bert", "the tokenizer 'bert' of tokenizer.ggml.model is not supported"),
    (BPE, "pre", "tekken", "'tekken' of tokenizer.ggml.pre is not supported; what works: llama-bpe"),
    (BPE, "tokens", [], "tokenizer.ggml.tokens is empty"),
    (BPE, "tokens", [1, 2], "the key tokenizer.ggml.tokens is an array of 2"),
    (BPE, "token_type", [1], "tokenizer.ggml.token_type has 1 elements, and there are 6 tokens"),
    (BPE, "merges", ["a x"], "the merge 'a x' of tokenizer.ggml.merges"),
    (BPE, "merges", ["ab"], "the merge 'ab' of tokenizer.ggml.merges"),
    (BPE, "merges", ["b a"], "the merge 'b a' of tokenizer.ggml.merges"),
    (BPE, "bos_token_id", 6, "tokenizer.ggml.bos_token_id is 6, and there are 6 tokens"),
    (BPE, "eos_token_id", -1, "tokenizer.ggml.eos_token_id is -1"),
    (SPM, "scores", [0.5], "tokenizer.ggml.scores has 1 elements"),
    (SPM, "scores", [float("nan")] * len(TOKENS), "the key tokenizer.ggml.scores is an array"),
    (SPM, "unknown_token_id", 999, "tokenizer.ggml.unknown_token_id is 999"),
]


@pytest.mark.parametrize(("base", "key", "value", "sentence"), BAD, ids=[f"{k}: {s}" for _, k, _, s in BAD])
def test_a_bad_key_is_named(
    base: dict[str, Value], key: str, value: Value, sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError) as caught:
        read(tmp_path, {**base, f"tokenizer.ggml.{key}": value})
    assert sentence in caught.value.message


@pytest.mark.parametrize("key", ["model", "tokens", "scores", "token_type"])
def test_a_missing_key_is_named(key: str, tmp_path: Path) -> None:
    values = {name: value for name, value in SPM.items() if name != f"tokenizer.ggml.{key}"}
    with pytest.raises(UserError, match=f"lacks the key tokenizer.ggml.{key}"):
        read(tmp_path, values)
