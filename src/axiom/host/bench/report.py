"""A comparison as JSON and as a picture."""

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

from axiom.host.bench.bandwidth import medians
from axiom.host.bench.results import Comparison
from axiom.host.errors import UserError


def comparison_json(made: Comparison, facts: dict[str, Any]) -> dict[str, Any]:
    """Return everything, the raw samples included."""
    return {
        "facts": facts | _measured_facts(made),
        "agreement": vars(made.agreement) if made.agreement else None,
        "yardstick": vars(made.yardstick) if made.yardstick else None,
        "divergence_over_yardstick": made.over_yardstick,
        "limits": vars(made.limits) if made.limits else None,
        "uncompared": made.uncompared,
        "results": [
            {**vars(result), "cpus": made.cpus, "machine": made.machine} for result in made.results
        ],
        "samples": {f"{arm}.{name}": values for (arm, name), values in made.samples.values.items()},
    }


def _measured_facts(made: Comparison) -> dict[str, Any]:
    return medians(made.samples) | {
        "meeting_ns": median(made.samples.get("machine", "meeting_ns")),
        "peer_setting": made.peer_setting,
        "peer_system": made.peer_system,
    }


def check_plot(path: Path) -> None:
    """Raise UserError when it is plain before any measurement that no picture can be written to a path."""
    if find_spec("matplotlib") is None:
        raise UserError("matplotlib is not installed.", "install it: .venv/bin/pip install matplotlib")
    if not path.parent.is_dir():
        raise UserError(f"{path} cannot be written: there is no folder {path.parent}.")
    if path.is_dir():
        raise UserError(f"{path} cannot be written: it is a folder.")


def plot(made: Comparison, path: Path) -> None:
    """Draw the latency of tokens and the share of memory bandwidth as a PNG, whole or not at all."""
    check_plot(path)
    figure: Any = import_module("matplotlib.figure").Figure(figsize=(10, 4), layout="constrained")
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
    right.set(ylabel="% of read bandwidth", ylim=(0, 105))
    temporary = path.with_name(path.name + ".part")
    try:
        figure.savefig(temporary, format="png", dpi=120)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise UserError(f"{path} cannot be written: {error.strerror}.") from error
