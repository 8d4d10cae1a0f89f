"""Measure what a trace costs the tokens that it is of; run by hand.

`python -m tests.performance.tracing MODEL.gguf [--machine kvm] [--cpus N] [--rounds N] [--json FILE]` lets
one session generate the same tokens with and without a trace, in turns. The cost is the median token of a
round with a trace over that of the same round without, the median of the rounds, less one.
"""

import argparse
import json
import platform
from collections.abc import Iterator
from datetime import UTC, datetime
from statistics import median

from axiom.host.bench.facts import processor_name
from axiom.host.bench.statistics import spread
from axiom.host.cli.models import open_model
from axiom.host.cli.run import machine_name
from axiom.host.machine.requests import StartRequest
from axiom.host.machine.session import Session, SessionOptions, open_session
from axiom.host.model.packed_file import PackedModel
from axiom.host.serve.generate import generate

PROMPT = [1]
N_CONTEXT = 512


def token_us(session: Session, model: PackedModel, count: int, trace: bool) -> float:
    """Return the median time of a token."""
    request = StartRequest(1, PROMPT, count + 1, ignore_eos=True, trace=trace)
    return median(generate(session.link, session.boot.tsc_hz, model.tokenizer, request).token_us)


def rounds(
    session: Session, model: PackedModel, n_rounds: int, count: int
) -> Iterator[tuple[float, float]]:
    """Return the median token with a trace and without, round by round; who is first takes turns, too."""
    for number in range(n_rounds):
        order = (True, False) if number % 2 == 0 else (False, True)
        times = {trace: token_us(session, model, count, trace) for trace in order}
        yield times[True], times[False]


def main() -> None:
    """Parse the options and print, or write, what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--machine", default="auto")
    parser.add_argument("--cpus", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=31)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    model = open_model(options.model)
    n_context = min(N_CONTEXT, model.shape.n_context)
    wanted = SessionOptions(machine=machine_name(options.machine), cpus=options.cpus, n_context=n_context)
    with open_session(model, wanted) as session:
        token_us(session, model, options.tokens, True)
        found = list(rounds(session, model, options.rounds, options.tokens))
    ratios = [traced / plain for traced, plain in found]
    facts = {
        "what": "median token with a trace over that without, by round",
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "model": model.name,
        "processor": processor_name(),
        "kernel": platform.release(),
        "machine": session.machine,
        "cpus": options.cpus,
        "plain_us": median(plain for _, plain in found),
        "cost": median(ratios) - 1,
        "spread": spread(ratios),
        "ratios": ratios,
    }
    print(
        f"{model.name}, {options.cpus} on {session.machine}: a token of {facts['plain_us']:.0f} us, "
        f"{facts['cost']:+.3%} with a trace (spread {facts['spread']:.1%})"
    )
    if options.json is not None:
        with open(options.json, "w") as file:
            file.write(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
