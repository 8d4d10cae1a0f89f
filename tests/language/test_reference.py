"""Every example of the language reference does what it says, under CPython and compiled."""

import functools
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from axiom.lang import Panic
from tests.language.programs import complaint, execute, function_named
from tests.support.targets import run

REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "language.md"
EXAMPLES = re.findall(r"^```python\n(.*?)^```", REFERENCE.read_text(), flags=re.MULTILINE | re.DOTALL)
CLAIM = re.compile(r"^# (?P<call>\w+\(.*\)) (?P<kind>==|panics:) (?P<expected>.*)$", re.MULTILINE)
REFUSED = re.compile(r"^# refused: (?P<text>.*)$", re.MULTILINE)


def _arrays() -> dict[str, Any]:
    """Return what makes the arrays that examples are called with."""
    kinds: dict[str, Any] = {"words": np.uint32, "octets": np.uint8, "ints": np.int32, "floats": np.float32}

    def make(name: str, *values: Any) -> Any:
        return np.array(values, kinds[name])

    return {name: functools.partial(make, name) for name in kinds}


CLAIMS = [
    (number, found["call"], found["kind"], found["expected"])
    for number, example in enumerate(EXAMPLES)
    for found in CLAIM.finditer(example)
]
REFUSALS = [(n, found["text"]) for n, example in enumerate(EXAMPLES) for found in REFUSED.finditer(example)]


@pytest.mark.parametrize("target", ["python", "hosted-v3"])
@pytest.mark.parametrize(("number", "call", "kind", "expected"), CLAIMS, ids=[claim[1] for claim in CLAIMS])
def test_an_example_does_what_it_says(
    number: int, call: str, kind: str, expected: str, target: str, tmp_path: Path
) -> None:
    scope = execute(EXAMPLES[number], tmp_path)
    name, _, arguments = call.partition("(")
    given = eval(f"({arguments[:-1]},)" if arguments != ")" else "()", _arrays())
    function = function_named(scope, name)
    if kind == "==":
        result = run(target, function, *given)
        assert getattr(result, "value", result) == eval(expected)
        return
    with pytest.raises((Panic, AssertionError, ValueError)) as caught:
        run(target, function, *given)
    if isinstance(caught.value, Panic):
        assert str(caught.value).startswith(expected)
    else:
        assert target == "python"


@pytest.mark.parametrize(("number", "text"), REFUSALS, ids=[text for _, text in REFUSALS])
def test_an_example_is_refused_with_these_words(number: int, text: str, tmp_path: Path) -> None:
    assert f"error: {text}\n" in complaint(EXAMPLES[number], tmp_path)


def test_every_example_claims_something() -> None:
    assert len(EXAMPLES) > 20
    assert all(CLAIM.search(example) or REFUSED.search(example) for example in EXAMPLES)
