"""The floor of a token: the time that its operations take at the machine's bandwidth, and no other cost."""

from collections.abc import Sequence
from dataclasses import dataclass

from axiom.host.bench.trace import operation_name
from axiom.host.image.plan import Operation


@dataclass(frozen=True)
class Floor:
    """All operations of one name, for one token that sees `positions` positions."""

    name: str
    count: int
    bytes_read: int
    multiply_adds: int
    floor_us: float


def token_floor(operations: Sequence[Operation], bandwidth_gb_s: float, positions: int) -> list[Floor]:
    """Return the floor by name, the longest first.

    Decoding one token is bound by memory everywhere, so that arithmetic does not raise the floor.
    """
    sums: dict[str, list[int]] = {}
    for operation in operations:
        times = positions if operation.per_position else 1
        total = sums.setdefault(operation_name(operation), [0, 0, 0])
        total[0] += 1
        total[1] += operation.bytes_read * times
        total[2] += operation.multiply_adds * times
    made = [
        Floor(name, count, read, done, read / bandwidth_gb_s / 1e3)
        for name, (count, read, done) in sums.items()
    ]
    return sorted(made, key=lambda one: -one.floor_us)
