"""What is read of and left out of an object: its sections for a debugger are not relocated."""

import subprocess
from pathlib import Path

import pytest

from axiom.compiler.elf_symbols import only_for_running
from axiom.compiler.hosted import HostedPanic, load_hosted
from axiom.lang import fn, u32


@fn
def third(n: u32) -> u32:
    """Return a third; panics for what has none."""
    assert n % 3 == 0, "there is no third"
    return n // 3


def relocated_sections(path: Path) -> set[str]:
    shown = subprocess.run(["readelf", "-SW", path], capture_output=True, text=True, check=True).stdout
    return {line.split("] ")[1].split()[0] for line in shown.splitlines() if " RELA " in line}


def test_only_what_is_in_memory_is_relocated(tmp_path: Path) -> None:
    data = load_hosted([third]).stored.data
    whole, less = tmp_path / "whole.o", tmp_path / "less.o"
    whole.write_bytes(data)
    less.write_bytes(only_for_running(data))
    assert len(data) == less.stat().st_size
    assert ".rela.debug_info" in relocated_sections(whole)
    kept = relocated_sections(less)
    assert kept == {name for name in relocated_sections(whole) if not name.startswith(".rela.debug")}
    assert ".rela.text" in kept


def test_places_are_still_found() -> None:
    hosted = load_hosted([third])
    assert int(hosted(third, 12)) == 4
    with pytest.raises(HostedPanic) as raised:
        hosted(third, 10)
    place = raised.value.places()[-1]
    assert Path(place.file) == Path(__file__)
    assert Path(__file__).read_text().splitlines()[place.line - 1].lstrip().startswith("assert n % 3")
