"""From samples to the lines of a comparison: medians, ratios and spreads."""

from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median

from axiom.host.bench.agreement import Agreement
from axiom.host.bench.statistics import percentile, spread

ARMS = ("axiom", "peer")


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
    """Everything that a report needs. yardstick: how two of the peer's own settings agree."""

    results: list[Result]
    samples: Samples
    machine: str
    cpus: int
    peer_setting: str = ""
    peer_system: str = ""
    agreement: Agreement | None = None
    yardstick: Agreement | None = None


def make_results(samples: Samples, prompts: tuple[int, int], token_bytes: int) -> list[Result]:
    """Return all lines.

    prompts: the lengths that were measured, the shorter one first. token_bytes: what a token must read.
    """
    read = median(samples.get("machine", "read_gb_s")) * 1e9
    ahead = median(samples.get("machine", "read_ahead_gb_s")) * 1e9
    long = prompts[1]

    def both(metric: str, name: str, change: Callable[[float], float], note: str = "") -> Result:
        mine, other = ([change(v) for v in samples.get(arm, name)] for arm in ARMS)
        return _pair(metric, mine, other, note)

    energy = "" if samples.get("axiom", "joules_per_token") else "not measurable here"
    lines = [
        both("decode_tok_s", "round_token_s", lambda s: 1 / s),
        both(
            "bandwidth_fraction",
            "round_token_s",
            lambda s: token_bytes / s / read,
            f"of a plain read; times {read / ahead:.2f} of one that asks ahead",
        ),
        both("prefill_tok_s", f"prefill_{long}_s", lambda s: long / s, f"{long} tokens"),
        *(both(f"ttft_{n}_ms", f"prefill_{n}_s", lambda s: s * 1e3) for n in prompts),
        both("start_to_first_token_ms", "start_to_first_token_ms", lambda s: s),
        *_jitter(samples),
        both("extra_memory_bytes", "extra_memory_bytes", lambda s: s),
        both("joules_per_token", "joules_per_token", lambda s: s, energy),
    ]
    if samples.get("axiom", "late_token_s"):
        lines.append(_late(samples))
    return lines


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
