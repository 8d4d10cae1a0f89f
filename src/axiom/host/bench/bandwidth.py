"""How fast memory is read around each arm's turn: what an arm's share of the bandwidth is a share of."""

from statistics import median

from axiom.host.bench.samples import Samples
from axiom.host.machine.probes import MachineProbe

BEFORE_AXIOM, BEFORE_PEER, AFTER = "before_axiom", "before_peer", "after"
READ, READ_AHEAD = "read", "read_ahead"
WAYS = {READ: "a plain read", READ_AHEAD: "a read that asks ahead"}
PROBES = 3


def add_bandwidth(samples: Samples, probe: MachineProbe, place: str) -> None:
    """Read a few times, plainly and asking ahead, after once to warm up; place: in a round."""
    probe.read_gb_s()
    for _ in range(PROBES):
        for way, value in ((READ, probe.read_gb_s()), (READ_AHEAD, probe.read_ahead_gb_s())):
            samples.add("machine", f"{way}_{place}_gb_s", value)


def _all(samples: Samples, way: str) -> list[float]:
    return [v for place in (BEFORE_AXIOM, BEFORE_PEER, AFTER) for v in _at(samples, way, place)]


def _at(samples: Samples, way: str, place: str) -> list[float]:
    return samples.get("machine", f"{way}_{place}_gb_s")


def fastest_way(samples: Samples) -> str:
    """Return the way that reads faster, by the medians of all that was read."""
    return max(WAYS, key=lambda way: median(_all(samples, way)))


def around(samples: Samples, arm: str) -> list[float]:
    """Return, round by round, the bandwidth right before and right after an arm's turn, in GB/s.

    The median of the reads in the fastest way. What is before the peer's turn is after Axiom's.
    """
    way, rounds = fastest_way(samples), len(samples.get(arm, "round_token_s"))
    first, second = (BEFORE_AXIOM, BEFORE_PEER) if arm == "axiom" else (BEFORE_PEER, AFTER)
    before, after = _at(samples, way, first), _at(samples, way, second) or _at(samples, way, AFTER)
    return [
        median([*before[n * PROBES : (n + 1) * PROBES], *after[n * PROBES : (n + 1) * PROBES]])
        for n in range(rounds)
    ]


def medians(samples: Samples) -> dict[str, float]:
    """Return the bandwidth in either way, over all and by when it was measured, in GB/s."""
    made = {f"{way}_gb_s": median(_all(samples, way)) for way in WAYS}
    made["read_weights_gb_s"] = median(samples.get("axiom", "weights_gb_s"))
    for place in (BEFORE_AXIOM, BEFORE_PEER, AFTER):
        for way in WAYS:
            if values := _at(samples, way, place):
                made[f"{way}_{place}_gb_s"] = median(values)
    return made


def describe(samples: Samples) -> str:
    """Tell which way the share is of, and what it would be of the other."""
    chosen = fastest_way(samples)
    (other,) = (way for way in WAYS if way != chosen)
    times = median(_all(samples, chosen)) / median(_all(samples, other))
    return f"of {WAYS[chosen]} right before and after it; times {times:.2f} of {WAYS[other]}"
