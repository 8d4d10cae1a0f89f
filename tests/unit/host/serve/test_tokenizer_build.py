"""Pre-tokenizers split as the models' own do, and a vocabulary that would lose text is refused."""

import pytest
from tokenizers import pre_tokenizers

from axiom.host.errors import UserError
from axiom.host.model.vocabulary import BPE_PRE, CONTROL, NORMAL, Vocabulary
from axiom.host.serve.tokenizer_build import SPLITS, build_encoder
from axiom.host.serve.tokenizer_pieces import Pieces

ALPHABET = sorted(pre_tokenizers.ByteLevel.alphabet())
BYTES = Vocabulary("bpe", "default", ALPHABET, [NORMAL] * 256, [], None, None, (), False, False)


def words(pre: str, text: str) -> list[str]:
    """Return the words into which a text is split before merging."""
    splitter = build_encoder(BYTES._replace(pre=pre)).pre_tokenizer
    return [word for word, _ in splitter.pre_tokenize_str(text)]


def test_every_known_pre_tokenizer_has_its_splits() -> None:
    assert set(SPLITS) == set(BPE_PRE)


@pytest.mark.parametrize(
    ("pre", "expected"),
    [
        ("llama-bpe", ["It", "'S", "Ġ", "123", "45", "!?"]),
        ("gpt-2", ["It", "'", "S", "Ġ12345", "!?"]),
        ("qwen2", ["It", "'S", "Ġ", "1", "2", "3", "4", "5", "!?"]),
        ("default", ["It", "'", "S", "Ġ", "123", "45", "!?"]),
    ],
)
def test_texts_are_split_as_the_model_learned_it(pre: str, expected: list[str]) -> None:
    assert words(pre, "It'S 12345!?") == expected


def test_every_byte_has_a_token_of_its_own() -> None:
    pieces = Pieces(BYTES)
    assert sorted(pieces.text_of(i) for i in range(256)) == [bytes([byte]) for byte in range(256)]


def test_a_byte_level_vocabulary_without_every_byte_is_refused() -> None:
    tokens = [*ALPHABET[:200], "<end>"]
    with pytest.raises(UserError, match="no token for 56 of the 256 bytes"):
        build_encoder(BYTES._replace(tokens=tokens, types=[*[NORMAL] * 200, CONTROL]))


def test_a_scored_vocabulary_that_would_lose_characters_is_refused() -> None:
    with pytest.raises(UserError, match="neither a token for every byte nor"):
        build_encoder(BYTES._replace(kind="spm", tokens=["a"], types=[NORMAL]))
    known = build_encoder(BYTES._replace(kind="spm", tokens=["?", "a"], types=[2, NORMAL], unknown_id=0))
    assert known.encode("aéa").ids == [1, 0, 1]
