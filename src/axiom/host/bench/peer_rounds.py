"""The peer's turns of a comparison: as a process that is asked, or as a program that measures itself."""

from collections.abc import Callable, Sequence
from statistics import median

import numpy as np

from axiom.host.bench.facts import EnergyMeter
from axiom.host.bench.llama_bench import LlamaBench
from axiom.host.bench.peer import Peer, PeerSetting
from axiom.host.bench.plan import WARM_PROMPT
from axiom.host.bench.results import Comparison
from axiom.host.bench.samples import Samples

Measure = Callable[[Samples, int], None]


def random_tokens(n_vocab: int, count: int, seed: int) -> list[int]:
    """Return token ids that are the same in every run."""
    return [int(x) for x in np.random.default_rng(seed).integers(3, n_vocab, count)]


def add_energy(samples: Samples, arm: str, meter: EnergyMeter, n_tokens: int) -> None:
    """Note the energy per token since the meter was made, where the machine counts it."""
    used = meter.joules()
    if used is not None:
        samples.add(arm, "joules_per_token", used / n_tokens)


def rounds_of_process(peer: Peer, n_vocab: int, prompts: Sequence[int], n_decode: int) -> Measure:
    """Return what one turn of a process does: prompts, and tokens after a short one."""

    def measure(samples: Samples, number: int) -> None:
        peer.prefill_seconds(random_tokens(n_vocab, WARM_PROMPT, number))
        peer.decode_seconds(random_tokens(n_vocab, 2, number))
        for count in prompts:
            taken = peer.prefill_seconds(random_tokens(n_vocab, count, number))
            samples.add("peer", f"prefill_{count}_s", taken)
        peer.prefill_seconds(random_tokens(n_vocab, WARM_PROMPT, number))
        meter = EnergyMeter()
        times = peer.decode_seconds(random_tokens(n_vocab, n_decode, number))
        add_energy(samples, "peer", meter, n_decode)
        samples.add("peer", "round_token_s", median(times))

    return measure


def rounds_of_program(
    bench: LlamaBench, setting: PeerSetting, prompts: Sequence[int], n_decode: int, made: Comparison
) -> Measure:
    """Return what one turn of a llama-bench does; it notes in `made` of which build it is."""

    def measure(samples: Samples, number: int) -> None:
        found = bench.times(setting, prompts, n_decode)
        for count, taken in found.prefill_s.items():
            samples.add("peer", f"prefill_{count}_s", taken)
        samples.add("peer", "round_token_s", found.token_s)
        made.peer_system = f"llama-bench {found.build}".strip()

    return measure
