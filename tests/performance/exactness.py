"""Measure how far Axiom and llama.cpp are from an exact forward pass, and from each other; run by hand.

`python -m tests.performance.exactness MODEL.gguf [--positions 256] [--json FILE]` takes the logits of the
random tokens that `axiom bench` compares: of Axiom, of llama.cpp with its repacked kernels and without, and
of a pass in floats over the same quantised weights. Divergences are in nats.
"""

import argparse
import json
import platform
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from axiom.host.bench.agreement import compare_logits
from axiom.host.bench.axiom_arm import axiom_arm
from axiom.host.bench.facts import processor_name
from axiom.host.bench.peer import Peer, PeerSetting, peer_interpreter
from axiom.host.bench.peer_rounds import random_tokens
from axiom.host.machine.session import SessionOptions
from axiom.host.model.pack import default_cache_dir, packed_model
from tests.support.exact_model import ExactModel

# Above so many bytes, products are taken in float32, whose error is still far below that of eight bits.
WIDE_BYTES = 1 << 28


@dataclass(frozen=True)
class Distance:
    """How far two engines are from each other."""

    first: str
    second: str
    mean_divergence: float
    max_difference: float
    top1: float


def logits(path: Path, count: int, cpus: int) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Return the logits of a text of `count` tokens by the name of who computed them."""
    model = packed_model(path, default_cache_dir())
    tokens = random_tokens(model.shape.n_vocab, count, 1)
    number = np.float64 if path.stat().st_size < WIDE_BYTES else np.float32
    yield "exact", ExactModel(path, number).logits(tokens)
    with axiom_arm(model, SessionOptions("hosted", cpus, None, count)) as axiom:
        yield "axiom", axiom.logits(tokens)
    setting = PeerSetting(cpus)
    for repack in (True, False):
        with Peer(peer_interpreter(), path, replace(setting, repack=repack), count) as peer:
            yield f"llama.cpp, {'repacked' if repack else 'not repacked'}", peer.logits(tokens)


def distances(found: dict[str, NDArray[np.float32]]) -> Iterator[Distance]:
    """Return the distance of every pair."""
    for first, second in combinations(found, 2):
        made = compare_logits(found[first], found[second])
        yield Distance(first, second, made.mean_divergence, made.max_difference, made.top1)


def main() -> None:
    """Print a line for each pair."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("--positions", type=int, default=256)
    parser.add_argument("--cpus", type=int, default=2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    made = list(distances(dict(logits(options.model, options.positions, options.cpus))))
    for one in made:
        print(
            f"{one.first} - {one.second}: {one.mean_divergence:.2e} nats, "
            f"largest difference {one.max_difference:.3f}, same likeliest token {one.top1:.1%}"
        )
    if options.json is not None:
        facts = {
            "model": options.model.stem,
            "positions": options.positions,
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "processor": processor_name(),
            "kernel": platform.release(),
        }
        report = {"facts": facts, "distances": [asdict(one) for one in made]}
        options.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
