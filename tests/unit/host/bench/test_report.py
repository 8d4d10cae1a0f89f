"""A comparison as JSON and as a picture."""

import json
from importlib.util import find_spec
from pathlib import Path

import pytest

from axiom.host.bench.agreement import Agreement, limits
from axiom.host.bench.report import comparison_json, plot
from axiom.host.bench.results import Comparison, make_results
from axiom.host.errors import UserError
from tests.unit.host.bench.test_results import WORK, samples

WANTED = {
    "decode_tok_s",
    "bandwidth_fraction",
    "prefill_tok_s",
    "ttft_128_ms",
    "ttft_512_ms",
    "start_to_first_token_ms",
    "jitter_us",
    "extra_memory_bytes",
    "joules_per_token",
}


def comparison() -> Comparison:
    made = samples(peer=True)
    made.add("machine", "meeting_ns", 400.0)
    results = make_results(made, WORK)
    agreement = Agreement(32, 0.1, 1e-4, 1e-3, 1.0, 0.0)
    return Comparison(results, made, "kvm", 2, "2 threads", "AVX2", agreement, agreement, limits(agreement))


def test_the_json_has_every_metric_with_its_fields() -> None:
    report = json.loads(json.dumps(comparison_json(comparison(), {"processor": "x"})))
    assert {one["metric"] for one in report["results"]} >= WANTED
    for one in report["results"]:
        assert {"metric", "axiom", "peer", "ratio", "spread", "cpus", "machine"} <= one.keys()
        assert (one["cpus"], one["machine"]) == (2, "kvm")
    assert report["facts"]["processor"] == "x"
    assert report["facts"]["meeting_ns"] == 400.0
    assert report["facts"]["read_ahead_gb_s"] == 5.5
    for place in ("before_axiom", "before_peer", "after"):
        assert report["facts"][f"read_{place}_gb_s"] == 11.0
        assert report["facts"][f"read_ahead_{place}_gb_s"] == 5.5
    assert report["samples"]["axiom.round_token_s"] == pytest.approx([0.1, 0.2, 0.3])
    assert report["agreement"]["positions"] == report["yardstick"]["positions"] == 32
    assert report["divergence_over_yardstick"] == 1.0
    assert report["limits"]["mean_divergence"] == 1e-3
    assert "yardstick" in report["limits"]["rule"]
    assert report["uncompared"] == ""


@pytest.mark.skipif(find_spec("matplotlib") is None, reason="matplotlib is an extra")
def test_the_picture_is_a_png_and_whole_or_absent(tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    plot(comparison(), path)
    assert path.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(UserError, match="cannot be written"):
        plot(comparison(), tmp_path / "missing" / "picture.png")
    assert [p.name for p in tmp_path.iterdir()] == ["picture.png"]


@pytest.mark.skipif(find_spec("matplotlib") is not None, reason="matplotlib is installed")
def test_without_matplotlib_it_is_said_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="matplotlib is not installed"):
        plot(comparison(), tmp_path / "picture.png")
