"""Encoding gives llama.cpp's ids for real vocabularies; decoding gives the text back."""

from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from axiom.host.errors import UserError
from axiom.host.model.gguf_file import open_gguf
from axiom.host.model.vocabulary import (
    BYTE,
    CONTROL,
    NORMAL,
    UNKNOWN,
    USER_DEFINED,
    Vocabulary,
    read_vocabulary,
)
from axiom.host.serve.tokenizer import Tokenizer

VOCABULARIES = Path(__file__).resolve().parents[5] / "shared" / "models" / "vocab"
NAMES = ["llama-bpe", "llama-spm", "gpt-2", "qwen2", "phi-3"]
SEPARATOR = "\n__ggml_vocab_test__\n"


@cache
def load(name: str) -> Tokenizer:
    """Return the tokenizer of a real vocabulary; skip the test when the test data are absent."""
    path = VOCABULARIES / f"ggml-vocab-{name}.gguf"
    if not path.exists():
        pytest.skip(f"the test data are absent: {path}")
    return Tokenizer(read_vocabulary(open_gguf(path).metadata))


def vectors(name: str) -> list[tuple[str, list[int]]]:
    """Return texts and their ids, as llama.cpp has them."""
    load(name)
    stem = f"ggml-vocab-{name}.gguf"
    # Bytes, not text: the texts hold carriage returns that must survive.
    texts = (VOCABULARIES / f"{stem}.inp").read_bytes().decode().split(SEPARATOR)
    lines = (VOCABULARIES / f"{stem}.out").read_text().split("\n")
    return [(text, [int(i) for i in line.split()]) for text, line in zip(texts, lines, strict=True)]


@pytest.mark.parametrize("name", NAMES)
def test_ids_are_those_of_llama_cpp(name: str) -> None:
    tokenizer, cases = load(name), vectors(name)
    assert len(cases) > 40
    for text, ids in cases:
        assert tokenizer.encode(text, add_bos=False) == ids, repr(text)


@pytest.mark.parametrize("name", NAMES)
def test_decoding_gives_the_text_back(name: str) -> None:
    tokenizer = load(name)
    for text, ids in vectors(name):
        assert tokenizer.decode(ids) == text
        assert tokenizer.decode(tokenizer.encode(text)) == text


@pytest.mark.parametrize("name", ["llama-bpe", "llama-spm", "gpt-2"])
@settings(deadline=None, max_examples=150)
@given(text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\u2581"), max_size=40))
def test_any_text_survives(name: str, text: str) -> None:
    tokenizer = load(name)
    assert tokenizer.decode(tokenizer.encode(text)) == text


@pytest.mark.parametrize(
    ("name", "bos", "eos"),
    [
        ("llama-bpe", 128000, {128001, 128009}),
        ("llama-spm", 1, {2}),
        ("gpt-2", None, {50256}),
        ("qwen2", None, {151643, 151645}),
        ("phi-3", 1, {32000, 32007}),
    ],
)
def test_bos_and_the_ends_of_answers(name: str, bos: int | None, eos: set[int]) -> None:
    tokenizer = load(name)
    without = tokenizer.encode("Hello", add_bos=False)
    assert tokenizer.encode("Hello") == ([] if bos is None else [bos]) + without
    assert tokenizer.eos_ids == eos


@pytest.mark.parametrize(
    ("name", "control", "token_id"),
    [("llama-bpe", "<|eot_id|>", 128009), ("llama-spm", "</s>", 2), ("phi-3", "<|end|>", 32007)],
)
def test_control_tokens_are_read_only_when_asked_for(name: str, control: str, token_id: int) -> None:
    tokenizer, text = load(name), f"a{control}b"
    forged = tokenizer.encode(text, add_bos=False)
    assert token_id not in forged
    assert tokenizer.decode(forged) == text
    parsed = tokenizer.encode(text, add_bos=False, parse_special=True)
    assert parsed.count(token_id) == 1
    assert tokenizer.decode(parsed) == "ab"
    assert tokenizer.decode(parsed, show_special=True) == text


def test_half_a_surrogate_pair_is_refused() -> None:
    with pytest.raises(UserError, match="at character 2, half of a surrogate pair"):
        small_spm().encode("ab\ud800")


def small_spm() -> Tokenizer:
    """Return a SentencePiece tokenizer with bytes, a few words, and one token twice."""
    words = ["\u2581", "a", "b", "ab", "\u2581ab", "ab"]
    tokens = ["<unk>", "<s>", "</s>", "<mark>", *(f"<0x{byte:02X}>" for byte in range(256)), *words]
    types = [UNKNOWN, CONTROL, CONTROL, USER_DEFINED, *[BYTE] * 256, *[NORMAL] * 6]
    first = tokens.index("\u2581")
    merges = [(first + 1, first + 2), (first, first + 3)]
    return Tokenizer(
        Vocabulary("spm", "default", tokens, types, merges, 1, 0, (2,), add_bos=True, add_space_prefix=True)
    )


def test_a_character_outside_of_the_vocabulary_becomes_bytes() -> None:
    tokenizer = small_spm()
    assert tokenizer.encode("é", add_bos=False)[-2:] == [4 + 0xC3, 4 + 0xA9]
    assert tokenizer.decode([4 + 0xC3, 4 + 0xA9]) == "é"


def test_user_defined_tokens_are_always_read() -> None:
    tokenizer = small_spm()
    ids = tokenizer.encode("ab<mark>ab", add_bos=False)
    assert ids.count(3) == 1
    assert tokenizer.decode(ids) == "ab<mark>ab"


def test_tokens_of_the_same_text_both_decode() -> None:
    tokenizer = small_spm()
    last = tokenizer.n_tokens - 1
    assert tokenizer.decode([1, last]) == tokenizer.decode([1, last - 2]) == "ab"


def test_an_id_outside_of_the_vocabulary_is_refused() -> None:
    tokenizer = small_spm()
    for token_id in (-1, tokenizer.n_tokens):
        with pytest.raises(ValueError, match=f"the token id {token_id} is not in the vocabulary"):
            tokenizer.decode([token_id])
