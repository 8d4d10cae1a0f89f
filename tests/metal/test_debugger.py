"""gdb on a running kernel: it stops at Python lines, steps over them, and shows what names stand for."""

import enum
import re
from pathlib import Path
from typing import Any

import pytest

from axiom.lang import Slice, array, fn, slice_at, static_var, struct, u32, u64, unsafe, urange, zeroed
from tests.metal.test_crash import index_out_of_bounds, line_of, look_up, pick
from tests.support.gdb_session import debug_image
from tests.support.mapped_kernel import make_kernel
from tests.support.metal import build_image

HERE = Path(__file__)


class Colour(enum.IntEnum):
    RED = 1
    GREEN = 2


@struct
class Tally:
    count: u32
    total: u64
    colour: Colour


tallies = static_var(zeroed(Tally))
measures = static_var(array(u64, 4))


@fn
def add_up(values: Slice[u64], limit: u64) -> u64:
    total = u64(0)
    for i in urange(values.length):
        doubled = values[i] * 2
        if doubled < limit:
            total += doubled
    return total


@fn
def tally_measures() -> None:
    for i in urange(4):
        measures[i] = u64(10) * (i + 1)
    tally = tallies
    tally.count = u32(3)
    tally.colour = Colour.GREEN
    tally.total = add_up(measures.all, u64(70))
    tally.count += 1


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("debugger") / "image.elf"
    return build_image(place, make_kernel(tally_measures, watchdog=False), as_written=(__name__,))


def place_of(function: Any, text: str) -> str:
    return f"{HERE.name}:{line_of(function, text)}"


def source_line(function: Any, text: str) -> str:
    """Return a line as gdb prints it when it stops there."""
    number = line_of(function, text)
    return f"{number}\t{HERE.read_text().splitlines()[number - 1]}"


def test_a_breakpoint_shows_the_line_and_the_callers(image: Path) -> None:
    said = debug_image(image, [place_of(add_up, "doubled < limit")], ["continue", "bt"])
    assert f"add_up (values=..., limit=70) at {HERE}" in said.replace(f"at {HERE.name}", f"at {HERE}")
    assert source_line(add_up, "doubled < limit") in said
    frames = re.findall(r"^#(\d)\s+(?:0x\w+ in )?(\w+) .* at (?:.*/)?(\w+\.py):(\d+)$", said, re.MULTILINE)
    assert [(name, file, int(line)) for _, name, file, line in frames[:2]] == [
        ("add_up", HERE.name, line_of(add_up, "doubled < limit")),
        ("tally_measures", HERE.name, line_of(tally_measures, "add_up(")),
    ]
    assert ("run", "mapped_kernel.py") in [(name, file) for _, name, file, _ in frames]


def test_locals_have_their_values_in_every_round(image: Path) -> None:
    place = place_of(add_up, "doubled < limit")
    said = debug_image(image, [place], ["continue", "continue", "continue", "info locals", "info args"])
    assert "\ni = 2\n" in said
    assert "\ndoubled = 60\n" in said
    assert "\ntotal = 60\n" in said
    assert "\nlimit = 70\n" in said
    assert re.search(r"^values = \{address = 0x\w+ <.*measures.*>, length = 4\}$", said, re.MULTILINE)


def test_statics_fields_elements_and_members_of_enums_are_shown(image: Path) -> None:
    asked = [
        "tallies",
        "tally.count",
        "tallies.total",
        "tally.colour",
        "measures",
        "measures[2]",
        "crash_state",
    ]
    commands = ["continue", *(f"print {name}" for name in asked), "print tally.count = 41", "next"]
    said = debug_image(image, [place_of(tally_measures, "count += 1")], [*commands, "print tallies.count"])
    values = [line.partition(" = ")[2] for line in said.splitlines() if line.startswith("$")]
    assert values[0] == "{count = 3, total = 120, colour = Colour.GREEN}"
    assert values[1:6] == ["3", "120", "Colour.GREEN", "{10, 20, 30, 40}", "30"]
    assert values[6].startswith("{record = {address = ")
    assert values[7:] == ["41", "42"]


def test_step_enters_a_call_next_does_not_and_finish_returns(image: Path) -> None:
    start = [place_of(tally_measures, "tally.colour =")]
    over = debug_image(image, start, ["continue", "next", "next"])
    assert source_line(tally_measures, "add_up(") in over
    assert source_line(tally_measures, "count += 1") in over
    assert "total = u64(0)" not in over
    into = debug_image(image, start, ["continue", "next", "step", "next", "finish"])
    assert source_line(add_up, "total = u64(0)") in into
    assert source_line(add_up, "for i in") in into
    assert into.rindex(source_line(tally_measures, "add_up(")) > into.rindex(
        source_line(add_up, "for i in")
    )


def test_a_panic_in_optimised_code_stops_with_the_inlined_frames(tmp_path: Path) -> None:
    kernel = build_image(tmp_path / "image.elf", make_kernel(index_out_of_bounds, watchdog=False))
    said = debug_image(kernel, [], ["continue", "bt", "up", "print at", "print values.length"])
    frames = re.findall(r"^#\d\s+(?:0x\w+ in )?(\w+) .* at (?:.*/)?\w+\.py:(\d+)$", said, re.MULTILINE)
    assert frames[0][0] == "panic_handler"
    assert [(name, int(line)) for name, line in frames[1:4]] == [
        ("pick", line_of(pick, "values[at]")),
        ("look_up", line_of(look_up, "pick(")),
        ("index_out_of_bounds", line_of(index_out_of_bounds, "look_up(")),
    ]
    assert "\n$1 = 7\n$2 = 4\n" in said


@fn
def touch_nothing() -> None:
    # SAFETY: faults on purpose: nothing is mapped there.
    with unsafe:
        slice_at(u64, u64(1) << 46, u64(1))[0] = u64(1)


def test_an_exception_stops_before_it_is_reported(tmp_path: Path) -> None:
    kernel = build_image(tmp_path / "image.elf", make_kernel(touch_nothing, watchdog=False))
    said = debug_image(kernel, [], ["continue", "info symbol $pc", "finish"])
    assert "exception_handler (" in said
    assert "\naxiom_exception in section .text\n" in said
