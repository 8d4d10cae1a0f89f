"""The trace ring of each lane: the newest operations, when they began and ended.

A ring lies in the activations: a count of all records ever made, then `TRACE_CAPACITY` records. Only its
lane writes it, and it is read while the lanes do nothing.
"""

from axiom.abi.trace import (
    TRACE_CAPACITY,
    TRACE_HEADER_BYTES,
    TRACE_RECORD_BYTES,
    TraceRecord,
)
from axiom.lang import Slice, fn, maximum, reinterpret, struct_in, u8, u64

TRACE_BYTES = TRACE_HEADER_BYTES + TRACE_CAPACITY * TRACE_RECORD_BYTES


@fn
def clear_trace(ring: Slice[u8]) -> None:
    """Forget all records."""
    count = reinterpret(u64, ring.part(0, 8))
    count[0] = u64(0)


@fn
def count_traced(ring: Slice[u8]) -> u64:
    """Return how many records were ever made."""
    return reinterpret(u64, ring.part(0, 8))[0]


@fn
def oldest_traced(ring: Slice[u8]) -> u64:
    """Return the number of the oldest record that is still there."""
    return maximum(count_traced(ring), u64(TRACE_CAPACITY)) - TRACE_CAPACITY


@fn
def traced_bytes(ring: Slice[u8], first: u64, count: u64) -> Slice[u8]:
    """Return the bytes of `count` records from number `first` on; they must not wrap around."""
    start = first % TRACE_CAPACITY * TRACE_RECORD_BYTES + TRACE_HEADER_BYTES
    return ring.part(start, count * TRACE_RECORD_BYTES)


@fn
def note(ring: Slice[u8], record: TraceRecord) -> None:
    """Add a record; the oldest one gives way."""
    count = reinterpret(u64, ring.part(0, 8))
    start = count[0] % TRACE_CAPACITY * TRACE_RECORD_BYTES + TRACE_HEADER_BYTES
    target = struct_in(TraceRecord, ring, start)
    target.operation = record.operation
    target.position = record.position
    target.n_tokens = record.n_tokens
    target.part = record.part
    target.begin_cycles = record.begin_cycles
    target.end_cycles = record.end_cycles
    count[0] += 1
