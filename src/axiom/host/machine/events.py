"""What the kernel reports, as typed values.

Times are cycles of the kernel's time-stamp counter; `BootEvent.tsc_hz` says how many make a second.
"""

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from axiom.abi.boot import BootFailure, BootReport, BootStage, Counters, RegionKind
from axiom.abi.link import (
    DoneMessage,
    DoneReason,
    ErrorCode,
    ErrorMessage,
    LogitsMessage,
    MeasuredMessage,
    MessageType,
    TokenMessage,
)
from axiom.abi.trace import TraceMessage
from axiom.host.errors import MachineError
from axiom.host.machine.frames import Frame
from axiom.host.machine.wire import Record
from axiom.lang import Panic, size_of, view_of
from axiom.lang.later import Later

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
else:
    np = Later("numpy")


class Region(NamedTuple):
    """A region of physical memory as the kernel mapped it."""

    kind: RegionKind
    permissions: int
    address: int
    bytes: int
    page_bytes: int


class BootEvent(NamedTuple):
    """The kernel is ready, or has refused to start. `stage_cycles` has one entry per BootStage."""

    failure: BootFailure
    failure_detail: int
    tsc_hz: int
    load_bytes: int
    load_cycles: int
    vector_bytes: int
    giant_pages: bool
    stage_cycles: dict[BootStage, int]
    regions: tuple[Region, ...]
    n_lanes: int = 1
    lane_start_cycles: int = 0
    mapped: bool = False
    checked_bytes: int = 0
    drive_opcode: int = 0
    drive_status: int = 0


class TokenEvent(NamedTuple):
    """One sampled token; `number` counts from 0 in its sequence."""

    sequence_id: int
    number: int
    token: int
    cycles: int


class LogitsEvent(NamedTuple):
    """The logits from `first` on, out of which token `number` was sampled.

    of_prompt: `number` is a position of the prompt instead, and nothing was sampled.
    """

    sequence_id: int
    number: int
    first: int
    logits: "NDArray[np.float32]"
    of_prompt: bool = False


class DoneEvent(NamedTuple):
    """A sequence has ended. logits_digest: CRC-32C over the logits of every sampled step."""

    sequence_id: int
    reason: DoneReason
    n_generated: int
    logits_digest: int
    start_cycles: int
    first_token_cycles: int
    end_cycles: int


class CountersEvent(NamedTuple):
    """Everything that ever interrupted the kernel, by the names of abi.boot.Counters."""

    counters: dict[str, int]


class ErrorEvent(NamedTuple):
    """The kernel did not do as asked."""

    code: ErrorCode
    sequence_id: int
    detail: int


class MeasuredEvent(NamedTuple):
    """What reading part of a region took; lane: as it was asked for."""

    kind: RegionKind
    lane: int
    bytes: int
    cycles: int


class TraceEvent(NamedTuple):
    """Operations that one lane did, oldest first, with the fields of abi.trace.TraceRecord.

    n_lost: how many older ones of the lane were overwritten. No records: the trace is complete.
    """

    lane: int
    n_lost: int
    records: "NDArray[np.void]"


Event = (
    BootEvent
    | TokenEvent
    | LogitsEvent
    | DoneEvent
    | CountersEvent
    | ErrorEvent
    | TraceEvent
    | MeasuredEvent
)


_TOKEN = Record(TokenMessage)
_LOGITS = Record(LogitsMessage)
_DONE = Record(DoneMessage)
_ERROR = Record(ErrorMessage)
_COUNTERS = Record(Counters)
_TRACE = Record(TraceMessage)
_MEASURED = Record(MeasuredMessage)
TRACE_DTYPE = [
    ("operation", "<u4"),
    ("position", "<u4"),
    ("n_tokens", "<u4"),
    ("part", "<u4"),
    ("begin_cycles", "<u8"),
    ("end_cycles", "<u8"),
]


def _boot(payload: bytes) -> Event:
    if len(payload) < size_of(BootReport):
        raise ValueError(f"{len(payload)} bytes")
    report = view_of(BootReport, bytearray(payload))
    records = [report.regions.records[i] for i in range(int(report.regions.count))]
    return BootEvent(
        failure=BootFailure(report.failure),
        failure_detail=int(report.failure_detail),
        tsc_hz=int(report.tsc_hz),
        load_bytes=int(report.load_bytes),
        load_cycles=int(report.load_cycles),
        vector_bytes=int(report.vector_bytes),
        giant_pages=report.giant_pages != 0,
        stage_cycles={stage: int(report.stage_cycles[int(stage)]) for stage in BootStage},
        regions=tuple(
            Region(
                kind=RegionKind(record.kind),
                permissions=int(record.permissions),
                address=int(record.address),
                bytes=int(record.bytes),
                page_bytes=int(record.page_bytes),
            )
            for record in records
        ),
        n_lanes=int(report.n_lanes),
        lane_start_cycles=int(report.lane_start_cycles),
        mapped=report.mapped != 0,
        checked_bytes=int(report.checked_bytes),
        drive_opcode=int(report.drive_opcode),
        drive_status=int(report.drive_status),
    )


def _token(payload: bytes) -> Event:
    fields = _TOKEN.unpack(payload)
    return TokenEvent(fields["sequence_id"], fields["index"], fields["token"], fields["cycles"])


def _logits(payload: bytes) -> LogitsEvent:
    fields = _LOGITS.unpack(payload)
    logits = np.frombuffer(payload, "<f4", fields["count"], _LOGITS.bytes)
    return LogitsEvent(fields["sequence_id"], fields["index"], fields["first"], logits)


def _prompt_logits(payload: bytes) -> Event:
    return _logits(payload)._replace(of_prompt=True)


def _done(payload: bytes) -> Event:
    fields = _DONE.unpack(payload)
    return DoneEvent(**(fields | {"reason": DoneReason(fields["reason"])}))


def _error(payload: bytes) -> Event:
    fields = _ERROR.unpack(payload)
    return ErrorEvent(**(fields | {"code": ErrorCode(fields["code"])}))


def _counters(payload: bytes) -> Event:
    return CountersEvent(_COUNTERS.unpack(payload))


def _measured(payload: bytes) -> Event:
    fields = _MEASURED.unpack(payload)
    return MeasuredEvent(**(fields | {"kind": RegionKind(fields["kind"])}))


def _trace(payload: bytes) -> Event:
    fields = _TRACE.unpack(payload)
    records = np.frombuffer(payload, np.dtype(TRACE_DTYPE), fields["count"], _TRACE.bytes)
    return TraceEvent(fields["lane"], fields["n_lost"], records)


_PARSERS: dict[int, Callable[[bytes], Event]] = {
    MessageType.BOOT: _boot,
    MessageType.TOKEN: _token,
    MessageType.LOGITS: _logits,
    MessageType.PROMPT_LOGITS: _prompt_logits,
    MessageType.DONE: _done,
    MessageType.COUNTERS: _counters,
    MessageType.ERROR: _error,
    MessageType.TRACE_RECORDS: _trace,
    MessageType.MEASURED: _measured,
}


def parse_event(frame: Frame) -> Event:
    """Return what a frame means. Raises MachineError for a kind or a form that is not known."""
    parser = _PARSERS.get(frame.kind)
    if parser is None:
        raise MachineError(f"the kernel sent a frame of unknown kind {frame.kind}")
    try:
        return parser(frame.payload)
    except (ValueError, struct.error, Panic) as error:
        name = MessageType(frame.kind).name
        raise MachineError(f"the kernel sent a {name} frame that makes no sense: {error}") from error
