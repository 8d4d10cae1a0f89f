"""What host and kernel say to each other, and how it lies in the link region.

A frame is a header and a payload padded to four bytes. Over shared memory frames go through two
rings of bytes, one each way; over a serial port the same bytes go as they are. See docs/reference/link.md.
"""

from enum import IntEnum

from axiom.lang import Array, array, at, f32, mmio, struct, u16, u32, u64

FRAME_MAGIC = 0xA71C
HEADER_BYTES = 16
LINK_READY = 0x4158494F
REQUEST_CONTROL_OFFSET = 0
REPLY_CONTROL_OFFSET = 128
STATE_OFFSET = 256
REQUEST_OFFSET = 4096
REQUEST_BYTES = 256 << 10
REPLY_OFFSET = REQUEST_OFFSET + REQUEST_BYTES
REPLY_BYTES = 1 << 20
LINK_BYTES = REPLY_OFFSET + REPLY_BYTES
MAX_REQUEST_PAYLOAD = 192 << 10
MAX_LOGITS_PER_FRAME = 4096
MAX_EOS_IDS = 8


class MessageType(IntEnum):
    """The kinds of frames: below 64 from the host, from 64 on from the kernel."""

    NONE = 0
    START = 1
    CANCEL = 2
    STATISTICS = 3
    SHUTDOWN = 4
    TRACE = 5
    MEASURE = 6
    BOOT = 64
    TOKEN = 65
    LOGITS = 66
    DONE = 67
    COUNTERS = 68
    ERROR = 69
    PROMPT_LOGITS = 70
    TRACE_RECORDS = 71
    MEASURED = 72


class ErrorCode(IntEnum):
    """Why the kernel did not do as asked."""

    NONE = 0
    BAD_FRAME = 1
    LOST_FRAME = 2
    UNKNOWN_MESSAGE = 3
    BUSY = 4
    PROMPT_EMPTY = 5
    PROMPT_TOO_LONG = 6
    BAD_TOKEN = 7
    BAD_PARAMETERS = 8
    BAD_LENGTH = 9


class DoneReason(IntEnum):
    """Why a sequence ended."""

    NONE = 0
    EOS = 1
    LENGTH = 2
    CANCELLED = 3
    CONTEXT_FULL = 4


FLAG_IGNORE_EOS = 1
FLAG_SEND_LOGITS = 2
FLAG_PROMPT_LOGITS = 4
FLAG_TRACE = 8


@mmio
class RingControl:
    """The counters of one ring: bytes ever written and bytes ever read, modulo 2**32."""

    HEAD: u32 = at(0)
    TAIL: u32 = at(64)


@struct
class FrameHeader:
    """In front of every payload. crc: CRC-32C of the header with crc 0, then of the payload."""

    magic: u16
    kind: u16
    length: u32
    sequence: u32
    crc: u32


@struct
class StartMessage:
    """Start a sequence; the prompt's token ids (u32) follow."""

    sequence_id: u32
    n_prompt: u32
    max_new: u32
    flags: u32
    temperature: f32
    top_k: u32
    top_p: f32
    n_eos: u32
    seed: u64
    eos_ids: Array[u32] = array(u32, MAX_EOS_IDS)


@struct
class TokenMessage:
    """One sampled token."""

    sequence_id: u32
    index: u32
    token: u32
    reserved: u32
    cycles: u64


@struct
class LogitsMessage:
    """Part of the logits of one step; `count` f32 follow."""

    sequence_id: u32
    index: u32
    first: u32
    count: u32


@struct
class DoneMessage:
    """A sequence has ended. logits_digest: CRC-32C over the logits of every sampled step."""

    sequence_id: u32
    reason: u32
    n_generated: u32
    logits_digest: u32
    start_cycles: u64
    first_token_cycles: u64
    end_cycles: u64


@struct
class MeasureMessage:
    """Read part of a region and tell how long it took. kind: a RegionKind that the engine reads.

    lane: which processor reads; from the number of lanes on, all of them at once, each its part.
    """

    kind: u32
    lane: u32
    first: u64
    bytes: u64


@struct
class MeasuredMessage:
    """What a read took, from lane 0's telling to everyone's having done it.

    bytes: how many were read, fewer than asked for at a region's end.
    """

    kind: u32
    lane: u32
    bytes: u64
    cycles: u64


@struct
class ErrorMessage:
    """A request was not carried out."""

    code: u32
    sequence_id: u32
    detail: u64
