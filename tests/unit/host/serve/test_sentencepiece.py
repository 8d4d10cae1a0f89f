"""SentencePiece vocabularies: the merges derived from scores give what SentencePiece's own rule gives."""

import itertools
import random
from functools import cache
from pathlib import Path

import pytest

from axiom.host.model.gguf_file import open_gguf
from axiom.host.model.vocabulary import read_vocabulary
from axiom.host.serve.tokenizer import Tokenizer

MODELS = Path(__file__).resolve().parents[5] / "shared" / "models"
FILES = ["vocab/ggml-vocab-llama-spm.gguf", "vocab/ggml-vocab-phi-3.gguf", "stories260K-f32.gguf"]


class PlainSentencePiece:
    """The rule itself: join the neighbours of the highest score, of equals the leftmost, to the end."""

    def __init__(self, tokens: list[str], scores: list[float]) -> None:
        self.ids = {token: i for i, token in enumerate(tokens)}
        self.scores = scores

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text; bytes for what is not in the vocabulary."""
        symbols = list("\u2581" + text.replace(" ", "\u2581")) if text else []
        while True:
            joined = [left + right for left, right in itertools.pairwise(symbols)]
            known = [
                (-self.scores[self.ids[token]], at) for at, token in enumerate(joined) if token in self.ids
            ]
            if not known:
                break
            _, at = min(known)
            symbols[at : at + 2] = [joined[at]]
        ids: list[int] = []
        for symbol in symbols:
            as_bytes = [self.ids[f"<0x{byte:02X}>"] for byte in symbol.encode()]
            ids += [self.ids[symbol]] if symbol in self.ids else as_bytes
        return ids


@cache
def load(name: str) -> tuple[Tokenizer, PlainSentencePiece]:
    """Return the tokenizer and the plain rule of a file; skip the test when the test data are absent."""
    path = MODELS / name
    if not path.exists():
        pytest.skip(f"the test data are absent: {path}")
    metadata = open_gguf(path).metadata
    vocabulary = read_vocabulary(metadata)
    plain = PlainSentencePiece(list(vocabulary.tokens), metadata.numbers("tokenizer.ggml.scores"))
    return Tokenizer(vocabulary), plain


@pytest.mark.parametrize("name", FILES)
def test_runs_of_spaces_of_any_length(name: str) -> None:
    tokenizer, plain = load(name)
    for count in range(1, 80):
        for text in (" " * count, "a" + " " * count + "b"):
            assert tokenizer.encode(text, add_bos=False) == plain.encode(text), repr(text)


@pytest.mark.parametrize("name", FILES)
def test_random_texts(name: str) -> None:
    tokenizer, plain = load(name)
    words = [token.replace("\u2581", " ") for token in plain.ids if not token.startswith("<")]
    draw = random.Random(11)
    for _ in range(150):
        pieces = draw.choices([*words, *"  \n\tAeé.'🦙"], k=draw.randrange(1, 12))
        text = "".join(pieces) + "".join(draw.choices("abc  .", k=draw.randrange(20)))
        assert tokenizer.encode(text, add_bos=False) == plain.encode(text), repr(text)
