"""What the host asks of the kernel, as frame payloads."""

import struct
from collections.abc import Sequence
from typing import NamedTuple

from axiom.abi.boot import RegionKind
from axiom.abi.link import (
    FLAG_IGNORE_EOS,
    FLAG_PROMPT_LOGITS,
    FLAG_SEND_LOGITS,
    FLAG_TRACE,
    MAX_EOS_IDS,
    MAX_REQUEST_PAYLOAD,
    MeasureMessage,
    StartMessage,
)
from axiom.host.errors import UserError
from axiom.host.machine.wire import Record

_START = Record(StartMessage)
_MEASURE = Record(MeasureMessage)
MAX_PROMPT_TOKENS = (MAX_REQUEST_PAYLOAD - _START.bytes) // 4


class StartRequest(NamedTuple):
    """A sequence to generate. temperature 0 is greedy, top_k 0 and top_p 1 are off.

    max_new limits the new tokens and is at least 1. prompt_logits: send those of every position but the
    last of the prompt as well. trace: note when each operation begins and ends.
    """

    sequence_id: int
    prompt: Sequence[int]
    max_new: int
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0
    eos_ids: Sequence[int] = ()
    ignore_eos: bool = False
    send_logits: bool = False
    prompt_logits: bool = False
    trace: bool = False

    def payload(self) -> bytes:
        """Return the payload of START. Raises UserError for what a frame cannot hold."""
        if len(self.prompt) > MAX_PROMPT_TOKENS:
            raise UserError(f"a prompt of {len(self.prompt)} tokens is longer than {MAX_PROMPT_TOKENS}")
        if len(self.eos_ids) > MAX_EOS_IDS:
            raise UserError(f"{len(self.eos_ids)} end-of-text tokens are more than {MAX_EOS_IDS}")
        if not 0 <= self.seed < 1 << 64:
            raise UserError(f"the seed {self.seed} is not a number of 64 bits")
        if not 0 <= self.max_new < 1 << 32 or not 0 <= self.top_k < 1 << 32:
            raise UserError("the number of new tokens and top-k are numbers of 32 bits")
        flags = FLAG_IGNORE_EOS * self.ignore_eos + FLAG_SEND_LOGITS * self.send_logits
        flags += FLAG_PROMPT_LOGITS * self.prompt_logits + FLAG_TRACE * self.trace
        message = _START.pack(
            sequence_id=self.sequence_id,
            n_prompt=len(self.prompt),
            max_new=self.max_new,
            flags=flags,
            temperature=self.temperature,
            top_k=self.top_k,
            top_p=self.top_p,
            n_eos=len(self.eos_ids),
            seed=self.seed,
            eos_ids=self.eos_ids,
        )
        return message + struct.pack(f"<{len(self.prompt)}I", *self.prompt)


def measure_payload(kind: RegionKind, lane: int, first: int, count: int) -> bytes:
    """Return the payload of MEASURE: the bytes from `first` on of a region."""
    return _MEASURE.pack(kind=int(kind), lane=lane, first=first, bytes=count)


def cancel_payload(sequence_id: int) -> bytes:
    """Return the payload of CANCEL."""
    return sequence_id.to_bytes(4, "little")
