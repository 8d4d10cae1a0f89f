"""The floor of a token."""

import pytest

from axiom.host.bench.floor import token_floor
from axiom.host.image.plan import Operation
from axiom.metal.engine.operation import OperationKind

OPERATIONS = (
    Operation(OperationKind.MATMUL, "blk.0.attn_q", bytes_read=1000, multiply_adds=2000),
    Operation(OperationKind.MATMUL, "blk.1.attn_q", bytes_read=1000, multiply_adds=2000),
    Operation(OperationKind.ATTENTION, "attention", bytes_read=10, multiply_adds=20, per_position=True),
)


def test_operations_are_summed_by_name_and_attention_by_positions() -> None:
    attention, query = token_floor(OPERATIONS, 2.0, 500)
    assert (attention.name, attention.count, attention.bytes_read) == ("attention", 1, 5000)
    assert attention.multiply_adds == 10_000
    assert attention.floor_us == pytest.approx(2.5)
    assert (query.name, query.count, query.bytes_read, query.multiply_adds) == ("attn_q", 2, 2000, 4000)
    assert query.floor_us == pytest.approx(1.0)
