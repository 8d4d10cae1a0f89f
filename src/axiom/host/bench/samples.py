"""What was measured, before anything is made of it."""

from dataclasses import dataclass, field

ARMS = ("axiom", "peer")


@dataclass
class Samples:
    """What was measured, by arm ("axiom", "peer", "machine") and name."""

    values: dict[tuple[str, str], list[float]] = field(default_factory=dict[tuple[str, str], list[float]])

    def add(self, arm: str, name: str, *values: float) -> None:
        """Add measurements."""
        self.values.setdefault((arm, name), []).extend(values)

    def get(self, arm: str, name: str) -> list[float]:
        """Return all measurements, none when there were none."""
        return self.values.get((arm, name), [])
