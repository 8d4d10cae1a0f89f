"""Measure Axiom and a peer in turns on the same model: A B A B, each still while the other one runs."""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import numpy as np

from axiom.host.bench.agreement import Agreement, compare_logits
from axiom.host.bench.axiom_arm import AxiomArm, axiom_arm
from axiom.host.bench.facts import energy_joules
from axiom.host.bench.hosted_arm import HostedArm, hosted_arm
from axiom.host.bench.peer import Peer, PeerSetting
from axiom.host.bench.peer_settings import best_setting, fastest_start, running
from axiom.host.bench.results import Comparison, Samples, make_results
from axiom.host.errors import MachineError
from axiom.host.image.plan import MemoryPlan
from axiom.host.machine.probes import MachineProbe
from axiom.host.machine.session import SessionOptions, plan_for
from axiom.host.model.packed_file import PackedModel

START_PROMPT = 16
SHORT_PROMPT = 128
LATE_TOKENS = 24
JITTER_CHUNK = 50
PROBE_BYTES = 1 << 29
PAGE_BYTES = 4096
MEETING_LANES = 2
Arm = AxiomArm | HostedArm


@dataclass(frozen=True)
class Effort:
    """How often and how long. late_position: where decoding is measured again, if there is context."""

    rounds: int
    decode_tokens: int
    long_prompt: int
    jitter_tokens: int
    agreement_tokens: int
    late_position: int


QUICK = Effort(
    rounds=2, decode_tokens=16, long_prompt=256, jitter_tokens=100, agreement_tokens=32, late_position=1024
)
FULL = Effort(
    rounds=5,
    decode_tokens=48,
    long_prompt=512,
    jitter_tokens=2000,
    agreement_tokens=256,
    late_position=4096,
)


@dataclass(frozen=True)
class Plan:
    """What to compare. start_axiom, start_peer: milliseconds from a process's start to a first token."""

    model: PackedModel
    path: Path
    options: SessionOptions
    effort: Effort
    interpreter: Path | None
    start_axiom: Callable[[], float]
    start_peer: Callable[[PeerSetting], float]
    say: Callable[[str], None]

    @property
    def n_context(self) -> int:
        """The positions of either arm's context."""
        return self.options.n_context or self.memory().config.engine.n_context

    def memory(self) -> MemoryPlan:
        """Return Axiom's memory plan."""
        options = self.options
        return plan_for(self.model, options.n_context, options.cpus, options.kv_type)


def random_tokens(n_vocab: int, count: int, seed: int) -> list[int]:
    """Return token ids that are the same in every run."""
    return [int(x) for x in np.random.default_rng(seed).integers(3, n_vocab, count)]


def compare(plan: Plan) -> Comparison:
    """Measure everything. Raises MachineError when the outputs do not agree."""
    setting = None
    if plan.interpreter is not None:
        tokens = random_tokens(plan.model.shape.n_vocab, 64, 7)
        n_context, cpus = plan.n_context, plan.options.cpus
        setting = best_setting(plan.interpreter, plan.path, cpus, n_context, tokens, plan.say)
    samples = Samples()
    with (
        MachineProbe(plan.options.cpus, PROBE_BYTES) as probe,
        MachineProbe(MEETING_LANES, PAGE_BYTES) as meeting,
        _axiom(plan) as axiom,
    ):
        made = Comparison([], samples, axiom.machine, plan.options.cpus)
        if setting is not None:
            _agree(plan, axiom, setting, made)
        with running(plan.interpreter, plan.path, setting, plan.n_context) as peer:
            if peer is not None:
                made.peer_setting, made.peer_system = str(peer.setting), peer.system
            for number in range(plan.effort.rounds):
                plan.say(f"round {number + 1} of {plan.effort.rounds}")
                _measure_machine(samples, probe, meeting)
                with axiom.awake():
                    _measure_axiom(plan, samples, axiom, number)
                _measure_machine(samples, probe, meeting)
                if peer is not None:
                    _measure_peer(plan, samples, peer, number)
                    _measure_machine(samples, probe, meeting)
            _measure_jitter(plan, samples, axiom, peer, probe)
            _measure_late(plan, samples, axiom, peer)
            _measure_memory(plan, samples, peer)
    _measure_starts(plan, samples, setting)
    prompts = (SHORT_PROMPT, plan.effort.long_prompt)
    made.results = make_results(samples, prompts, _token_bytes(plan))
    return made


def _axiom(plan: Plan) -> AbstractContextManager[Arm]:
    if plan.options.machine == "hosted":
        return hosted_arm(plan.model, plan.options)
    return axiom_arm(plan.model, plan.options)


def _token_bytes(plan: Plan) -> int:
    return plan.memory().bytes_per_token


def _agree(plan: Plan, axiom: Arm, setting: PeerSetting, made: Comparison) -> None:
    """Compare all with the peer without its repacked kernels; its own, with them, are the yardstick."""
    assert plan.interpreter is not None
    count = min(plan.effort.agreement_tokens, plan.n_context - 1)
    tokens = random_tokens(plan.model.shape.n_vocab, count, 1)
    plan.say(f"comparing the logits of {count} positions")
    with axiom.awake():
        mine = axiom.logits(tokens)
    with Peer(plan.interpreter, plan.path, replace(setting, repack=False), plan.n_context) as peer:
        plain = peer.logits(tokens)
    made.agreement = found = compare_logits(mine, plain)
    del mine
    if not found.holds:
        raise MachineError(
            f"the outputs do not agree (mean divergence {found.mean_divergence:.3g} nats, "
            f"the same likeliest token at {found.top1:.0%} of {found.positions} positions).",
            "no speed is given for engines that compute different things",
        )
    made.yardstick = _yardstick(plan, setting, tokens, plain)


def _yardstick(
    plan: Plan,
    setting: PeerSetting,
    tokens: list[int],
    plain: np.ndarray[tuple[int, ...], np.dtype[np.float32]],
) -> Agreement | None:
    assert plan.interpreter is not None
    try:
        with Peer(plan.interpreter, plan.path, replace(setting, repack=True), plan.n_context) as peer:
            return compare_logits(peer.logits(tokens), plain)
    except MachineError as error:
        plan.say(f"peer, repacked: {error.message}")
        return None


def _measure_machine(samples: Samples, probe: MachineProbe, meeting: MachineProbe) -> None:
    probe.read_gb_s()
    for _ in range(3):
        samples.add("machine", "read_gb_s", probe.read_gb_s())
        samples.add("machine", "read_ahead_gb_s", probe.read_ahead_gb_s())
    samples.add("machine", "meeting_ns", meeting.meeting_ns())


def _measure_axiom(plan: Plan, samples: Samples, axiom: Arm, number: int) -> None:
    n_vocab, effort = plan.model.shape.n_vocab, plan.effort
    # What Linux took from a machine that stood still comes back before anything is timed.
    axiom.decode_seconds(random_tokens(n_vocab, START_PROMPT, number), 2)
    for count in (SHORT_PROMPT, effort.long_prompt):
        taken = axiom.prefill_seconds(random_tokens(n_vocab, count, number))
        samples.add("axiom", f"prefill_{count}_s", taken)
    before = energy_joules()
    times = axiom.decode_seconds(random_tokens(n_vocab, START_PROMPT, number), effort.decode_tokens)
    _add_energy(samples, "axiom", before, effort.decode_tokens)
    samples.add("axiom", "round_token_s", median(times))


def _measure_peer(plan: Plan, samples: Samples, peer: Peer, number: int) -> None:
    n_vocab, effort = plan.model.shape.n_vocab, plan.effort
    peer.prefill_seconds(random_tokens(n_vocab, START_PROMPT, number))
    peer.decode_seconds(random_tokens(n_vocab, 2, number))
    for count in (SHORT_PROMPT, effort.long_prompt):
        taken = peer.prefill_seconds(random_tokens(n_vocab, count, number))
        samples.add("peer", f"prefill_{count}_s", taken)
    peer.prefill_seconds(random_tokens(n_vocab, START_PROMPT, number))
    before = energy_joules()
    times = peer.decode_seconds(random_tokens(n_vocab, effort.decode_tokens, number))
    _add_energy(samples, "peer", before, effort.decode_tokens)
    samples.add("peer", "round_token_s", median(times))


def _add_energy(samples: Samples, arm: str, before: float | None, n_tokens: int) -> None:
    after = energy_joules()
    if before is not None and after is not None:
        samples.add(arm, "joules_per_token", (after - before) / n_tokens)


def _measure_jitter(
    plan: Plan, samples: Samples, axiom: Arm, peer: Peer | None, probe: MachineProbe
) -> None:
    """Some tokens, as many plain reads of the same bytes, as many of the peer's tokens, and again."""
    n_vocab, token_bytes = plan.model.shape.n_vocab, _token_bytes(plan)
    plan.say(f"latencies of {plan.effort.jitter_tokens} tokens")
    for number, first in enumerate(range(0, plan.effort.jitter_tokens, JITTER_CHUNK)):
        count = min(JITTER_CHUNK, plan.effort.jitter_tokens - first)
        prompt = random_tokens(n_vocab, START_PROMPT, number)
        with axiom.awake():
            samples.add("axiom", "token_s", *axiom.decode_seconds(prompt, count + 1)[1:])
        probe.read_seconds(token_bytes)
        samples.add("machine", "floor_s", *(probe.read_seconds(token_bytes) for _ in range(count)))
        if peer is not None:
            peer.prefill_seconds(prompt)
            times = peer.decode_seconds(random_tokens(n_vocab, count + 1, number))
            samples.add("peer", "token_s", *times[1:])


def _measure_late(plan: Plan, samples: Samples, axiom: Arm, peer: Peer | None) -> None:
    """Decode after a long text, where the context is long enough for it."""
    position = plan.effort.late_position - LATE_TOKENS // 2
    if plan.n_context < position + LATE_TOKENS + 2:
        return
    plan.say(f"decoding after {position} tokens")
    samples.add("machine", "late_position", position)
    n_vocab = plan.model.shape.n_vocab
    prompt = random_tokens(n_vocab, position, 5)
    with axiom.awake():
        samples.add("axiom", "late_token_s", *axiom.decode_seconds(prompt, LATE_TOKENS))
    if peer is not None:
        peer.prefill_seconds(prompt)
        samples.add("peer", "late_token_s", *peer.decode_seconds(random_tokens(n_vocab, LATE_TOKENS, 6)))


def _measure_memory(plan: Plan, samples: Samples, peer: Peer | None) -> None:
    """Note the memory beside the weights and the KV cache."""
    regions = plan.memory().config.regions
    kept = {kind: sum(r.bytes for r in regions if r.kind.name == kind) for kind in ("WEIGHTS", "KV_CACHE")}
    samples.add("axiom", "extra_memory_bytes", sum(r.bytes for r in regions) - sum(kept.values()))
    if peer is not None:
        shape = plan.model.shape
        mapped = os.path.getsize(plan.path) + 2 * 2 * shape.n_layers * shape.kv_dim * plan.n_context
        samples.add("peer", "extra_memory_bytes", max(0, peer.resident_bytes() - mapped))


def _measure_starts(plan: Plan, samples: Samples, setting: PeerSetting | None) -> None:
    plan.say("starts")
    plan.start_axiom()  # builds what is not in the cache yet
    quickest = None if setting is None else fastest_start(setting, plan.start_peer)
    for _ in range(plan.effort.rounds):
        samples.add("axiom", "start_to_first_token_ms", plan.start_axiom())
        if quickest is not None:
            samples.add("peer", "start_to_first_token_ms", plan.start_peer(quickest))
