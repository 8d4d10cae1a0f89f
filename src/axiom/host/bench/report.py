"""A comparison as JSON and as a picture."""

from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any

from axiom.host.bench.results import Comparison
from axiom.host.errors import UserError


def comparison_json(made: Comparison, facts: dict[str, Any]) -> dict[str, Any]:
    """Return everything, the raw samples included."""
    return {
        "facts": facts | _measured_facts(made),
        "agreement": vars(made.agreement) if made.agreement else None,
        "yardstick": vars(made.yardstick) if made.yardstick else None,
        "results": [
            {**vars(result), "cpus": made.cpus, "machine": made.machine} for result in made.results
        ],
        "samples": {f"{arm}.{name}": values for (arm, name), values in made.samples.values.items()},
    }


def _measured_facts(made: Comparison) -> dict[str, Any]:
    return {
        "read_gb_s": median(made.samples.get("machine", "read_gb_s")),
        "read_ahead_gb_s": median(made.samples.get("machine", "read_ahead_gb_s")),
        "meeting_ns": median(made.samples.get("machine", "meeting_ns")),
        "peer_setting": made.peer_setting,
        "peer_system": made.peer_system,
    }


def plot(made: Comparison, path: Path) -> None:
    """Draw the latency of tokens and the share of memory bandwidth as a PNG."""
    try:
        figure: Any = import_module("matplotlib.figure").Figure(figsize=(10, 4), layout="constrained")
    except ImportError:
        raise UserError(
            "matplotlib is not installed.", "install it: .venv/bin/pip install matplotlib"
        ) from None
    left, right = figure.subplots(1, 2)
    for arm in ("axiom", "peer"):
        times = [s * 1e3 for s in made.samples.get(arm, "token_s")]
        if times:
            left.hist(times, bins=60, alpha=0.6, label=arm)
    left.set(xlabel="token latency, ms", ylabel="tokens")
    left.legend()
    share = next(result for result in made.results if result.metric == "bandwidth_fraction")
    bars = [(arm, value) for arm, value in (("axiom", share.axiom), ("peer", share.peer)) if value]
    right.bar([arm for arm, _ in bars], [value * 100 for _, value in bars])
    right.set(ylabel="% of plain-read bandwidth", ylim=(0, 105))
    temporary = path.with_name(path.name + ".part")
    try:
        figure.savefig(temporary, format="png", dpi=120)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise UserError(f"{path} cannot be written: {error.strerror}.") from error
