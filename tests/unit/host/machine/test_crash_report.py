"""From what a crashed kernel left behind to a Python traceback."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from axiom.abi.crash import CRASH_MAGIC, REGISTER_NAMES, CrashKind, CrashRecord
from axiom.compiler.objects import compile_object
from axiom.host.errors import MachineError
from axiom.host.image.elf import read_elf
from axiom.host.image.link_script import link
from axiom.host.machine.crash_report import Crash, crash_from_record, parse_crash, render_crash
from axiom.host.machine.symbolise import symbolise
from axiom.lang import PanicReason, fn, u32, u64, zeroed
from axiom.metal.arch.assembly import ASSEMBLY
from axiom.metal.kernel.panic import exception_handler, panic_handler

PANIC = """some log line
AXIOM CRASH BEGIN
kind 1 3 7 4
fault 0 0 0
at 0 0
frame 201234
frame 205678
message text of a panic
AXIOM CRASH END
more
"""
EXCEPTION = """AXIOM CRASH BEGIN
kind 2 0 0 0
fault e 6 dead000
at 201233 22fff0
frame 201234
register rax ff
register r15 1
message 
AXIOM CRASH END
"""


def parsed(text: str) -> Crash:
    crash = parse_crash(text)
    assert crash is not None
    return crash


def test_a_crash_on_another_lane_says_which(image: Path) -> None:
    text = PANIC.replace("fault 0", "lane 3\nfault 0").replace("frame 201234\nframe 205678\n", "")
    crash = parsed(text)
    assert crash.lane == 3
    assert render_crash(crash, image).endswith("7 of 4: text of a panic (on lane 3)")


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_a_panic_is_found_among_other_lines(ending: str) -> None:
    crash = parsed(PANIC.replace("\n", ending))
    assert crash == Crash(
        kind=CrashKind.PANIC,
        reason=PanicReason.BOUNDS,
        first=7,
        second=4,
        frames=[0x201234, 0x205678],
        message="text of a panic",
    )


def test_an_exception_carries_its_registers_and_address() -> None:
    crash = parsed(EXCEPTION)
    assert (crash.kind, crash.vector, crash.error_code) == (CrashKind.EXCEPTION, 14, 6)
    assert (crash.fault_address, crash.instruction) == (0xDEAD000, 0x201233)
    assert crash.registers == {"rax": 255, "r15": 1}


def test_text_without_a_crash_gives_none() -> None:
    assert parse_crash("all is well\n") is None


def test_a_report_that_is_cut_off_keeps_what_arrived() -> None:
    crash = parsed(PANIC[: PANIC.index("message")])
    assert not crash.complete
    assert crash.frames == [0x201234, 0x205678]


def test_a_failure_while_reporting_is_an_incomplete_exception() -> None:
    crash = parsed("kind\nAXIOM CRASH AGAIN 000000000000000e 0000000000201233\n")
    assert (crash.kind, crash.vector, crash.frames) == (CrashKind.EXCEPTION, 14, [0x201234])
    assert not crash.complete


@given(st.text())
def test_no_text_makes_the_parser_fail(text: str) -> None:
    for whole in (f"AXIOM CRASH BEGIN\n{text}", f"AXIOM CRASH AGAIN{text}", text):
        parse_crash(whole)


def record() -> CrashRecord:
    made = zeroed(CrashRecord)
    made.magic, made.kind, made.reason = u64(CRASH_MAGIC), CrashKind.PANIC, u32(3)
    made.first, made.second = u64(7), u64(4)
    made.n_frames = u64(2)
    made.frames[0], made.frames[1] = u64(0x201234), u64(0x205678)
    for i, byte in enumerate(b"text of a panic"):
        made.message[i] = byte
    made.message_bytes = u64(15)
    return made


def bytes_of_record(made: Any) -> bytes:
    return bytes(made.place_memory.data)


def test_the_record_and_the_text_say_the_same() -> None:
    assert crash_from_record(bytes_of_record(record())) == parsed(PANIC)


def test_a_page_without_a_record_gives_none() -> None:
    assert crash_from_record(bytes(4096)) is None
    assert crash_from_record(bytes_of_record(record())[:100]) is None


def test_a_damaged_record_is_read_as_far_as_it_goes() -> None:
    made = record()
    made.n_frames = made.message_bytes = u64(2**64 - 1)
    crash = crash_from_record(bytes_of_record(made))
    assert crash is not None
    assert len(crash.frames) == 32


def test_every_register_has_its_name() -> None:
    made = record()
    made.kind = CrashKind.EXCEPTION
    for i in range(len(REGISTER_NAMES)):
        made.registers[i] = i + 100
    crash = crash_from_record(bytes_of_record(made))
    assert crash is not None
    assert crash.registers == {name: i + 100 for i, name in enumerate(REGISTER_NAMES)}


@fn(export="axiom_main")
def main(start_info: u64) -> None:
    assert start_info == 0, "no start info"


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("crash") / "image.elf"
    link([compile_object([main, panic_handler, exception_handler], list(ASSEMBLY))], path)
    return path


def test_an_address_becomes_a_function_of_this_file(image: Path) -> None:
    ((place,),) = symbolise(image, [read_elf(image).symbol("axiom_main")])
    assert (place.function, place.file) == ("main", __file__)


def test_assembly_has_no_place_and_is_left_out_of_tracebacks(image: Path) -> None:
    start = read_elf(image).symbol("axiom_start32")
    assert [place.file for places in symbolise(image, [start]) for place in places] == [""]
    text = render_crash(Crash(kind=CrashKind.PANIC, reason=4, frames=[start + 1]), image)
    assert text == "Traceback (most recent call last):\nPanic: integer overflow"


@pytest.mark.parametrize(
    ("crash", "last"),
    [
        (Crash(CrashKind.PANIC, 3, 7, 4), "Panic: index out of bounds: 7 of 4"),
        (Crash(CrashKind.PANIC, 1, message="why"), "Panic: assertion failed: why"),
        (Crash(CrashKind.PANIC, 2, message="why"), "Panic: why"),
        (Crash(CrashKind.PANIC, 8, 0x1001), "Panic: misaligned reinterpretation: address 0x1001"),
        (Crash(CrashKind.PANIC, 99), "Panic: unknown reason 99"),
        (
            Crash(CrashKind.EXCEPTION, vector=13, instruction=16),
            "Exception: general protection fault at 0x10",
        ),
        (
            Crash(CrashKind.EXCEPTION, vector=14, error_code=7, fault_address=32, instruction=16),
            "Exception: page fault: write of 0x20, which is not permitted, at 0x10",
        ),
        (
            Crash(CrashKind.EXCEPTION, vector=14, error_code=20, fault_address=32, instruction=32),
            "Exception: page fault: execution of 0x20, where nothing is mapped, at 0x20",
        ),
        (Crash(CrashKind.EXCEPTION, vector=29), "Exception: exception 29 at 0x0"),
    ],
)
def test_the_last_line_says_what_happened(crash: Crash, last: str, image: Path) -> None:
    assert render_crash(crash, image).splitlines()[-1] == last


def test_a_missing_image_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="could not read"):
        symbolise(tmp_path / "absent.elf", [1])
