"""What the kernel reports, from bytes to typed values."""

import struct
from typing import Any

import numpy as np
import pytest

from axiom.abi.boot import BootFailure, BootReport, BootStage, RegionKind
from axiom.abi.link import DoneReason, ErrorCode, MessageType
from axiom.host.errors import MachineError
from axiom.host.machine.events import (
    BootEvent,
    CountersEvent,
    DoneEvent,
    ErrorEvent,
    LogitsEvent,
    Region,
    TokenEvent,
    parse_event,
)
from axiom.host.machine.frames import Frame
from axiom.lang import size_of, u32, u64, view_of


def _parse(kind: int, payload: bytes) -> Any:
    return parse_event(Frame(kind, 0, payload))


def test_the_boot_report_comes_with_its_regions() -> None:
    data = bytearray(size_of(BootReport))
    report = view_of(BootReport, data)
    report.failure = BootFailure.NO_DRIVE
    report.failure_detail = u32(3)
    report.tsc_hz = u64(2_600_000_000)
    report.giant_pages = u32(1)
    report.vector_bytes = u32(64)
    report.n_lanes = u32(2)
    report.lane_start_cycles = u64(500_000)
    report.stage_cycles[int(BootStage.READY)] = 77
    report.regions.count = u64(1)
    record = report.regions.records[0]
    record.kind = RegionKind.LINK
    record.permissions = u32(3)
    record.address = u64(0x200000)
    record.bytes = u64(4096)
    record.page_bytes = u64(4096)
    event = _parse(MessageType.BOOT, bytes(data))
    assert isinstance(event, BootEvent)
    assert (event.failure, event.failure_detail) == (BootFailure.NO_DRIVE, 3)
    assert (event.tsc_hz, event.giant_pages, event.vector_bytes) == (2_600_000_000, True, 64)
    assert (event.n_lanes, event.lane_start_cycles) == (2, 500_000)
    assert event.stage_cycles[BootStage.READY] == 77
    assert event.regions == (Region(RegionKind.LINK, 3, 0x200000, 4096, 4096),)


def test_tokens_logits_ends_counters_and_errors_are_read() -> None:
    token = _parse(MessageType.TOKEN, struct.pack("<IIIIQ", 1, 2, 3, 0, 4))
    assert token == TokenEvent(sequence_id=1, number=2, token=3, cycles=4)
    logits = _parse(MessageType.LOGITS, struct.pack("<IIII3f", 1, 2, 100, 3, 0.5, -1, 2))
    assert isinstance(logits, LogitsEvent)
    assert (logits.sequence_id, logits.number, logits.first) == (1, 2, 100)
    assert np.array_equal(logits.logits, np.array([0.5, -1, 2], np.float32))
    done = _parse(MessageType.DONE, struct.pack("<IIIIQQQ", 1, 2, 3, 4, 5, 6, 7))
    assert done == DoneEvent(1, DoneReason.LENGTH, 3, 4, 5, 6, 7)
    error = _parse(MessageType.ERROR, struct.pack("<IIQ", 4, 5, 6))
    assert error == ErrorEvent(ErrorCode.BUSY, 5, 6)
    counters = _parse(MessageType.COUNTERS, struct.pack("<13Q", *range(13)))
    assert isinstance(counters, CountersEvent)
    assert counters.counters["timer_interrupts"] == 0
    assert counters.counters["refused_allocations"] == 8
    assert counters.counters["ring0_stack_bytes"] == 12


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        (MessageType.TOKEN, bytes(23)),
        (MessageType.BOOT, bytes(8)),
        (MessageType.BOOT, b"\xff" * size_of(BootReport)),
        (MessageType.LOGITS, struct.pack("<IIIIf", 1, 2, 3, 2, 0.5)),
        (MessageType.DONE, struct.pack("<IIIIQQQ", 1, 99, 3, 4, 5, 6, 7)),
        (MessageType.START, b""),
        (999, b""),
    ],
)
def test_what_makes_no_sense_is_an_error_in_words(kind: int, payload: bytes) -> None:
    with pytest.raises(MachineError, match="the kernel sent a"):
        _parse(kind, payload)
