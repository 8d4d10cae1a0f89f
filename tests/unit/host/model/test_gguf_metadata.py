"""Values are given out by kind; the sentence names the key."""

import math
from collections.abc import Callable

import pytest

from axiom.host.errors import UserError
from axiom.host.model.gguf_metadata import Metadata

VALUES: dict[str, object] = {
    "text": "one",
    "number": 2.5,
    "integer": 3,
    "flag": True,
    "nan": math.nan,
    "words": ["a", "b"],
    "integers": [1, 2],
    "numbers": [0.5, 1.5],
    "mixed": ["a", 1],
    "infinite": [math.inf],
    "huge": "x" * 1000,
}
METADATA = Metadata("model.gguf", VALUES)


def test_values_come_as_they_are() -> None:
    assert METADATA.text("text") == "one"
    assert METADATA.number("number") == 2.5
    assert METADATA.number("integer") == 3.0
    assert METADATA.integer("integer") == 3
    assert METADATA.flag("flag") is True
    assert METADATA.texts("words") == ["a", "b"]
    assert METADATA.integers("integers") == [1, 2]
    assert METADATA.numbers("numbers") == [0.5, 1.5]
    assert "text" in METADATA
    assert "absent" not in METADATA


def test_a_default_stands_in_for_an_absent_key() -> None:
    assert METADATA.text("absent", "x") == "x"
    assert METADATA.number("absent", 1.0) == 1.0
    assert METADATA.integer("absent", 0) == 0
    assert METADATA.flag("absent", False) is False


@pytest.mark.parametrize(
    ("ask", "key"),
    [
        (METADATA.text, "integer"),
        (METADATA.integer, "number"),
        (METADATA.integer, "flag"),
        (METADATA.number, "text"),
        (METADATA.number, "flag"),
        (METADATA.number, "nan"),
        (METADATA.flag, "integer"),
        (METADATA.texts, "text"),
        (METADATA.texts, "mixed"),
        (METADATA.integers, "numbers"),
        (METADATA.integers, "mixed"),
        (METADATA.numbers, "integers"),
        (METADATA.numbers, "infinite"),
        (METADATA.integer, "huge"),
    ],
)
def test_another_kind_is_refused_by_name(ask: Callable[[str], object], key: str) -> None:
    with pytest.raises(UserError, match=f"the key {key} is .* is needed") as caught:
        ask(key)
    assert len(caught.value.message) < 200


def test_an_absent_key_is_named() -> None:
    with pytest.raises(UserError, match=r"model\.gguf lacks the key absent"):
        METADATA.integer("absent")
