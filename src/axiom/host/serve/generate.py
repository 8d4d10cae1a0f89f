"""One request from prompt to text, as events for whoever shows them."""

import time
from collections.abc import Callable, Sequence
from itertools import pairwise

from axiom.abi.link import DoneReason, ErrorCode
from axiom.host.errors import MachineError, UserError
from axiom.host.machine.events import DoneEvent, ErrorEvent, LogitsEvent, TokenEvent
from axiom.host.machine.link import LinkClient
from axiom.host.machine.requests import StartRequest
from axiom.host.serve.tokenizer import Tokenizer

TOKEN_SECONDS = 120.0


class Generation:
    """What came of a request. Times come from the kernel's cycle counter."""

    def __init__(self, prompt_ids: list[int]) -> None:
        self.prompt_ids = prompt_ids
        self.ids: list[int] = []
        self.text = ""
        self.reason = DoneReason.NONE
        self.logits_digest = 0
        self.ttft_ms = 0.0
        self.decode_tok_s = 0.0
        self.token_us: list[float] = []
        self.first_token_at = 0.0
        self.logits: list[LogitsEvent] = []


def generate(
    link: LinkClient,
    tsc_hz: int,
    tokenizer: Tokenizer,
    request: StartRequest,
    on_text: Callable[[str], None] | None = None,
    token_seconds: float = TOKEN_SECONDS,
) -> Generation:
    """Run one request to its end; `on_text` gets text as it is generated.

    Raises MachineError when the kernel says nothing for `token_seconds`. On KeyboardInterrupt the sequence
    is cancelled and what there is is returned.
    """
    made = Generation(list(request.prompt))
    stream = tokenizer.stream(request.prompt)
    cycles: list[int] = []
    link.start(request)
    while True:
        try:
            event = link.next_event(token_seconds)
        except KeyboardInterrupt:
            link.cancel(request.sequence_id)
            continue
        if isinstance(event, TokenEvent):
            if not made.ids:
                made.first_token_at = time.monotonic()
            made.ids.append(event.token)
            cycles.append(event.cycles)
            if event.token not in request.eos_ids:
                _show(made, stream.push(event.token), on_text)
        elif isinstance(event, LogitsEvent):
            made.logits.append(event)
        elif isinstance(event, DoneEvent):
            _show(made, stream.flush(), on_text)
            _finish(made, event, cycles, tsc_hz)
            return made
        elif isinstance(event, ErrorEvent):
            raise _refused(event, request.prompt)


def _show(made: Generation, text: str, on_text: Callable[[str], None] | None) -> None:
    made.text += text
    if text and on_text is not None:
        on_text(text)


def _finish(made: Generation, event: DoneEvent, cycles: Sequence[int], tsc_hz: int) -> None:
    made.reason, made.logits_digest = event.reason, event.logits_digest
    if not cycles:
        return
    made.ttft_ms = (event.first_token_cycles - event.start_cycles) / tsc_hz * 1e3
    made.token_us = [(b - a) / tsc_hz * 1e6 for a, b in pairwise(cycles)]
    if len(cycles) > 1 and cycles[-1] > cycles[0]:
        made.decode_tok_s = (len(cycles) - 1) * tsc_hz / (cycles[-1] - cycles[0])


def _refused(event: ErrorEvent, prompt: Sequence[int]) -> UserError | MachineError:
    if event.code == ErrorCode.PROMPT_TOO_LONG:
        return UserError(
            f"the prompt has {len(prompt)} tokens, more than the context holds.", "give a larger --context"
        )
    if event.code == ErrorCode.PROMPT_EMPTY:
        return UserError(
            "the prompt is empty, and the model has no token to begin with.", "give one with -p"
        )
    if event.code == ErrorCode.BAD_PARAMETERS:
        return UserError("a sampling option is out of its range.", "see `axiom run --help`")
    return MachineError(f"the kernel did not take the request: {event.code.name} ({event.detail}).")
