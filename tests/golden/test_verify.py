"""`axiom verify`: what it says of a memory, on metal and in a process, and when it cannot measure."""

import json
from pathlib import Path
from typing import Any

import pytest

from axiom.abi.boot import RegionKind
from axiom.abi.link import ErrorCode
from axiom.host.machine.events import ErrorEvent, MeasuredEvent
from axiom.host.machine.requests import StartRequest
from axiom.host.machine.session import SessionOptions, open_session
from axiom.host.model.pack import packed_model
from axiom.models import bundled_model_path
from tests.support.command_line import MACHINE, axiom

DEADLINE_SECONDS = 60.0
MEASURED = {"activations", "kv_cache", "weights"}


def verified(home: Path, *arguments: str) -> dict[str, Any]:
    done = axiom(home, "verify", "--json", "--cpus", "2", *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("machine", [MACHINE, "hosted"])
def test_each_core_reads_each_region(tmp_path: Path, machine: str) -> None:
    found = verified(tmp_path, "--machine", machine)
    assert found["n_lanes"] == 2
    measured = {row["name"]: row for row in found["regions"] if "by_core_gb_s" in row}
    assert set(measured) == MEASURED
    for row in measured.values():
        assert len(row["by_core_gb_s"]) == 2
        assert min(*row["by_core_gb_s"], row["together_gb_s"]) > 0


def test_the_regions_are_those_of_the_plan_in_large_pages(tmp_path: Path) -> None:
    found = {row["name"]: row for row in verified(tmp_path, "--machine", MACHINE)["regions"]}
    plan = json.loads(axiom(tmp_path, "plan", "--json", "--cpus", "2", "--bandwidth", "10").stdout)
    for region in plan["regions"]:
        assert found[region["name"]]["bytes"] == region["bytes"]
    for name in MEASURED:
        assert found[name]["page_bytes"] >= 2 << 20
        assert found[name]["address"] % (2 << 20) == 0


def test_it_is_printed_for_people_too(tmp_path: Path) -> None:
    done = axiom(tmp_path, "verify", "--machine", MACHINE, "--cpus", "1")
    assert done.returncode == 0, done.stderr
    assert "contiguous" in done.stdout
    assert "2048 KiB" in done.stdout


def test_what_cannot_be_measured_is_refused(tmp_path: Path) -> None:
    model = packed_model(bundled_model_path(), tmp_path)
    options = SessionOptions("hosted", 1, None, 64, tmp_path)
    with open_session(model, options) as session:
        link = session.link

        def ask(kind: RegionKind, first: int, count: int) -> object:
            link.ask_measure(kind, 0, first, count)
            return link.next_event(DEADLINE_SECONDS)

        refused = ErrorEvent(ErrorCode.BAD_PARAMETERS, 0, 0)
        assert ask(RegionKind.STACK, 0, 64) == refused
        assert ask(RegionKind.WEIGHTS, model.weights_bytes, 64) == refused
        assert ask(RegionKind.WEIGHTS, 0, 0) == refused
        last = ask(RegionKind.WEIGHTS, model.weights_bytes - 64, 1 << 20)
        assert isinstance(last, MeasuredEvent)
        assert last.bytes == 64
        link.start(StartRequest(7, [1], 60, ignore_eos=True))
        first = ask(RegionKind.WEIGHTS, 0, 64)
        events = [first]
        while not isinstance(events[-1], ErrorEvent):
            assert not isinstance(events[-1], MeasuredEvent)
            events.append(link.next_event(DEADLINE_SECONDS))
        assert events[-1] == ErrorEvent(ErrorCode.BUSY, 7, 0)
