"""An encoder of the part of a vocabulary that a text needs gives the ids that one of all of it gives."""

import random
from functools import cache
from pathlib import Path

import pytest
from tokenizers import pre_tokenizers

from axiom.host.model.gguf_file import open_gguf
from axiom.host.model.vocabulary import CONTROL, NORMAL, USER_DEFINED, Vocabulary, read_vocabulary
from axiom.host.model.vocabulary_table import (
    read_vocabulary_tables,
    vocabulary_facts,
    vocabulary_tables,
)
from axiom.host.serve.tokenizer import MAX_PARTS, Tokenizer
from axiom.host.serve.tokenizer_build import PartEncoders, build_encoder

VOCABULARIES = Path(__file__).resolve().parents[5] / "shared" / "models" / "vocab"
SEPARATOR = "\n__ggml_vocab_test__\n"
SPECIAL = ["<|begin|>", "<|mark|>"]
LETTERS = "aab bcdé\n  1"


def indexed(vocabulary: Vocabulary) -> Vocabulary:
    """Return the vocabulary as it comes from its tables."""
    tables = memoryview(vocabulary_tables(vocabulary))
    return read_vocabulary_tables(vocabulary_facts(vocabulary), tables)


def random_vocabulary(source: random.Random, pre: str) -> Vocabulary:
    """Return every byte, a hundred tokens made by merges of what is there, and two special tokens."""
    marks = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens, merges = list(marks), list[tuple[int, int]]()
    used = [tokens.index(mark) for mark in "abcd1ĠĊÃ©"]
    while len(merges) < 100:
        left, right = source.choice(used), source.choice(used)
        text = tokens[left] + tokens[right]
        if (left, right) not in merges and len(text) < 9:
            merges.append((left, right))
            if text not in tokens:
                tokens.append(text)
            used.append(tokens.index(text))
    source.shuffle(merges)
    types = [NORMAL] * len(tokens) + [CONTROL, USER_DEFINED]
    return Vocabulary("bpe", pre, tokens + SPECIAL, types, merges, None, None, (), False, False)


def same_ids(vocabulary: Vocabulary, texts: list[str]) -> None:
    whole, seen = build_encoder(vocabulary), indexed(vocabulary)
    assert seen.finder is not None
    parts = PartEncoders(seen, seen.finder)
    for text in texts:
        for parse_special in (False, True):
            whole.encode_special_tokens = not parse_special
            part = parts.encoder(text, parse_special)
            assert part is not None
            part.encode_special_tokens = not parse_special
            wanted = whole.encode(text, add_special_tokens=False).ids
            assert part.encode(text, add_special_tokens=False).ids == wanted, repr(text)


@pytest.mark.parametrize("pre", ["llama-bpe", "gpt-2", "qwen2", "default"])
def test_random_vocabularies(pre: str) -> None:
    source = random.Random(pre)
    for _ in range(10):
        pieces = [*LETTERS * 4, *SPECIAL]
        texts = ["".join(source.choices(pieces, k=source.randrange(60))) for _ in range(20)]
        same_ids(random_vocabulary(source, pre), texts)


@cache
def real(name: str) -> Vocabulary:
    """Return a real vocabulary; skip the test when the test data are absent."""
    path = VOCABULARIES / f"ggml-vocab-{name}.gguf"
    if not path.exists():
        pytest.skip(f"the test data are absent: {path}")
    return read_vocabulary(open_gguf(path).metadata)


@pytest.mark.parametrize("name", ["llama-bpe", "gpt-2", "qwen2"])
def test_real_vocabularies(name: str) -> None:
    vocabulary = real(name)
    texts = (VOCABULARIES / f"ggml-vocab-{name}.gguf.inp").read_bytes().decode().split(SEPARATOR)
    special = [vocabulary.tokens[i] for i in vocabulary.ids_of(CONTROL)[:3]]
    same_ids(vocabulary, [*texts, " ".join(texts), "hello".join(special), special[0] + texts[0]])


def test_a_text_that_needs_too_much_gets_the_whole_vocabulary() -> None:
    source = random.Random(1)
    vocabulary = random_vocabulary(source, "gpt-2")
    seen = indexed(vocabulary)
    assert seen.finder is not None
    text = "".join(source.choices("abcdefghijklmnop", k=19_000))
    assert PartEncoders(seen, seen.finder).encoder(text, False) is None
    assert Tokenizer(seen).encode(text) == Tokenizer(vocabulary).encode(text)


def test_the_whole_vocabulary_is_used_in_the_end() -> None:
    vocabulary = random_vocabulary(random.Random(2), "gpt-2")
    tokenizer, whole = Tokenizer(indexed(vocabulary)), Tokenizer(vocabulary)
    for number in range(MAX_PARTS + 3):
        text = "ab cad " * (number + 1)
        assert tokenizer.encode(text) == whole.encode(text)
        assert tokenizer.decode(tokenizer.encode(text)) == text
