"""The sequence being generated: what was asked for, how far it is, and how it ended."""

from enum import IntEnum

from axiom.lang import Array, Slice, array, f32, struct, u8, u32, u64

MAX_EOS_IDS = 8


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
    TOKEN = 2
    DONE = 3


class Phase(IntEnum):
    """Where the engine is between steps."""

    IDLE = 0
    RUNNING = 1
    FINISHED = 2


class FinishReason(IntEnum):
    """Why a sequence ended."""

    NONE = 0
    EOS = 1
    LENGTH = 2
    CANCELLED = 3
    CONTEXT_FULL = 4


@struct
class StartRequest:
    """Parameters of a sequence.

    max_new: tokens to generate at most, at least 1. temperature: 0 is greedy, else positive and
    finite. top_k: 0 is off. top_p: in (0, 1], 1 is off. eos_ids: the first n_eos end the sequence
    unless ignore_eos.
    """

    sequence_id: u32
    max_new: u32
    ignore_eos: bool
    temperature: f32
    top_k: u32
    top_p: f32
    n_eos: u32
    seed: u64
    eos_ids: Array[u32] = array(u32, MAX_EOS_IDS)


@struct
class EngineState:
    """All that changes while the engine runs.

    token, token_index, token_cycles: the last sampled token, its index among the generated ones, and
    when it was sampled. input_token, position: what the walk through the operations is about.
    logits_digest: CRC-32C over the logits of every sampled step, in order.
    """

    weights: Slice[u8]
    kv_cache: Slice[u8]
    activations: Slice[u8]
    logits_view: Slice[f32]
    request: StartRequest
    phase: Phase
    finish_reason: FinishReason
    operation: u32
    n_prompt: u32
    position: u32
    input_token: u32
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
