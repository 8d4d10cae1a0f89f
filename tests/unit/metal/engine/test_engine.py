"""The engine on the small trained model: its numbers, and its states."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from axiom.abi.link import FLAG_IGNORE_EOS, FLAG_PROMPT_LOGITS, DoneReason
from axiom.lang import u32
from axiom.metal.engine import schedule as schedule_module
from axiom.metal.engine.sequence import Phase, StartStatus, StepEvent
from tests.support.checksums import crc32c
from tests.support.engine_runs import EngineRun, Generated, request
from tests.support.small_model import SmallModel, load_small_model
from tests.support.targets import HOSTED_TARGETS, TARGETS

NAMES = ("f32", "f32-untied", "f16", "q8_0", "q4_0")
TOLERANCE = {"f32": 2e-4, "f32-untied": 2e-4, "f16": 0.05, "q8_0": 0.6, "q4_0": 0.6}
# Where the reference rounds no activations either, its 128 tokens must come out.
EXACT = ("f32", "f32-untied", "f16")


@cache
def model(name: str, n_context: int = 512, kv_type: str = "f32") -> SmallModel:
    return load_small_model(name, n_context, kv_type)


@cache
def engine(name: str, target: str, n_context: int = 512, kv_type: str = "f32") -> EngineRun:
    packed = model(name, n_context, kv_type)
    return EngineRun(packed.spec, packed.weights, target)


def generated_bits(made: Generated) -> tuple[list[int], list[bytes], int]:
    return made.tokens, [step.tobytes() for step in made.logits], made.digest


@pytest.mark.parametrize("name", NAMES)
def test_the_oracle_gives_the_first_logits_of_the_reference(name: str) -> None:
    case = model(name).reference["prompts"][0]
    made = engine(name, "python").generate(request(), case["prompt_ids"])
    assert np.abs(made.logits[0] - case["first_step_logits"]).max() < TOLERANCE[name]
    assert made.tokens == case["greedy_ids"][:1]


@pytest.mark.parametrize("target", HOSTED_TARGETS)
@pytest.mark.parametrize("name", NAMES)
def test_every_prompt_gives_the_logits_and_tokens_of_the_reference(name: str, target: str) -> None:
    for case in model(name).reference["prompts"]:
        made = engine(name, target).generate(request(max_new=128), case["prompt_ids"])
        assert np.abs(made.logits[0] - case["first_step_logits"]).max() < TOLERANCE[name]
        assert made.reason == DoneReason.LENGTH
        if name in EXACT:
            assert made.tokens == case["greedy_ids"]


@pytest.mark.parametrize("target", HOSTED_TARGETS)
@pytest.mark.parametrize("kv_type", ["f32", "f16", "q8_0"])
@pytest.mark.parametrize("name", ["f32", "q4_0"])
def test_compiled_logits_have_the_bits_of_the_oracle(name: str, kv_type: str, target: str) -> None:
    wanted = {"max_new": 2, "temperature": 0.9, "top_k": 40, "top_p": 0.95, "seed": 11}
    oracle = engine(name, "python", 512, kv_type).generate(request(**wanted), [1, 403])
    compiled = engine(name, target, 512, kv_type).generate(request(**wanted), [1, 403])
    assert generated_bits(oracle) == generated_bits(compiled)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kv_type", ["f32", "f16", "q8_0"])
def test_every_processor_gives_the_same_bits(name: str, kv_type: str) -> None:
    wanted = request(max_new=64, temperature=1.0, top_p=0.9, seed=3)
    made = [engine(name, target, 512, kv_type).generate(wanted, [1, 403, 407]) for target in HOSTED_TARGETS]
    assert generated_bits(made[0]) == generated_bits(made[1])


@pytest.mark.parametrize("target", HOSTED_TARGETS)
def test_an_f16_cache_stays_near_the_reference(target: str) -> None:
    case = model("f32").reference["prompts"][4]
    made = engine("f32", target, 512, "f16").generate(request(), case["prompt_ids"])
    assert np.abs(made.logits[0] - case["first_step_logits"]).max() < 0.05


@pytest.mark.parametrize("target", HOSTED_TARGETS)
def test_a_sequence_does_not_depend_on_what_ran_before(target: str) -> None:
    run = engine("q8_0", target)
    wanted = request(max_new=20, temperature=0.8, seed=5)
    first = run.generate(wanted, [1, 403])
    run.generate(request(max_new=50, temperature=1.5, seed=6), [1, 291, 376])
    assert generated_bits(run.generate(wanted, [1, 403])) == generated_bits(first)
    other = run.generate(request(max_new=20, temperature=0.8, seed=7), [1, 403])
    assert other.tokens != first.tokens


@pytest.mark.parametrize("target", HOSTED_TARGETS)
def test_a_prompt_and_the_same_tokens_generated_lead_to_the_same_logits(target: str) -> None:
    run = engine("q4_0", target)
    made = run.generate(request(max_new=5), [1, 403])
    again = run.generate(request(max_new=1), [1, 403, *made.tokens[:4]])
    assert again.logits[0].tobytes() == made.logits[4].tobytes()


@pytest.mark.parametrize("target", TARGETS)
def test_a_request_that_cannot_be_served_is_refused(target: str) -> None:
    run = engine("f32", target, 4)
    assert run.start(request(), []) == StartStatus.PROMPT_EMPTY
    assert run.start(request(), [1] * 5) == StartStatus.PROMPT_TOO_LONG
    assert run.start(request(), [1, 512]) == StartStatus.BAD_TOKEN
    nan, inf = float("nan"), float("inf")
    for wrong in (
        {"max_new": 0},
        {"temperature": -0.5},
        {"temperature": nan},
        {"temperature": inf},
        {"top_p": 0.0},
        {"top_p": 1.5},
        {"top_p": nan},
        {"n_eos": 9},
    ):
        assert run.start(request(**wrong), [1]) == StartStatus.BAD_PARAMETERS
    assert run.step() == StepEvent.IDLE


@pytest.mark.parametrize("target", HOSTED_TARGETS)
def test_the_states_follow_one_another(target: str) -> None:
    run = engine("f32", target)
    assert run.start(request(max_new=2), [1, 403]) == StartStatus.OK
    assert run.start(request(), [1]) == StartStatus.BUSY
    events: list[StepEvent] = []
    while not events or events[-1] != StepEvent.DONE:
        events.append(run.step())
    assert [e for e in events if e != StepEvent.BUSY] == [StepEvent.TOKEN] * 2 + [StepEvent.DONE]
    assert run.state.phase == Phase.IDLE
    assert run.step() == StepEvent.IDLE
    state = run.state
    assert int(state.token_index) == 1
    assert 0 < state.start_cycles.value <= state.first_token_cycles.value
    assert state.first_token_cycles.value <= state.token_cycles.value <= state.end_cycles.value


@pytest.mark.parametrize("target", HOSTED_TARGETS)
def test_a_sequence_ends_at_an_eos_token_unless_told_to_ignore_it(target: str) -> None:
    run = engine("f32", target)
    greedy = run.generate(request(max_new=8), [1]).tokens
    wanted = request(max_new=8, n_eos=2)
    wanted.eos_ids[0], wanted.eos_ids[1] = u32(500), u32(greedy[3])
    made = run.generate(wanted, [1])
    assert (made.tokens, made.reason) == (greedy[:4], DoneReason.EOS)
    wanted.flags = u32(FLAG_IGNORE_EOS)
    assert run.generate(wanted, [1]).tokens == greedy


@pytest.mark.parametrize("target", HOSTED_TARGETS)
def test_a_full_context_ends_the_sequence(target: str) -> None:
    long = engine("f32", target).generate(request(max_new=4), [1, 403])
    run = engine("f32", target, 4)
    made = run.generate(request(max_new=10), [1, 403])
    assert (made.tokens, made.reason) == (long.tokens[:3], DoneReason.CONTEXT_FULL)
    made = run.generate(request(max_new=10), [1, 403, *long.tokens[:2]])
    assert (made.tokens, made.reason) == (long.tokens[2:3], DoneReason.CONTEXT_FULL)


@pytest.mark.parametrize("target", TARGETS)
def test_cancel_ends_with_done_and_frees_the_engine(target: str) -> None:
    run = engine("f32", target, 4)
    run.cancel()
    assert run.step() == StepEvent.IDLE
    assert run.start(request(max_new=10), [1]) == StartStatus.OK
    assert [run.step() for _ in range(3)] == [StepEvent.BUSY] * 3
    run.cancel()
    assert run.step() == StepEvent.DONE
    assert run.state.finish_reason == DoneReason.CANCELLED
    assert run.start(request(), [1]) == StartStatus.OK
    run.cancel()
    assert run.step() == StepEvent.DONE


@pytest.mark.parametrize("target", HOSTED_TARGETS)
def test_the_digest_is_the_crc32c_of_all_logits(target: str) -> None:
    made = engine("q8_0", target).generate(request(max_new=3), [1, 403])
    assert made.digest == crc32c(b"".join(step.tobytes() for step in made.logits))


@pytest.mark.parametrize("target", HOSTED_TARGETS)
@pytest.mark.parametrize("name", ["f32", "f16", "q8_0", "q4_0"])
def test_batches_and_lanes_change_no_bit(name: str, target: str) -> None:
    packed = model(name, 64)
    prompt = [1, 403, 407, 261, 378, 298, 411, 286, 261, 289, 400, 317, 263, 419, 310, 292, 278, 401, 266]
    plain = EngineRun(replace(packed.spec, n_batch=1), packed.weights, target)
    expected = generated_bits(plain.generate(request(max_new=6), prompt))
    for n_batch, n_lanes in ((2, 2), (7, 3), (16, 5), (128, 1)):
        spec = replace(packed.spec, n_batch=n_batch, n_lanes=n_lanes)
        made = EngineRun(spec, packed.weights, target).generate(request(max_new=6), prompt)
        assert generated_bits(made) == expected


def test_lanes_that_take_parts_from_one_another_change_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule_module, "LEAST_SHARED_OUT_MULTIPLY_ADDS", 0)
    packed = model("q4_0", 64)
    prompt = [1, 403, 407, 261, 378, 298, 411, 286, 261, 289, 400, 317, 263, 419, 310, 292, 278, 401, 266]
    plain = EngineRun(packed.spec, packed.weights, "hosted-v3").generate(request(max_new=6), prompt)
    spec = replace(packed.spec, n_batch=8, n_lanes=3)
    with ThreadPoolExecutor(spec.n_lanes) as pool:
        run = EngineRun(spec, packed.weights, "hosted-v3", pool)
        assert sum(o.is_shared_out for o in run.engine.schedule.operations) > 4 * spec.shape.n_layers
        for _ in range(5):
            assert generated_bits(run.generate(request(max_new=6), prompt)) == generated_bits(plain)


def test_a_step_in_pieces_changes_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    packed = model("q8_0", 64)
    prompt = [1, 403, 407, 261, 378, 298, 411]
    expected = generated_bits(
        EngineRun(packed.spec, packed.weights, "hosted-v3").generate(request(), prompt)
    )
    monkeypatch.setattr(schedule_module, "MAX_SHARE_MULTIPLY_ADDS", 2**14)
    spec = replace(packed.spec, n_lanes=2)
    run = EngineRun(spec, packed.weights, "hosted-v3")
    assert max(o.n_pieces for o in run.engine.schedule.operations) > 10
    assert generated_bits(run.generate(request(), prompt)) == expected


def test_the_logits_of_every_position_of_a_prompt_can_be_had() -> None:
    packed = model("f32", 64)
    prompt = [1, 403, 407, 261, 378]
    run = EngineRun(replace(packed.spec, n_batch=3), packed.weights, "hosted-v3")
    wanted = request(flags=FLAG_PROMPT_LOGITS)
    made = run.generate(wanted, prompt)
    assert len(made.prompt_logits) == len(prompt) - 1
    for position, logits in enumerate(made.prompt_logits):
        alone = run.generate(request(), prompt[: position + 1])
        assert alone.logits[0].tobytes() == logits.tobytes()
    assert made.logits[0].tobytes() == run.generate(request(), prompt).logits[0].tobytes()
