"""Run an engine under CPython or compiled, and collect what it brings."""

from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from axiom.abi.link import DoneReason, StartMessage
from axiom.compiler.hosted import load_hosted
from axiom.lang import slice_over, u8, u32, zeroed
from axiom.metal.engine.activations import activation_bytes, plan_activations
from axiom.metal.engine.engine import Engine, make_engine
from axiom.metal.engine.kv_cache import kv_cache_bytes
from axiom.metal.engine.sequence import EngineState, StartStatus, StepEvent
from axiom.metal.engine.spec import EngineSpec
from tests.support.targets import GEMM_TARGETS, require_target


def request(**values: Any) -> StartMessage:
    """Return a greedy request; `values` are the fields that differ."""
    made: Any = {"sequence_id": 1, "max_new": 1, "top_p": 1.0, **values}
    return StartMessage(**made)


def as_slice(array: NDArray[Any]) -> Any:
    """View bytes or token ids as a slice."""
    return slice_over(u8 if array.dtype == np.uint8 else u32, array.data.cast("B"))


@dataclass
class Generated:
    """The tokens of a sequence, the logits of each step and of the prompt, and how it ended."""

    tokens: list[int] = field(default_factory=list[int])
    logits: list[NDArray[np.float32]] = field(default_factory=list[NDArray[np.float32]])
    prompt_logits: list[NDArray[np.float32]] = field(default_factory=list[NDArray[np.float32]])
    reason: DoneReason = DoneReason.NONE
    digest: int = 0
    n_steps: int = 0


class EngineRun:
    """An engine bound to fresh memory on one target. pool: threads for its lanes, as many as there are."""

    def __init__(
        self, spec: EngineSpec, weights: NDArray[np.uint8], target: str, pool: Executor | None = None
    ) -> None:
        self.spec, self.target, self.pool = spec, target, pool
        self.engine: Engine = make_engine(spec)
        self.state = zeroed(EngineState)
        self.kv_cache = np.full(kv_cache_bytes(spec), 0xFF, np.uint8)
        self.activations = np.full(activation_bytes(spec), 0xFF, np.uint8)
        engine = self.engine
        if target != "python":
            require_target(target)
            functions = [engine.bind, engine.start, engine.advance, engine.share, engine.cancel]
            self.hosted = load_hosted(functions, GEMM_TARGETS[target])
        self.weights = weights
        self.call(engine.bind, self.state, self.weights, self.kv_cache, self.activations)

    def call(self, function: Any, *arguments: Any) -> Any:
        """Call a function of the engine; byte arrays become slices."""
        if self.target != "python":
            return self.hosted(function, *arguments)
        return function(*(as_slice(cast(Any, a)) if isinstance(a, np.ndarray) else a for a in arguments))

    def start(self, wanted: StartMessage, prompt: list[int]) -> StartStatus:
        """Start a sequence."""
        return self.call(self.engine.start, self.state, wanted, np.array(prompt, np.uint32))

    def step(self) -> StepEvent:
        """Run one step on all lanes: in the pool at once, or the last first; none may need another."""
        event = self.call(self.engine.advance, self.state)
        if event != StepEvent.WORK:
            return event
        lanes = reversed(range(self.spec.n_lanes))
        if self.pool is None:
            for lane in lanes:
                self.share(lane)
        else:
            list(self.pool.map(self.share, lanes))
        return StepEvent.BUSY

    def share(self, lane: int) -> None:
        """Do a lane's part of the step."""
        self.call(self.engine.share, self.state, u32(lane), u32(self.spec.n_lanes))

    def cancel(self) -> None:
        """Cancel the running sequence."""
        self.call(self.engine.cancel, self.state)

    def logits(self) -> NDArray[np.float32]:
        """Return a copy of the logits of the last step."""
        at = plan_activations(self.spec).logits.offset
        return self.activations[at : at + 4 * self.spec.shape.n_vocab].view(np.float32).copy()

    def finish(self) -> Generated:
        """Step until the running sequence is done."""
        made = Generated()
        while True:
            event = self.step()
            made.n_steps += 1
            if event == StepEvent.TOKEN:
                made.tokens.append(int(self.state.token))
                made.logits.append(self.logits())
            if event == StepEvent.PROMPT_LOGITS:
                made.prompt_logits.append(self.logits())
            if event == StepEvent.DONE:
                made.reason, made.digest = self.state.finish_reason, int(self.state.logits_digest)
                return made
            assert event != StepEvent.IDLE

    def generate(self, wanted: StartMessage, prompt: list[int]) -> Generated:
        """Run a sequence from start to end."""
        assert self.start(wanted, prompt) == StartStatus.OK
        return self.finish()
