"""From samples to the lines of a comparison: medians, ratios and spreads."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import median

from axiom.host.bench.agreement import Agreement, Limits
from axiom.host.bench.bandwidth import around, describe
from axiom.host.bench.samples import ARMS, Samples
from axiom.host.bench.statistics import percentile, spread

# A read of fixed halves takes as long as the slower core; a token's rest goes to who is first through.
ABOVE_ONE = "as a read waits for the slower core, or as few weights stay in the caches"
OWN_BANDWIDTH = "of the kernel's own plain read of all weights where they lie, right before and after it"


@dataclass(frozen=True)
class Result:
    """One line: medians; ratio is axiom / peer; the spreads are of each arm. None: not measured."""

    metric: str
    axiom: float | None
    peer: float | None
    ratio: float | None
    spread: float
    peer_spread: float = 0.0
    note: str = ""


@dataclass
class Comparison:
    """Everything that a report needs. yardstick: how two of the peer's own settings agree.

    limits: what the agreement had to keep to. uncompared: why no outputs were compared, where none were.
    """

    results: list[Result]
    samples: Samples
    machine: str
    cpus: int
    peer_setting: str = ""
    peer_system: str = ""
    agreement: Agreement | None = None
    yardstick: Agreement | None = None
    limits: Limits | None = None
    uncompared: str = ""

    @property
    def over_yardstick(self) -> float | None:
        """How often the yardstick's divergence goes into Axiom's; None where there is no yardstick."""
        if self.agreement is None or self.yardstick is None or not self.yardstick.mean_divergence > 0:
            return None
        return self.agreement.mean_divergence / self.yardstick.mean_divergence


@dataclass(frozen=True)
class Work:
    """What was to be measured. prompts: the lengths that have lines, the shorter one first.

    token_bytes: the weights that a token must read. untold: why a line has nothing of the peer, if it has
    not; means: why a token's time is the mean of all, if it is not the median.
    """

    prompts: tuple[int, int]
    n_context: int
    token_bytes: int
    untold: str = ""
    means: str = ""


def make_results(samples: Samples, work: Work) -> list[Result]:
    """Return all lines."""
    long = min(work.prompts[1], work.n_context)
    shorter = "" if long == work.prompts[1] else f": the context has no room for {work.prompts[1]}"

    def both(metric: str, name: str, change: Callable[[float], float], note: str = "") -> Result:
        mine, other = ([change(v) for v in samples.get(arm, name)] for arm in ARMS)
        return _pair(metric, mine, other, note)

    def first_token(count: int) -> Result:
        note = "" if count <= work.n_context else f"the context has {work.n_context} positions"
        return both(f"ttft_{count}_ms", f"prefill_{count}_s", lambda s: s * 1e3, note)

    def fractions(arm: str) -> list[float]:
        times = zip(samples.get(arm, "round_token_s"), around(samples, arm), strict=True)
        return [work.token_bytes / taken / (near * 1e9) for taken, near in times]

    def own_fractions() -> list[float]:
        times = zip(
            samples.get("axiom", "round_token_s"), samples.get("axiom", "weights_gb_s"), strict=True
        )
        return [work.token_bytes / taken / (near * 1e9) for taken, near in times]

    energy = "" if samples.get("axiom", "joules_per_token") else "not measurable here"
    lines = [
        both("decode_tok_s", "round_token_s", lambda s: 1 / s, work.means),
        _share(fractions("axiom"), fractions("peer"), describe(samples)),
        _pair("weights_bandwidth_fraction", own_fractions(), [], OWN_BANDWIDTH),
        both("prefill_tok_s", f"prefill_{long}_s", lambda s: long / s, f"{long} tokens{shorter}"),
        *(first_token(count) for count in work.prompts),
        both("start_to_first_token_ms", "start_to_first_token_ms", lambda s: s),
        *_jitter(samples),
        both("extra_memory_bytes", "extra_memory_bytes", lambda s: s),
        both("joules_per_token", "joules_per_token", lambda s: s, energy),
    ]
    if samples.get("axiom", "late_token_s"):
        lines.append(_late(samples))
    return [_excuse(line, work.untold) for line in lines]


def _excuse(line: Result, untold: str) -> Result:
    """Return a line that says why it has nothing of the peer, where it has something of Axiom."""
    if not untold or line.axiom is None or line.peer is not None:
        return line
    return replace(line, note="; ".join(part for part in (line.note, untold) if part))


def _share(mine: list[float], other: list[float], note: str) -> Result:
    made = _pair("bandwidth_fraction", mine, other, note)
    if max(made.axiom or 0, made.peer or 0) <= 1:
        return made
    return replace(made, note=f"{note}; above 1, {ABOVE_ONE}")


def _pair(metric: str, mine: list[float], other: list[float], note: str = "") -> Result:
    first, second = median(mine) if mine else None, median(other) if other else None
    ratio = first / second if first is not None and second else None
    return Result(metric, first, second, ratio, spread(mine), spread(other), note)


def _tail_us(times: list[float]) -> float:
    return (percentile(times, 99) - percentile(times, 50)) * 1e6


def _jitter(samples: Samples) -> list[Result]:
    """Return p99 minus p50 of a token, and how it compares with plain reads of as many bytes."""
    tails = {arm: _tail_us(times) for arm in ARMS if (times := samples.get(arm, "token_s"))}
    mine, other = tails.get("axiom"), tails.get("peer")
    ratio = mine / other if mine is not None and other else None
    lines = [Result("jitter_us", mine, other, ratio, 0.0, note="p99 minus p50 of a token")]
    floor = samples.get("machine", "floor_s")
    if floor and _tail_us(floor) > 0:
        base = _tail_us(floor)
        over = {arm: tail / base for arm, tail in tails.items()}
        note = f"over p99 minus p50 of a plain read of the same bytes, {base:,.0f} us"
        lines.append(
            Result("jitter_over_floor", over.get("axiom"), over.get("peer"), ratio, 0.0, note=note)
        )
    return lines


def _late(samples: Samples) -> Result:
    """Return the decoding speed in a long context as a part of that in a short one."""
    parts = [
        median(early) / median(late)
        for arm in ARMS
        if (early := samples.get(arm, "round_token_s")) and (late := samples.get(arm, "late_token_s"))
    ]
    position = int(samples.get("machine", "late_position")[0])
    first, second = (*parts, None)[0], (*parts, None)[1]
    ratio = first / second if first is not None and second else None
    note = f"decoding after {position:,} tokens, of that after 16"
    return Result("late_decode_fraction", first, second, ratio, 0.0, note=note)
