"""Measure Axiom and a peer in turns on the same model: A B A B, each still while the other one runs."""

import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import numpy as np

from axiom.host.bench.agreement import Agreement, compare_logits
from axiom.host.bench.axiom_arm import AxiomArm, axiom_arm
from axiom.host.bench.facts import energy_joules
from axiom.host.bench.peer import Peer, PeerSetting
from axiom.host.bench.statistics import percentile, spread
from axiom.host.errors import MachineError
from axiom.host.machine.probes import MachineProbe
from axiom.host.machine.session import SessionOptions, plan_for
from axiom.host.model.packed_file import PackedModel

AGREEMENT_TOKENS = 32
START_PROMPT = 16
PROBE_BYTES = 1 << 29
PAGE_BYTES = 4096
MEETING_LANES = 2


@dataclass(frozen=True)
class Effort:
    """How often and how long. jitter_tokens: over all rounds."""

    rounds: int
    decode_tokens: int
    long_prompt: int
    jitter_tokens: int


QUICK = Effort(rounds=2, decode_tokens=16, long_prompt=256, jitter_tokens=64)
FULL = Effort(rounds=5, decode_tokens=48, long_prompt=512, jitter_tokens=2000)


@dataclass
class Samples:
    """What was measured, by arm ("axiom", "peer", "machine") and name."""

    values: dict[tuple[str, str], list[float]] = field(default_factory=dict[tuple[str, str], list[float]])

    def add(self, arm: str, name: str, *values: float) -> None:
        """Add measurements."""
        self.values.setdefault((arm, name), []).extend(values)

    def get(self, arm: str, name: str) -> list[float]:
        """Return all measurements, none when there were none."""
        return self.values.get((arm, name), [])


@dataclass(frozen=True)
class Result:
    """One line: medians; ratio is axiom / peer; spread is that of axiom. None: not measured."""

    metric: str
    axiom: float | None
    peer: float | None
    ratio: float | None
    spread: float
    note: str = ""


@dataclass
class Comparison:
    """Everything that a report needs."""

    results: list[Result]
    samples: Samples
    machine: str
    cpus: int
    peer_setting: str = ""
    peer_system: str = ""
    agreement: Agreement | None = None


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


def random_tokens(n_vocab: int, count: int, seed: int) -> list[int]:
    """Return token ids that are the same in every run."""
    return [int(x) for x in np.random.default_rng(seed).integers(3, n_vocab, count)]


@contextmanager
def _best_peer(plan: Plan, n_context: int) -> Generator[Peer | None]:
    """Open the peer in the setting that decodes fastest; settings that fail are passed over."""
    if plan.interpreter is None:
        yield None
        return
    tokens = random_tokens(plan.model.shape.n_vocab, 64, 7)
    tried: list[tuple[float, PeerSetting]] = []
    for repack in (True, False):
        for flash in (False, True):
            setting = PeerSetting(plan.options.cpus, flash, repack)
            try:
                with Peer(plan.interpreter, plan.path, setting, n_context) as peer:
                    taken = peer.prefill_seconds(tokens) + 2 * sum(peer.decode_seconds(tokens[:16]))
            except MachineError as error:
                plan.say(f"peer: {setting}: {error.message}")
                continue
            plan.say(f"peer: {setting}: {taken:.2f} s for 64 tokens of prompt and twice 16 tokens")
            tried.append((taken, setting))
    if not tried:
        raise MachineError("llama.cpp runs in none of its settings here.")
    best = min(tried, key=lambda pair: pair[0])[1]
    with Peer(plan.interpreter, plan.path, best, n_context) as peer:
        yield peer


def compare(plan: Plan) -> Comparison:
    """Measure everything. Raises MachineError when the outputs do not agree."""
    n_context = plan.options.n_context or plan_for(plan.model, None).config.engine.n_context
    samples = Samples()
    with (
        MachineProbe(plan.options.cpus, PROBE_BYTES) as probe,
        MachineProbe(MEETING_LANES, PAGE_BYTES) as meeting,
        _best_peer(plan, n_context) as peer,
        axiom_arm(plan.model, plan.options) as axiom,
    ):
        made = Comparison([], samples, axiom.session.machine, plan.options.cpus)
        if peer is not None:
            made.peer_setting, made.peer_system = str(peer.setting), peer.system
            made.agreement = _agree(plan, axiom, peer)
        for number in range(plan.effort.rounds):
            plan.say(f"round {number + 1} of {plan.effort.rounds}")
            _measure_machine(samples, probe, meeting)
            with axiom.awake():
                _measure_axiom(plan, samples, axiom, number)
            _measure_machine(samples, probe, meeting)
            if peer is not None:
                _measure_peer(plan, samples, peer, number)
        samples.add("axiom", "extra_memory_bytes", _extra_bytes(plan))
        if peer is not None:
            kept = os.path.getsize(plan.path) + _kv_bytes(plan, n_context)
            samples.add("peer", "extra_memory_bytes", max(0, peer.resident_bytes() - kept))
    plan.start_axiom()  # builds what is not in the cache yet
    for _ in range(plan.effort.rounds):
        samples.add("axiom", "start_to_first_token_ms", plan.start_axiom())
        if peer is not None:
            samples.add("peer", "start_to_first_token_ms", plan.start_peer(peer.setting))
    made.results = _results(plan, samples)
    return made


def _kv_bytes(plan: Plan, n_context: int) -> int:
    shape = plan.model.shape
    return 2 * 2 * shape.n_layers * shape.kv_dim * n_context


def _extra_bytes(plan: Plan) -> int:
    """Return the memory of all regions but the weights and the KV cache."""
    regions = plan_for(plan.model, plan.options.n_context, plan.options.cpus).config.regions
    return sum(region.bytes for region in regions if region.kind.name not in ("WEIGHTS", "KV_CACHE"))


def _agree(plan: Plan, axiom: AxiomArm, peer: Peer) -> Agreement:
    tokens = random_tokens(plan.model.shape.n_vocab, AGREEMENT_TOKENS, 1)
    with axiom.awake():
        mine = axiom.logits(tokens)
    found = compare_logits(mine, peer.logits(tokens))
    if not found.holds:
        raise MachineError(
            f"the outputs do not agree (mean divergence {found.mean_divergence:.3g} nats, "
            f"the same likeliest token at {found.top1:.0%} of {found.positions} positions).",
            "no speed is given for engines that compute different things",
        )
    return found


def _measure_machine(samples: Samples, probe: MachineProbe, meeting: MachineProbe) -> None:
    probe.read_gb_s()
    samples.add("machine", "read_gb_s", *(probe.read_gb_s() for _ in range(3)))
    samples.add("machine", "meeting_ns", meeting.meeting_ns())


def _measure_axiom(plan: Plan, samples: Samples, axiom: AxiomArm, number: int) -> None:
    n_vocab, effort = plan.model.shape.n_vocab, plan.effort
    for count in (128, effort.long_prompt):
        taken = axiom.prefill_seconds(random_tokens(n_vocab, count, number))
        samples.add("axiom", f"prefill_{count}_s", taken)
    before = energy_joules()
    times = axiom.decode_seconds(random_tokens(n_vocab, START_PROMPT, number), effort.decode_tokens)
    after = energy_joules()
    if before is not None and after is not None:
        samples.add("axiom", "joules_per_token", (after - before) / effort.decode_tokens)
    samples.add("axiom", "round_token_s", median(times))
    more = max(0, effort.jitter_tokens // effort.rounds - len(times))
    if more:
        times += axiom.decode_seconds(random_tokens(n_vocab, START_PROMPT, number), more)
    samples.add("axiom", "token_s", *times)


def _measure_peer(plan: Plan, samples: Samples, peer: Peer, number: int) -> None:
    n_vocab, effort = plan.model.shape.n_vocab, plan.effort
    for count in (128, effort.long_prompt):
        samples.add(
            "peer", f"prefill_{count}_s", peer.prefill_seconds(random_tokens(n_vocab, count, number))
        )
    peer.prefill_seconds(random_tokens(n_vocab, START_PROMPT, number))
    before = energy_joules()
    times = peer.decode_seconds(random_tokens(n_vocab, effort.decode_tokens, number))
    after = energy_joules()
    if before is not None and after is not None:
        samples.add("peer", "joules_per_token", (after - before) / effort.decode_tokens)
    samples.add("peer", "round_token_s", median(times))
    more = max(0, effort.jitter_tokens // effort.rounds - len(times))
    if more:
        times += peer.decode_seconds(random_tokens(n_vocab, more, number))
    samples.add("peer", "token_s", *times)


def _pair(metric: str, mine: list[float], other: list[float], note: str = "") -> Result:
    first, second = median(mine) if mine else None, median(other) if other else None
    ratio = first / second if first is not None and second else None
    return Result(metric, first, second, ratio, spread(mine), note)


def _results(plan: Plan, samples: Samples) -> list[Result]:
    long = plan.effort.long_prompt
    read = median(samples.get("machine", "read_gb_s")) * 1e9
    token_bytes = plan_for(plan.model, plan.options.n_context).bytes_per_token

    def both(metric: str, name: str, change: Callable[[float], float], note: str = "") -> Result:
        mine, other = ([change(v) for v in samples.get(arm, name)] for arm in ("axiom", "peer"))
        return _pair(metric, mine, other, note)

    def jitter(arm: str) -> list[float]:
        times = samples.get(arm, "token_s")
        return [(percentile(times, 99) - percentile(times, 50)) * 1e6] if times else []

    energy = "" if samples.get("axiom", "joules_per_token") else "not measurable here"
    return [
        both("decode_tok_s", "round_token_s", lambda s: 1 / s),
        both("bandwidth_fraction", "round_token_s", lambda s: token_bytes / s / read),
        both("prefill_tok_s", f"prefill_{long}_s", lambda s: long / s, f"{long} tokens"),
        both("ttft_128_ms", "prefill_128_s", lambda s: s * 1e3),
        both(f"ttft_{long}_ms", f"prefill_{long}_s", lambda s: s * 1e3),
        both("start_to_first_token_ms", "start_to_first_token_ms", lambda s: s),
        _pair("jitter_us", jitter("axiom"), jitter("peer"), "p99 minus p50"),
        both("extra_memory_bytes", "extra_memory_bytes", lambda s: s),
        both("joules_per_token", "joules_per_token", lambda s: s, energy),
    ]
