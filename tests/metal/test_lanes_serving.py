"""A model served by several lanes: the same bits as by one, and nothing interrupts any of them."""

from pathlib import Path
from typing import Any

import pytest

from axiom.abi.boot import RegionKind, lane_stacks_bytes
from axiom.host.machine.events import BootEvent
from axiom.host.machine.requests import StartRequest
from axiom.host.machine.session import MachineName, SessionOptions, open_session
from axiom.host.model.pack import packed_model
from axiom.host.serve.generate import Generation, generate
from tests.support.metal import require_accelerator

MODELS = Path(__file__).parents[3] / "shared" / "models"
LANE_COUNTS: dict[MachineName, tuple[int, ...]] = {"hosted": (1, 2, 3), "tcg": (1, 2), "kvm": (1, 2)}
PROMPT = tuple(range(1, 40))
N_TOKENS = 24
LONGEST_START_SECONDS = 0.5

pytestmark = pytest.mark.skipif(not MODELS.is_dir(), reason=f"the reference models are not at {MODELS}")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def serve(machine: MachineName, n_lanes: int, cache: Path) -> tuple[Generation, BootEvent, dict[str, int]]:
    """Serve one request; also return the boot report and the counters at the end."""
    if machine in ("kvm", "tcg"):
        require_accelerator(machine)
    model = packed_model(MODELS / "stories260K-q8_0.gguf", cache / "models")
    with open_session(model, SessionOptions(machine, cpus=n_lanes, cache=cache)) as session:
        request = StartRequest(1, list(PROMPT), N_TOKENS, ignore_eos=True)
        made = generate(session.link, session.boot.tsc_hz, model.tokenizer, request)
        session.link.ask_counters()
        counters: Any = session.link.next_event(10.0)
    return made, session.boot, counters.counters


@pytest.mark.parametrize("machine", LANE_COUNTS)
def test_any_number_of_lanes_gives_the_same_bits(machine: MachineName, cache: Path) -> None:
    digests = {serve(machine, n_lanes, cache)[0].logits_digest for n_lanes in LANE_COUNTS[machine]}
    assert len(digests) == 1


@pytest.mark.parametrize("machine", ["tcg", "kvm"])
def test_the_boot_report_tells_how_many_lanes_there_are(machine: MachineName, cache: Path) -> None:
    _, boot, counters = serve(machine, 2, cache)
    stacks = [region.bytes for region in boot.regions if region.kind == RegionKind.LANE_STACKS]
    assert boot.n_lanes == 2
    assert 0 < boot.lane_start_cycles < LONGEST_START_SECONDS * boot.tsc_hz
    assert stacks == [lane_stacks_bytes(2)]
    assert (counters["exceptions"], counters["other_interrupts"]) == (0, 0)
