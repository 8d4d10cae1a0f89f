"""Axiom as an arm of a comparison: one session, asked for prompts and tokens, and still in between."""

import os
import signal
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from axiom.abi.boot import RegionKind
from axiom.host.machine.region_speed import read_region
from axiom.host.machine.requests import StartRequest
from axiom.host.machine.session import Session, SessionOptions, open_session
from axiom.host.model.packed_file import PackedModel
from axiom.host.serve.generate import Generation, generate

WARM_TOKENS = 4


@dataclass
class AxiomArm:
    """A running session. Its processors poll, so it is stopped while others are measured."""

    session: Session
    model: PackedModel

    @property
    def machine(self) -> str:
        """The name of the machine."""
        return self.session.machine

    @contextmanager
    def awake(self) -> Generator[None]:
        """Let the machine run during the block."""
        pid = self.session.process_id
        if pid is not None:
            os.kill(pid, signal.SIGCONT)
        try:
            yield
        finally:
            if pid is not None:
                os.kill(pid, signal.SIGSTOP)

    def _generate(self, request: StartRequest) -> tuple[Generation, float]:
        start = time.monotonic()
        made = generate(self.session.link, self.session.boot.tsc_hz, self.model.tokenizer, request)
        return made, made.first_token_at - start

    def prefill_seconds(self, tokens: list[int]) -> float:
        """Return how long a prompt takes until its first token arrives here."""
        return self._generate(StartRequest(1, tokens, 1, ignore_eos=True))[1]

    def decode_seconds(self, prompt: list[int], count: int) -> list[float]:
        """Return how long each of `count` tokens takes after a prompt and one token more."""
        made, _ = self._generate(StartRequest(1, prompt, count + 1, ignore_eos=True))
        return [us / 1e6 for us in made.token_us]

    def weights_gb_s(self) -> float:
        """Return how fast all cores read the weights where they lie, in 10^9 bytes a second."""
        session = self.session
        return read_region(session.link, session.boot.tsc_hz, RegionKind.WEIGHTS, self.model.weights_bytes)

    def logits(self, tokens: list[int]) -> NDArray[np.float32]:
        """Return the logits of every position of a text, [positions, vocabulary]."""
        request = StartRequest(1, tokens, 1, ignore_eos=True, send_logits=True, prompt_logits=True)
        made, _ = self._generate(request)
        flat = np.concatenate([event.logits for event in made.logits])
        return flat.reshape(len(tokens), -1)


@contextmanager
def axiom_arm(model: PackedModel, options: SessionOptions) -> Generator[AxiomArm]:
    """Open a session and warm it up; it is stopped when the block is entered."""
    with open_session(model, options) as session:
        arm = AxiomArm(session, model)
        try:
            with arm.awake():
                arm.decode_seconds([1], WARM_TOKENS)
            yield arm
        finally:
            if session.process_id is not None:
                os.kill(session.process_id, signal.SIGCONT)
