"""The trace of a request: read from the kernel, written for Perfetto or Chrome, and summed up.

The file is the Trace Event Format's JSON object ("Trace Event Format", Google, 2016): complete events in
microseconds, one thread per lane. Open it at https://ui.perfetto.dev.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from axiom.host.errors import MachineError
from axiom.host.image.plan import Operation
from axiom.host.machine.events import TRACE_DTYPE, TraceEvent
from axiom.host.machine.link import LinkClient

TRACE_SECONDS = 10.0
Records = NDArray[np.void]


@dataclass
class Trace:
    """What each lane did, oldest first, with the fields of abi.trace.TraceRecord; and what is missing."""

    operations: Sequence[Operation]
    tsc_hz: int
    lanes: dict[int, Records] = field(default_factory=dict[int, Records])
    n_lost: int = 0


@dataclass(frozen=True)
class OperationTime:
    """All executions of one kind of operation on one lane, in a batch of one or of several tokens."""

    name: str
    batched: bool
    count: int
    microseconds: float
    bytes_read: int
    multiply_adds: int


def read_trace(link: LinkClient, operations: Sequence[Operation], tsc_hz: int) -> Trace:
    """Return the trace of the request that has just ended. Raises MachineError when none comes."""
    parts: dict[int, list[Records]] = {}
    made = Trace(operations, tsc_hz)
    lost: dict[int, int] = {}
    link.ask_trace()
    while True:
        event = link.next_event(TRACE_SECONDS)
        if not isinstance(event, TraceEvent):
            raise MachineError(f"the kernel answered {type(event).__name__} when asked for the trace")
        if not len(event.records):
            break
        parts.setdefault(event.lane, []).append(event.records)
        lost[event.lane] = event.n_lost
    made.lanes = {lane: np.concatenate(records) for lane, records in parts.items()}
    made.n_lost = sum(lost.values())
    return made


def _rows(records: Records) -> list[tuple[int, int, int, int, int, int]]:
    return cast(list[tuple[int, int, int, int, int, int]], records.tolist())


def operation_name(operation: Operation) -> str:
    """Return a name without the layer: `ffn_down` of blk.3.ffn_down."""
    return operation.name.rsplit(".", 1)[-1]


def perfetto_json(trace: Trace, model: str) -> dict[str, Any]:
    """Return the trace as a JSON object; time starts with the first operation."""
    starts = [records["begin_cycles"][0] for records in trace.lanes.values()]
    start = min(starts, default=0)
    scale = 1e6 / trace.tsc_hz
    events: list[dict[str, Any]] = [
        {"ph": "M", "pid": 1, "name": "process_name", "args": {"name": f"axiom: {model}"}}
    ]
    for lane, records in trace.lanes.items():
        events.append(
            {"ph": "M", "pid": 1, "tid": lane, "name": "thread_name", "args": {"name": f"lane {lane}"}}
        )
        for operation, position, n_tokens, part, begin, end in _rows(records):
            listed = trace.operations[operation]
            events.append(
                {
                    "ph": "X",
                    "pid": 1,
                    "tid": lane,
                    "name": operation_name(listed),
                    "cat": listed.kind.name.lower(),
                    "ts": float(begin - start) * scale,
                    "dur": float(end - begin) * scale,
                    "args": {
                        "layer": listed.layer,
                        "position": position,
                        "n_tokens": n_tokens,
                        "part": part,
                        "bytes_read": listed.bytes_read,
                        "multiply_adds": listed.multiply_adds * n_tokens,
                    },
                }
            )
    return {"traceEvents": events, "displayTimeUnit": "ns", "otherData": {"lost": trace.n_lost}}


def summarise(trace: Trace, lane: int = 0) -> list[OperationTime]:
    """Sum up one lane by name, the longest first. Bytes and arithmetic are those of all lanes."""
    records = trace.lanes.get(lane, np.empty(0, TRACE_DTYPE))
    sums: dict[tuple[str, bool], list[float]] = {}
    for number, position, n_tokens, part, begin, end in _rows(records):
        operation = trace.operations[number]
        total = sums.setdefault((operation_name(operation), n_tokens > 1), [0, 0, 0, 0])
        once = part == 0
        total[0] += once
        total[1] += end - begin
        positions = position + n_tokens if operation.per_position else 1
        total[2] += operation.bytes_read * positions * once
        total[3] += operation.multiply_adds * positions * n_tokens * once
    made = [
        OperationTime(name, batched, int(n), t / trace.tsc_hz * 1e6, int(read), int(done))
        for (name, batched), (n, t, read, done) in sums.items()
    ]
    return sorted(made, key=lambda o: -o.microseconds)


def busy_fraction(trace: Trace, lane: int = 0) -> float:
    """Return the part of a lane's time, from its first to its last operation, that operations took."""
    records = trace.lanes[lane]
    span = int(records["end_cycles"][-1]) - int(records["begin_cycles"][0])
    return float((records["end_cycles"] - records["begin_cycles"]).sum()) / span
