"""What is read of an object: places of panics are still found in its sections for a debugger."""

from pathlib import Path

import pytest

from axiom.compiler.elf_symbols import code_bytes, code_offset, read_symbols
from axiom.compiler.hosted import HostedPanic, load_hosted
from axiom.lang import fn, u32


@fn
def third(n: u32) -> u32:
    """Return a third; panics for what has none."""
    assert n % 3 == 0, "there is no third"
    return n // 3


def test_symbols_are_those_that_the_object_defines() -> None:
    data = load_hosted([third]).stored.data
    symbols = {symbol.name: symbol for symbol in read_symbols(data)}
    thunks = [symbol for name, symbol in symbols.items() if name.startswith("ax.thunk.")]
    assert [symbol.is_code for symbol in thunks] == [True]
    assert 0 < thunks[0].size < code_bytes(data)
    assert not symbols["ax.record.key"].is_code
    assert "longjmp" not in symbols
    with pytest.raises(KeyError):
        code_offset(data, "longjmp")


def test_places_are_still_found() -> None:
    hosted = load_hosted([third])
    assert int(hosted(third, 12)) == 4
    with pytest.raises(HostedPanic) as raised:
        hosted(third, 10)
    place = raised.value.places()[-1]
    assert Path(place.file) == Path(__file__)
    assert Path(__file__).read_text().splitlines()[place.line - 1].lstrip().startswith("assert n % 3")
