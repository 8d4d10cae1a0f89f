"""What a trace becomes: a file for Perfetto, and sums by operation."""

import numpy as np

from axiom.host.bench.trace import Trace, busy_fraction, perfetto_json, summarise
from axiom.host.image.plan import Operation
from axiom.host.machine.events import TRACE_DTYPE
from axiom.metal.engine.operation import OperationKind

OPERATIONS = (
    Operation(OperationKind.MATMUL, "blk.0.attn_q", bytes_read=1000, multiply_adds=2000),
    Operation(OperationKind.ATTENTION, "attention", bytes_read=10, multiply_adds=20, per_position=True),
)


def make_trace() -> Trace:
    lane = np.array(
        [
            (0, 0, 3, 0, 1000, 2000),
            (0, 0, 3, 1, 2000, 3000),
            (1, 4, 1, 0, 3000, 4000),
            (1, 5, 1, 0, 5000, 5500),
        ],
        TRACE_DTYPE,
    )
    return Trace(OPERATIONS, 1_000_000_000, {0: lane})


def test_the_pieces_of_a_step_are_one_execution() -> None:
    matmul = next(one for one in summarise(make_trace()) if one.name == "attn_q")
    assert (matmul.batched, matmul.count, matmul.microseconds) == (True, 1, 2.0)
    assert (matmul.bytes_read, matmul.multiply_adds) == (1000, 6000)


def test_attention_counts_the_positions_that_it_has_read() -> None:
    attention = next(one for one in summarise(make_trace()) if one.name == "attention")
    assert (attention.count, attention.bytes_read, attention.multiply_adds) == (2, 110, 220)


def test_gaps_between_operations_are_not_busy() -> None:
    assert busy_fraction(make_trace()) == 3500 / 4500


def test_the_file_has_one_event_per_record_in_microseconds_from_the_first() -> None:
    made = perfetto_json(make_trace(), "tiny")
    events = [e for e in made["traceEvents"] if e["ph"] == "X"]
    assert [(e["name"], e["ts"], e["dur"]) for e in events] == [
        ("attn_q", 0.0, 1.0),
        ("attn_q", 1.0, 1.0),
        ("attention", 2.0, 1.0),
        ("attention", 4.0, 0.5),
    ]
    assert events[0]["args"]["multiply_adds"] == 6000
    assert {e["tid"] for e in events} == {0}


def test_no_records_give_no_sums() -> None:
    assert summarise(Trace(OPERATIONS, 1, {})) == []
