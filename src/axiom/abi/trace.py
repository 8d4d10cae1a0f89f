"""The trace: when each lane began and ended each operation."""

from axiom.lang import struct, u32, u64

TRACE_CAPACITY = 16384
TRACE_HEADER_BYTES = 64
TRACE_RECORD_BYTES = 32
MAX_TRACE_RECORDS_PER_FRAME = 512


@struct
class TraceRecord:
    """One operation on one lane. Times are cycles of the time-stamp counter.

    operation: its number in the schedule. position: of the batch's first token. n_tokens: the tokens
    that it was about. part: which of its step, the first if there were several.
    """

    operation: u32
    position: u32
    n_tokens: u32
    part: u32
    begin_cycles: u64
    end_cycles: u64


@struct
class TraceMessage:
    """In front of `count` records of one lane, oldest first; n_lost: older ones that were overwritten.

    The last frame has no records and `lane` equal to the number of lanes.
    """

    lane: u32
    count: u32
    n_lost: u64
