"""The sequence being generated: what was asked for, how far it is, and how it ended."""

from enum import IntEnum

from axiom.abi.link import DoneReason, StartMessage
from axiom.lang import Slice, f32, struct, u8, u32, u64


class StartStatus(IntEnum):
    """Whether a request was taken."""

    OK = 0
    BUSY = 1
    PROMPT_EMPTY = 2
    PROMPT_TOO_LONG = 3
    BAD_TOKEN = 4
    BAD_PARAMETERS = 5


class StepEvent(IntEnum):
    """What a step of the engine brought."""

    IDLE = 0
    BUSY = 1
    WORK = 2
    PROMPT_LOGITS = 3
    TOKEN = 4
    DONE = 5


class Phase(IntEnum):
    """Where the engine is between steps."""

    IDLE = 0
    RUNNING = 1
    FINISHED = 2


@struct
class EngineState:
    """All that changes while the engine runs.

    token, token_index, token_cycles: the last sampled token, its index among the generated ones, and
    when it was sampled. position: that of the batch's first token; n_batched: the tokens of the batch.
    n_tokens, first_row: how many tokens the operations are about now, and the row of the residual where
    they start; they differ from the whole batch in the output part. operation, piece: what the lanes do
    now; working: and whether they have been told to. told_prompt_logits: the last event was
    PROMPT_LOGITS. logits_digest: CRC-32C over the logits of every sampled step, in order.
    """

    weights: Slice[u8]
    kv_cache: Slice[u8]
    activations: Slice[u8]
    logits_view: Slice[f32]
    request: StartMessage
    phase: Phase
    finish_reason: DoneReason
    working: bool
    told_prompt_logits: bool
    operation: u32
    piece: u32
    n_prompt: u32
    position: u32
    n_batched: u32
    n_tokens: u32
    first_row: u32
    token: u32
    token_index: u32
    n_generated: u32
    logits_digest: u32
    token_cycles: u64
    start_cycles: u64
    first_token_cycles: u64
    end_cycles: u64

    def logits(self) -> Slice[f32]:
        """Return the logits of the last sampled step, one per token of the vocabulary."""
        return self.logits_view
