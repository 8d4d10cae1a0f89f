"""A whole comparison with a stand-in for the peer: what agrees is measured, what does not is refused."""

import sys
from pathlib import Path

import pytest

from axiom.host.bench.axiom_arm import axiom_arm
from axiom.host.bench.hosted_arm import hosted_arm
from axiom.host.bench.measure import compare
from axiom.host.bench.peer_choice import PeerChoice
from axiom.host.bench.peer_rounds import random_tokens
from axiom.host.bench.peer_settings import settings_to_try
from axiom.host.bench.plan import QUICK, Effort, Plan
from axiom.host.errors import MachineError, UserError
from axiom.host.machine.session import SessionOptions
from axiom.host.model.pack import packed_model
from axiom.host.model.packed_file import PackedModel
from axiom.models import bundled_model_path

EFFORT = Effort(
    rounds=1, decode_tokens=3, long_prompt=140, jitter_tokens=4, agreement_tokens=8, late_position=200
)
CONTEXT = 256
# Answers as llama.cpp's worker does; its logits come from a file, for lack of a model.
STAND_IN = """#!{python}
import json, shutil, sys
import numpy as np
for line in sys.stdin:
    request = json.loads(line)
    command = request["command"]
    if command == "load":
        result = {{"load_seconds": 0.1, "n_vocab": {n_vocab}, "system": "stand-in"}}
    elif command == "prefill":
        result = 0.5
    elif command == "decode":
        result = [0.1 + 0.001 * i for i in range(len(request["tokens"]))]
    elif command == "logits":
        logits = np.fromfile("{logits}", np.float32)
        logits.tofile(request["path"])
        result = len(request["tokens"])
    else:
        result = 10 ** 9
    print(json.dumps({{"result": result}}), flush=True)
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> PackedModel:
    return packed_model(bundled_model_path(), tmp_path_factory.mktemp("models"))


def options(n_context: int = CONTEXT) -> SessionOptions:
    return SessionOptions("hosted", 1, None, n_context)


def plan(model: PackedModel, folder: Path, logits: Path) -> Plan:
    interpreter = folder / "python"
    text = STAND_IN.format(python=sys.executable, n_vocab=model.shape.n_vocab, logits=logits)
    interpreter.write_text(text)
    interpreter.chmod(0o755)
    return planned(model, EFFORT, CONTEXT, PeerChoice(interpreter=interpreter))


def planned(model: PackedModel, effort: Effort, n_context: int, peer: PeerChoice) -> Plan:
    path = bundled_model_path()
    return Plan(
        model, path, options(n_context), effort, peer, lambda: 20.0, lambda setting: 40.0, lambda text: None
    )


def test_the_hosted_kernel_in_a_process_of_its_own_computes_the_same(
    model: PackedModel, tmp_path: Path
) -> None:
    tokens = random_tokens(model.shape.n_vocab, EFFORT.agreement_tokens, 1)
    with hosted_arm(model, options()) as far, far.awake():
        there = far.logits(tokens)
        assert far.prefill_seconds(tokens) > 0
        assert len(far.decode_seconds(tokens, 3)) == 3
    with axiom_arm(model, options()) as near:
        assert (near.logits(tokens) == there).all()


def test_a_comparison_has_every_line(model: PackedModel, tmp_path: Path) -> None:
    tokens = random_tokens(model.shape.n_vocab, EFFORT.agreement_tokens, 1)
    with axiom_arm(model, options()) as arm:
        arm.logits(tokens).tofile(tmp_path / "logits")
    made = compare(plan(model, tmp_path, tmp_path / "logits"))
    assert made.machine == "hosted"
    assert made.agreement is not None
    assert made.agreement.max_difference == 0
    lines = {one.metric: one for one in made.results}
    for name in ("decode_tok_s", "prefill_tok_s", "ttft_128_ms", "ttft_140_ms", "jitter_us"):
        assert lines[name].ratio is not None, name
    assert lines["start_to_first_token_ms"].ratio == 0.5
    assert lines["late_decode_fraction"].axiom is not None
    assert lines["weights_bandwidth_fraction"].axiom is not None
    assert len(made.samples.get("axiom", "weights_gb_s")) == EFFORT.rounds
    for place in ("before_axiom", "before_peer", "after"):
        assert len(made.samples.get("machine", f"read_{place}_gb_s")) == 3 * EFFORT.rounds
    assert len(made.samples.get("axiom", "token_s")) == EFFORT.jitter_tokens
    assert len(made.samples.get("machine", "floor_s")) == EFFORT.jitter_tokens
    assert len(made.samples.get("peer", "token_s")) == EFFORT.jitter_tokens


def test_no_speed_is_given_for_another_model(model: PackedModel, tmp_path: Path) -> None:
    tokens = random_tokens(model.shape.n_vocab, EFFORT.agreement_tokens, 1)
    with axiom_arm(model, options()) as arm:
        (-arm.logits(tokens)).tofile(tmp_path / "logits")
    with pytest.raises(MachineError, match="the outputs do not agree"):
        compare(plan(model, tmp_path, tmp_path / "logits"))


def test_every_kind_of_setting_is_tried() -> None:
    tried = settings_to_try(4)
    assert {s.threads for s in tried} == {4, 2}
    assert {s.repack for s in tried} == {s.flash_attention for s in tried} == {True, False}
    assert {s.threads for s in settings_to_try(1)} == {1}


def test_prompts_are_as_long_as_the_context_allows(model: PackedModel) -> None:
    def prompts(n_context: int) -> list[int]:
        return planned(model, QUICK, n_context, PeerChoice()).prompts

    assert prompts(512) == [128, 512]
    assert prompts(300) == [128, 300]
    assert prompts(100) == [100]


def test_a_context_without_room_is_refused(model: PackedModel) -> None:
    with pytest.raises(UserError, match="a context of 67 positions has no room") as caught:
        planned(model, QUICK, 67, PeerChoice())
    assert "--context 68" in (caught.value.hint or "")
    assert planned(model, QUICK, 68, PeerChoice()).n_context == 68
