"""Let both arms compute the logits of one text, and go no further when they do not agree."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from axiom.host.bench.agreement import Agreement, compare_logits, limits
from axiom.host.bench.axiom_arm import AxiomArm
from axiom.host.bench.hosted_arm import HostedArm
from axiom.host.bench.peer import Peer, PeerSetting
from axiom.host.bench.peer_rounds import random_tokens
from axiom.host.bench.plan import Plan
from axiom.host.bench.results import Comparison
from axiom.host.errors import MachineError


def check_agreement(
    plan: Plan, axiom: AxiomArm | HostedArm, interpreter: Path, setting: PeerSetting, made: Comparison
) -> None:
    """Compare all with the peer without its repacked kernels; its own, with them, are the yardstick.

    Both without flash attention, whichever is measured: with it the peer adds values up in f16, which is a
    noise of its own, and none of the kernels'.

    Raises MachineError when the outputs do not agree.
    """
    count = min(plan.effort.agreement_tokens, plan.n_context - 1)
    tokens = random_tokens(plan.model.shape.n_vocab, count, 1)
    plan.say(f"comparing the logits of {count} positions")
    with axiom.awake():
        mine = axiom.logits(tokens)
    setting = replace(setting, flash_attention=False)
    with Peer(interpreter, plan.path, replace(setting, repack=False), plan.n_context) as peer:
        plain = peer.logits(tokens)
    made.agreement = found = compare_logits(mine, plain)
    del mine
    made.yardstick = _yardstick(plan, interpreter, setting, tokens, plain)
    made.limits = allowed = limits(made.yardstick)
    if not allowed.hold(found):
        raise MachineError(
            f"the outputs do not agree (mean divergence {found.mean_divergence:.3g} nats, "
            f"the same likeliest token at {found.top1:.0%} of {found.positions} positions; allowed are "
            f"{allowed.mean_divergence:.3g} and {allowed.top1:.0%}).",
            "no speed is given for engines that compute different things",
        )


def _yardstick(
    plan: Plan, interpreter: Path, setting: PeerSetting, tokens: list[int], plain: NDArray[np.float32]
) -> Agreement | None:
    try:
        with Peer(interpreter, plan.path, replace(setting, repack=True), plan.n_context) as peer:
            return compare_logits(peer.logits(tokens), plain)
    except MachineError as error:
        plan.say(f"peer, repacked: {error.message}")
        return None
