"""Measure Axiom and a peer in turns on the same model: A B A B, each still while the other one runs."""

import os
from collections.abc import Generator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, median

from axiom.host.bench.agreeing import check_agreement
from axiom.host.bench.axiom_arm import AxiomArm, axiom_arm
from axiom.host.bench.bandwidth import AFTER, BEFORE_AXIOM, BEFORE_PEER, add_bandwidth
from axiom.host.bench.facts import EnergyMeter
from axiom.host.bench.hosted_arm import HostedArm, hosted_arm
from axiom.host.bench.llama_bench import LlamaBench
from axiom.host.bench.peer import Peer, PeerSetting
from axiom.host.bench.peer_rounds import (
    Measure,
    add_energy,
    random_tokens,
    rounds_of_process,
    rounds_of_program,
)
from axiom.host.bench.peer_settings import best_setting, fastest_start, running, settings_to_try
from axiom.host.bench.plan import JITTER_CHUNK, WARM_PROMPT, Plan
from axiom.host.bench.results import Comparison, Work, make_results
from axiom.host.bench.samples import Samples
from axiom.host.machine.held_file import HeldFile
from axiom.host.machine.probes import MachineProbe

LATE_TOKENS = 24
SWEEP_TOKENS = 64
MEETING_LANES = 2
PROBE_BYTES = 1 << 29
PAGE_BYTES = 4096
UNCOMPARED = (
    "outputs were not compared, because llama-bench gives none: that both compute the same is not shown"
)
UNTOLD = "llama-bench does not tell"
MEANS = "means of {count} tokens, as llama-bench gives them"
Arm = AxiomArm | HostedArm


@dataclass(frozen=True)
class _Opponent:
    """The peer and its best setting: a process, or a llama-bench, or neither."""

    setting: PeerSetting | None = None
    bench: LlamaBench | None = None


def compare(plan: Plan) -> Comparison:
    """Measure everything. Raises MachineError when the outputs do not agree."""
    peer_is = _opponent(plan)
    setting, interpreter = peer_is.setting, plan.peer.interpreter
    samples = Samples()
    with (
        MachineProbe(plan.options.cpus, PROBE_BYTES) as probe,
        MachineProbe(MEETING_LANES, PAGE_BYTES) as meeting,
        _axiom(plan) as axiom,
    ):
        made = Comparison([], samples, axiom.machine, plan.options.cpus)
        made.peer_setting = "" if setting is None else str(setting)
        if interpreter is not None and setting is not None:
            check_agreement(plan, axiom, interpreter, setting, made)
        with running(interpreter, plan.path, setting, plan.n_context) as peer:
            measure_peer = _peer_rounds(plan, peer, peer_is, made)
            for number in range(plan.effort.rounds):
                plan.say(f"round {number + 1} of {plan.effort.rounds}")
                _measure_machine(samples, probe, meeting, BEFORE_AXIOM)
                with axiom.awake():
                    _measure_axiom(plan, samples, axiom, number)
                if measure_peer is not None:
                    _measure_machine(samples, probe, meeting, BEFORE_PEER)
                    measure_peer(samples, number)
                _measure_machine(samples, probe, meeting, AFTER)
            _measure_jitter(plan, samples, axiom, peer, probe)
            _measure_late(plan, samples, axiom, peer)
            _measure_memory(plan, samples, peer)
    _measure_starts(plan, samples, setting if interpreter is not None else None)
    made.results = make_results(samples, _work(plan))
    return made


def _opponent(plan: Plan) -> _Opponent:
    cpus = plan.options.cpus
    if (bench := plan.peer.bench(plan.path)) is not None:
        return _Opponent(bench.best_setting(settings_to_try(cpus), plan.say), bench)
    if plan.peer.interpreter is None:
        return _Opponent()
    count = min(SWEEP_TOKENS, plan.n_context - WARM_PROMPT)
    tokens = random_tokens(plan.model.shape.n_vocab, count, 7)
    return _Opponent(best_setting(plan.peer.interpreter, plan.path, cpus, plan.n_context, tokens, plan.say))


def _peer_rounds(plan: Plan, peer: Peer | None, peer_is: _Opponent, made: Comparison) -> Measure | None:
    """Return what the peer does in a round."""
    n_decode = plan.effort.decode_tokens
    if peer is not None:
        made.peer_system = peer.system
        return rounds_of_process(peer, plan.model.shape.n_vocab, plan.prompts, n_decode)
    if peer_is.bench is None or peer_is.setting is None:
        return None
    made.uncompared = UNCOMPARED
    return rounds_of_program(peer_is.bench, peer_is.setting, plan.prompts, n_decode, made)


def _work(plan: Plan) -> Work:
    """Return what the lines of a report are made for."""
    work = Work(plan.wanted_prompts, plan.n_context, _token_bytes(plan))
    if plan.peer.program is None:
        return work
    return replace(work, untold=UNTOLD, means=MEANS.format(count=plan.effort.decode_tokens))


def _axiom(plan: Plan) -> AbstractContextManager[Arm]:
    if plan.options.machine == "hosted":
        return hosted_arm(plan.model, plan.options)
    return axiom_arm(plan.model, plan.options)


def _token_bytes(plan: Plan) -> int:
    return plan.memory().bytes_per_token


def _measure_machine(samples: Samples, probe: MachineProbe, meeting: MachineProbe, place: str) -> None:
    add_bandwidth(samples, probe, place)
    samples.add("machine", "meeting_ns", meeting.meeting_ns())


def _measure_axiom(plan: Plan, samples: Samples, axiom: Arm, number: int) -> None:
    n_vocab, effort = plan.model.shape.n_vocab, plan.effort
    # What Linux took from a machine that stood still comes back before anything is timed.
    axiom.decode_seconds(random_tokens(n_vocab, WARM_PROMPT, number), 2)
    for count in plan.prompts:
        taken = axiom.prefill_seconds(random_tokens(n_vocab, count, number))
        samples.add("axiom", f"prefill_{count}_s", taken)
    axiom.weights_gb_s()
    before = axiom.weights_gb_s()
    meter = EnergyMeter()
    times = axiom.decode_seconds(random_tokens(n_vocab, WARM_PROMPT, number), effort.decode_tokens)
    add_energy(samples, "axiom", meter, effort.decode_tokens)
    samples.add("axiom", "weights_gb_s", (before + axiom.weights_gb_s()) / 2)
    # As the peer does: a process tells all times, a llama-bench their mean.
    samples.add("axiom", "round_token_s", median(times) if plan.peer.program is None else fmean(times))


def _measure_jitter(
    plan: Plan, samples: Samples, axiom: Arm, peer: Peer | None, probe: MachineProbe
) -> None:
    """Some tokens, as many plain reads of the same bytes, as many of the peer's tokens, and again."""
    n_vocab, token_bytes = plan.model.shape.n_vocab, _token_bytes(plan)
    plan.say(f"latencies of {plan.effort.jitter_tokens} tokens")
    for number, first in enumerate(range(0, plan.effort.jitter_tokens, JITTER_CHUNK)):
        count = min(JITTER_CHUNK, plan.effort.jitter_tokens - first)
        prompt = random_tokens(n_vocab, WARM_PROMPT, number)
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
    quickest = None if setting is None else fastest_start(setting, plan.start_peer)
    for _ in range(plan.effort.rounds):
        with _in_memory(plan.model.path):
            plan.start_axiom()  # builds what is not in the cache yet, and has its programs in memory
            samples.add("axiom", "start_to_first_token_ms", plan.start_axiom())
        if quickest is not None:
            with _in_memory(plan.path):
                plan.start_peer(quickest)
                samples.add("peer", "start_to_first_token_ms", plan.start_peer(quickest))


@contextmanager
def _in_memory(path: Path) -> Generator[None]:
    """Keep a file in Linux's page cache during the block, from which it may otherwise go within seconds."""
    with closing(HeldFile(path)) as held:
        held.wait()
        yield
