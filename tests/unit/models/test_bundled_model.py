"""The bundled model is what its card says, and it tells stories."""

import re
from pathlib import Path

import numpy as np
import pytest
from gguf import GGMLQuantizationType, GGUFReader
from tokenizers import Tokenizer
from tools.bundled_model.check import loss_of, sample
from tools.bundled_model.forward import Model, open_model
from tools.bundled_model.shape import SHAPE
from tools.bundled_model.stories import stories
from tools.bundled_model.tokenizer import BOS, BOS_ID, EOS, EOS_ID

from axiom.models import bundled_model_path

SAMPLING_SEEDS = range(3)
# The first seed of the stories that training never saw.
FIRST_HELD_OUT_SEED = 1_000_000


@pytest.fixture(scope="module")
def path() -> Path:
    return bundled_model_path()


@pytest.fixture(scope="module")
def reader(path: Path) -> GGUFReader:
    return GGUFReader(path)


@pytest.fixture(scope="module")
def opened(path: Path) -> tuple[Model, Tokenizer]:
    return open_model(path)


@pytest.fixture(scope="module")
def samples(opened: tuple[Model, Tokenizer]) -> list[tuple[str, bool]]:
    return [sample(*opened, "Once upon a time", 0.8, seed) for seed in SAMPLING_SEEDS]


def value(reader: GGUFReader, key: str) -> object:
    field = reader.get_field(key)
    assert field is not None, key
    return field.contents()


def test_the_file_is_between_one_and_four_megabytes(path: Path) -> None:
    assert 1_000_000 < path.stat().st_size < 4_000_000


def test_the_metadata_state_the_shape(reader: GGUFReader) -> None:
    expected = {
        "general.architecture": "llama",
        "general.license": "Apache-2.0",
        "llama.block_count": SHAPE.n_layers,
        "llama.context_length": SHAPE.n_context,
        "llama.embedding_length": SHAPE.d_model,
        "llama.feed_forward_length": SHAPE.d_ffn,
        "llama.attention.head_count": SHAPE.n_heads,
        "llama.attention.head_count_kv": SHAPE.n_kv_heads,
        "llama.attention.key_length": SHAPE.head_dim,
        "llama.attention.value_length": SHAPE.head_dim,
        "llama.rope.dimension_count": SHAPE.head_dim,
        "llama.vocab_size": SHAPE.n_vocab,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.bos_token_id": BOS_ID,
        "tokenizer.ggml.eos_token_id": EOS_ID,
        "tokenizer.ggml.add_bos_token": True,
    }
    assert {key: value(reader, key) for key in expected} == expected


def test_matrices_are_q8_0_and_vectors_are_f32(reader: GGUFReader) -> None:
    for tensor in reader.tensors:
        is_matrix = len(tensor.shape) == 2
        assert tensor.tensor_type == (GGMLQuantizationType.Q8_0 if is_matrix else GGMLQuantizationType.F32)
        assert int(tensor.shape[0]) % 32 == 0


def test_the_embeddings_are_tied(reader: GGUFReader) -> None:
    names = {tensor.name for tensor in reader.tensors}
    assert "output.weight" not in names
    assert len(names) == 2 + 9 * SHAPE.n_layers


def test_the_vocabulary_is_a_multiple_of_sixteen_and_holds_every_byte(
    opened: tuple[Model, Tokenizer],
) -> None:
    _, tokenizer = opened
    assert tokenizer.get_vocab_size() == SHAPE.n_vocab
    assert SHAPE.n_vocab % 16 == 0
    strange = "Ünïcödé \x00\x7f 漢字 🚀\n"
    assert tokenizer.decode(tokenizer.encode(strange).ids) == strange


def test_text_never_becomes_a_special_token(opened: tuple[Model, Tokenizer]) -> None:
    _, tokenizer = opened
    tokens = tokenizer.encode(f"{BOS}Mia{EOS}").ids
    assert BOS_ID not in tokens
    assert EOS_ID not in tokens


def test_stories_end_by_themselves_with_a_full_sentence(samples: list[tuple[str, bool]]) -> None:
    for text, ended in samples:
        assert ended
        assert text.startswith("Once upon a time")
        assert text[-1] in '.!?"'


def test_stories_are_not_the_same(samples: list[tuple[str, bool]]) -> None:
    assert len({text for text, _ in samples}) == len(samples)


def test_stories_use_the_words_of_the_grammar(samples: list[tuple[str, bool]]) -> None:
    known = {word for text in stories(1, 3000) for word in re.findall(r"[a-z]+", text.lower())}
    # Invented names are words that no list can hold; everything else is known.
    words = [word for text, _ in samples for word in re.findall(r"\b(?<!')[a-z]+\b", text)]
    unknown = [word for word in words if word not in known]
    assert len(words) > 150
    assert len(unknown) < len(words) / 100


def test_a_story_takes_up_the_name_and_the_toy_of_its_prompt(opened: tuple[Model, Tokenizer]) -> None:
    text, ended = sample(*opened, "Mia had a red kite.", 0.0, 0)
    told = text.removeprefix("Mia had a red kite.")
    assert ended
    assert told.count("Mia") >= 2
    assert "kite" in told


def test_the_held_out_loss_is_what_the_card_says(opened: tuple[Model, Tokenizer], path: Path) -> None:
    card = path.with_name("CARD.md").read_text()
    stated = re.search(r"held-out loss \| ([0-9.]+) nats", card)
    assert stated is not None
    measured = [loss_of(*opened, text) for text in stories(FIRST_HELD_OUT_SEED, 12)]
    loss = sum(total for total, _ in measured) / sum(count for _, count in measured)
    # Twelve stories out of 256, and quantised weights: near, not equal.
    assert loss == pytest.approx(float(stated[1]), rel=0.15)


def test_the_forward_pass_sees_the_order_of_the_tokens(opened: tuple[Model, Tokenizer]) -> None:
    model, tokenizer = opened
    first, second = tokenizer.encode(" Mia").ids[0], tokenizer.encode(" kite").ids[0]
    logits: list[np.ndarray[tuple[int, ...], np.dtype[np.float32]]] = []
    for order in ([first, second, BOS_ID], [second, first, BOS_ID]):
        model.restart()
        logits.append([model.logits(token) for token in order][-1])
    assert np.abs(logits[0] - logits[1]).max() > 0.1
