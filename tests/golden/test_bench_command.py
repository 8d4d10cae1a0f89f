"""`axiom bench` as its users meet it: what it refuses, its lines, with and without a peer."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.support.command_line import axiom, refused
from tests.support.llama_bench import asked, write_llama_bench


def test_a_speed_under_emulation_is_refused(home: Path) -> None:
    refused(axiom(home, "bench", "--machine", "tcg"), 2, "emulation", "--machine hosted")


@pytest.mark.parametrize(
    ("peer", "words"),
    [
        ("ollama", "no such file"),
        ("/etc/passwd", "not an executable file"),
        ("/bin/true", "neither a llama-bench nor a Python with llama-cpp-python"),
    ],
)
def test_a_peer_that_is_none_is_refused(home: Path, peer: str, words: str) -> None:
    refused(axiom(home, "bench", "--machine", "hosted", "--peer", peer), 2, peer, words)


def test_a_missing_peer_is_refused_with_the_way_to_it(home: Path, tmp_path: Path) -> None:
    done = axiom(home, "bench", "--machine", "hosted", AXIOM_PEER_PYTHON=str(tmp_path / "none"))
    refused(done, 2, str(tmp_path / "none"))


def test_what_cannot_be_measured_is_refused(home: Path, tmp_path: Path) -> None:
    nobody = ["bench", "--quick", "--machine", "hosted", "--peer", "none", "--cpus", "1"]
    refused(axiom(home, *nobody, "--context", "32"), 2, "32 positions", "--context 68")
    refused(axiom(home, *nobody, str(tmp_path / "no.gguf")), 2, "no.gguf")
    refused(axiom(home, *nobody, "--tokens", "0"), 2, "--tokens")
    refused(axiom(home, *nobody, "--plot", str(tmp_path / "no" / "plot.png")), 2, "no folder")


def bench(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Measure the bundled model as shortly as the command can."""
    return axiom(
        home, "bench", "--quick", "--tokens", "4", "--machine", "hosted", "--cpus", "1", *arguments
    )


def test_a_quick_measurement_has_every_line(home: Path, tmp_path: Path) -> None:
    done = bench(home, "--peer", "none", "--json", "--plot", str(tmp_path / "plot.png"))
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    lines = {line["metric"]: line for line in found["results"]}
    rates = ("decode_tok_s", "bandwidth_fraction", "prefill_tok_s")
    times = ("ttft_128_ms", "ttft_512_ms", "start_to_first_token_ms")
    for name in (*rates, *times, "extra_memory_bytes"):
        assert lines[name]["axiom"] > 0, name
    assert lines["ttft_512_ms"]["axiom"] > lines["ttft_128_ms"]["axiom"]
    assert lines["jitter_us"]["axiom"] >= 0
    energy = lines["joules_per_token"]
    assert energy["axiom"] is not None or energy["note"] == "not measurable here"
    for line in lines.values():
        assert (line["peer"], line["ratio"]) == (None, None)
        assert (line["cpus"], line["machine"]) == (1, "hosted")
        assert line["spread"] >= 0
    facts = found["facts"]
    for way in ("read", "read_ahead"):
        for place in ("", "_before_axiom", "_after"):
            assert facts[f"{way}{place}_gb_s"] > 0
    assert facts["processor"]
    assert facts["meeting_ns"] > 0
    assert len(found["samples"]["axiom.token_s"]) == 4
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_a_llama_bench_given_by_its_path_is_the_peer(home: Path, tmp_path: Path) -> None:
    program = write_llama_bench(tmp_path)
    done = bench(home, "--peer", str(program), "--context", "200")
    assert done.returncode == 0, done.stderr
    lines = {line.split()[0]: line for line in done.stdout.splitlines() if line.strip()}
    assert "outputs were not compared, because llama-bench gives none" in done.stdout
    assert "llama-bench does not tell" in lines["jitter_us"]
    assert "the context has 200 positions" in lines["ttft_512_ms"]
    assert lines["ttft_512_ms"].split()[1:4] == ["-", "-", "-"]
    assert "200 tokens: the context has no room for 512" in lines["prefill_tok_s"]
    assert "-" not in lines["decode_tok_s"].split()[1:4]
    assert lines["peer_setting:"].startswith("peer_setting: 1 threads, flash attention off")
    # The best setting, found once, is asked for in every round, with the prompts of the context.
    assert [given["-p"] for given in asked(program)][-2:] == ["128,200", "128,200"]
