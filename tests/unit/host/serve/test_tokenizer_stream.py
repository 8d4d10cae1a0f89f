"""Tokens that come one by one give the same text as all at once, never half a character."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.host.serve.test_tokenizer import NAMES, load, small_spm

AB = 4 + 256 + 4  # the token "▁ab"
EMOJI = [4 + byte for byte in "🦙".encode()]


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_pieces_join_into_the_decoded_text(name: str, data: st.DataObject) -> None:
    tokenizer = load(name)
    ids = data.draw(st.lists(st.integers(0, tokenizer.n_tokens - 1), max_size=30))
    stream = tokenizer.stream()
    parts = [stream.push(token_id) for token_id in ids]
    assert "".join([*parts, stream.flush()]) == tokenizer.decode(ids)


@pytest.mark.parametrize("name", NAMES)
def test_a_character_of_several_tokens_comes_whole(name: str) -> None:
    tokenizer = load(name)
    text = "naïve 🦙🏽 日本語 𐍈"
    stream = tokenizer.stream()
    parts = [stream.push(token_id) for token_id in tokenizer.encode(text)]
    assert "".join(parts) == text
    assert stream.flush() == ""
    assert any(part == "" for part in parts[1:])


def test_a_character_appears_with_its_last_byte() -> None:
    stream = small_spm().stream()
    assert [stream.push(token_id) for token_id in EMOJI] == ["", "", "", "🦙"]


def test_an_unfinished_character_is_replaced_at_the_end() -> None:
    stream = small_spm().stream()
    assert [stream.push(token_id) for token_id in EMOJI[:2]] == ["", ""]
    assert stream.flush() == "\ufffd"
    assert stream.flush() == ""


def test_only_the_invented_space_is_taken_off() -> None:
    tokenizer = small_spm()
    stream = tokenizer.stream()
    assert [stream.push(AB), stream.push(AB)] == ["ab", " ab"]
    behind_bos = tokenizer.stream([1])
    assert behind_bos.push(AB) == "ab"
    behind_text = tokenizer.stream(tokenizer.encode("ab"))
    assert behind_text.push(AB) == " ab"
    assert [behind_text.push(2), behind_text.push(AB)] == ["", "ab"]


def test_control_tokens_are_shown_on_request() -> None:
    stream = small_spm().stream(show_special=True)
    assert [stream.push(token_id) for token_id in (1, AB, 2)] == ["<s>", "ab", "</s>"]
