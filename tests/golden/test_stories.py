"""The whole path against a trained model's reference outputs, on every machine that runs here.

References: ids and logits of a float64 forward pass on the weights of each file.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from axiom.host.machine.events import TraceEvent
from axiom.host.machine.requests import StartRequest
from axiom.host.machine.session import MachineName, SessionOptions, open_session, plan_for
from axiom.host.model.pack import packed_model
from axiom.host.serve.generate import Generation, generate
from tests.support.metal import require_accelerator

MODELS = Path(__file__).parents[3] / "shared" / "models"
MACHINES: tuple[MachineName, ...] = ("hosted", "tcg", "kvm")
TOLERANCE = {"f32": 2e-4, "f32-untied": 2e-4, "f16": 0.05, "q8_0": 0.6, "q4_0": 0.6}
DIGEST_STEPS = 64
_digests: dict[str, tuple[str, list[int]]] = {}

pytestmark = pytest.mark.skipif(not MODELS.is_dir(), reason=f"the reference models are not at {MODELS}")


def reference(name: str) -> dict[str, Any]:
    return json.loads((MODELS / f"stories260K-{name}.ref.json").read_text())


def serve(
    name: str, machine: MachineName, cache: Path, requests: list[StartRequest]
) -> tuple[list[Generation], dict[str, int]]:
    """Run requests one after another on one machine; also return the kernel's counters."""
    if machine in ("kvm", "tcg"):
        require_accelerator(machine)
    model = packed_model(MODELS / f"stories260K-{name}.gguf", cache / "models")
    with open_session(model, SessionOptions(machine, cache=cache)) as session:
        done = [generate(session.link, session.boot.tsc_hz, model.tokenizer, r) for r in requests]
        session.link.ask_counters()
        counters: Any = session.link.next_event(10.0)
    return done, counters.counters


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("name", ["f32", "f32-untied"])
def test_greedy_ids_equal_the_reference(name: str, machine: MachineName, cache: Path) -> None:
    prompts = reference(name)["prompts"]
    requests = [
        StartRequest(i, p["prompt_ids"], len(p["greedy_ids"]), ignore_eos=True)
        for i, p in enumerate(prompts)
    ]
    done, _ = serve(name, machine, cache, requests)
    assert [made.ids for made in done] == [p["greedy_ids"] for p in prompts]


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("name", list(TOLERANCE))
def test_first_logits_are_near_the_reference(name: str, machine: MachineName, cache: Path) -> None:
    prompts = reference(name)["prompts"]
    requests = [StartRequest(i, p["prompt_ids"], 1, send_logits=True) for i, p in enumerate(prompts)]
    done, _ = serve(name, machine, cache, requests)
    for made, prompt in zip(done, prompts, strict=True):
        logits = np.concatenate([event.logits for event in made.logits])
        assert np.abs(logits - np.array(prompt["first_step_logits"])).max() <= TOLERANCE[name]


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("name", list(TOLERANCE))
def test_logits_are_the_same_bits_on_every_machine(name: str, machine: MachineName, cache: Path) -> None:
    prompt = reference(name)["prompts"][0]["prompt_ids"]
    request = StartRequest(1, prompt, DIGEST_STEPS, ignore_eos=True)
    (made,), _ = serve(name, machine, cache, [request])
    assert len(made.ids) == DIGEST_STEPS
    first_machine, facts = _digests.setdefault(name, (machine, [made.logits_digest, *made.ids]))
    assert facts == [made.logits_digest, *made.ids], f"{machine} and {first_machine} differ"


@pytest.mark.parametrize("machine", ["tcg", "kvm"])
def test_only_the_timer_interrupts(machine: MachineName, cache: Path) -> None:
    request = StartRequest(1, [1], 256, ignore_eos=True)
    (made,), counters = serve("f32", machine, cache, [request])
    assert len(made.ids) == 256
    assert counters["exceptions"] == 0
    assert counters["other_interrupts"] == 0
    assert counters["refused_allocations"] == 0


def test_the_logits_of_every_position_of_a_prompt_come_in_order(cache: Path) -> None:
    prompt = reference("q8_0")["prompts"][0]["greedy_ids"][:20]
    wanted = StartRequest(1, prompt, 1, send_logits=True, prompt_logits=True)
    alone = StartRequest(2, prompt[:7], 1, send_logits=True)
    (made, last), _ = serve("q8_0", "hosted", cache, [wanted, alone])
    assert [e.number for e in made.logits if e.of_prompt] == list(range(len(prompt) - 1))
    assert [e.number for e in made.logits if not e.of_prompt] == [0]
    assert np.array_equal(made.logits[6].logits, last.logits[0].logits)


@pytest.mark.parametrize("machine", MACHINES)
def test_the_trace_names_every_operation_in_order(machine: MachineName, cache: Path) -> None:
    if machine in ("kvm", "tcg"):
        require_accelerator(machine)
    model = packed_model(MODELS / "stories260K-q8_0.gguf", cache / "models")
    operations = plan_for(model, None).operations
    with open_session(model, SessionOptions(machine, cache=cache)) as session:
        request = StartRequest(1, [1, 403, 407], 3, ignore_eos=True, trace=True)
        generate(session.link, session.boot.tsc_hz, model.tokenizer, request)
        session.link.ask_trace()
        parts: list[TraceEvent] = []
        while not parts or len(parts[-1].records):
            event = session.link.next_event(10.0)
            assert isinstance(event, TraceEvent)
            parts.append(event)
    records: Any = np.concatenate([part.records for part in parts])
    walk = list(range(len(operations) - 1))  # the last one, sampling, is no work for lanes
    assert records["operation"].tolist() == walk * 3
    assert records["n_tokens"][0] == 3
    assert (records["begin_cycles"] < records["end_cycles"]).all()
    assert (records["end_cycles"][:-1] <= records["begin_cycles"][1:]).all()
