"""What a comparison measures, how often and how long."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from axiom.host.bench.peer import PeerSetting
from axiom.host.bench.peer_choice import PeerChoice
from axiom.host.errors import UserError
from axiom.host.image.plan import MemoryPlan
from axiom.host.machine.session import SessionOptions, plan_for
from axiom.host.model.packed_file import PackedModel

SHORT_PROMPT = 128
WARM_PROMPT = 16
JITTER_CHUNK = 50


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
    rounds=2, decode_tokens=16, long_prompt=512, jitter_tokens=100, agreement_tokens=32, late_position=1024
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
    """What to compare. start_axiom, start_peer: milliseconds from a process's start to a first token.

    Raises UserError when the context has no room for what is to be measured.
    """

    model: PackedModel
    path: Path
    options: SessionOptions
    effort: Effort
    peer: PeerChoice
    start_axiom: Callable[[], float]
    start_peer: Callable[[PeerSetting], float]
    say: Callable[[str], None]

    def __post_init__(self) -> None:
        chunk = min(JITTER_CHUNK, self.effort.jitter_tokens) + 1
        least = WARM_PROMPT + max(self.effort.decode_tokens, chunk) + 1
        if self.n_context < least:
            raise UserError(
                f"a context of {self.n_context} positions has no room for a measurement.",
                f"give --context {least} or more",
            )

    @property
    def wanted_prompts(self) -> tuple[int, int]:
        """The lengths of prompts that a report has lines for."""
        return SHORT_PROMPT, self.effort.long_prompt

    @property
    def prompts(self) -> list[int]:
        """The lengths that are timed: those wanted, or what there is context for."""
        return sorted({min(count, self.n_context) for count in self.wanted_prompts})

    @property
    def n_context(self) -> int:
        """The positions of either arm's context."""
        return self.options.n_context or self.memory().config.engine.n_context

    def memory(self) -> MemoryPlan:
        """Return Axiom's memory plan."""
        options = self.options
        return plan_for(self.model, options.n_context, options.cpus, options.kv_type)
