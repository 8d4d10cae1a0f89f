"""llama-bench as a peer: a program in its place answers with what the real one said."""

from pathlib import Path

import pytest

from axiom.host.bench.llama_bench import LlamaBench
from axiom.host.bench.measure import compare
from axiom.host.bench.peer_choice import choose_peer
from axiom.host.bench.peer_settings import PeerSetting, settings_to_try
from axiom.host.bench.plan import Plan
from axiom.host.errors import MachineError
from axiom.host.model.pack import packed_model
from axiom.models import bundled_model_path
from tests.support.llama_bench import RECORDED, asked, recorded, write_llama_bench
from tests.unit.host.bench.test_measure import EFFORT, options

MODEL = Path("model.gguf")


def script(folder: Path, text: str) -> Path:
    path = folder / "program"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_a_recorded_run_is_read_as_it_was_meant(tmp_path: Path) -> None:
    short, long, tokens = recorded()
    program = script(tmp_path, f"cat {RECORDED}")
    found = LlamaBench(program, MODEL, True).times(PeerSetting(2), (128, 512), 48)
    assert found.prefill_s == {128: short["avg_ns"] / 1e9, 512: long["avg_ns"] / 1e9}
    # It says the same in tokens a second, rounded.
    assert 128 / found.prefill_s[128] == pytest.approx(short["avg_ts"], rel=1e-6)
    assert 1 / found.token_s == pytest.approx(tokens["avg_ts"], rel=1e-6)
    assert found.build == short["build_commit"]


def test_every_part_of_a_setting_is_asked_for(tmp_path: Path) -> None:
    program = write_llama_bench(tmp_path)
    LlamaBench(program, MODEL, True).times(PeerSetting(3, True, False, 512), (128, 512), 48)
    (given,) = asked(program)
    wanted = {"-m": "model.gguf", "-p": "128,512", "-n": "48", "-t": "3", "-fa": "1", "--repack": "0"}
    assert wanted.items() <= given.items()
    assert (given["-b"], given["-ub"], given["-r"], given["-ngl"]) == ("512", "512", "1", "0")


def test_the_best_setting_is_the_fastest_that_runs(tmp_path: Path) -> None:
    said: list[str] = []
    bench = LlamaBench(write_llama_bench(tmp_path), MODEL, True)
    best = bench.best_setting(settings_to_try(2), said.append)
    assert (best.flash_attention, best.n_batch) == (False, 512)
    assert sum("failed to create context" in line for line in said) == 4
    assert any("repack off" in line for line in said)


def test_one_that_cannot_be_told_to_repack_is_not_told(tmp_path: Path) -> None:
    program = write_llama_bench(tmp_path, repack=False)
    said: list[str] = []
    assert LlamaBench(program, MODEL, False).best_setting(settings_to_try(2), said.append).repack
    assert not any("repack off" in line for line in said)
    assert not any("--repack" in given for given in asked(program))


@pytest.mark.parametrize(
    "answer",
    ["echo more", "echo '[]'", "echo '[1]'", "echo '{}'", 'echo \'[{"n_prompt": 128, "n_gen": 0}]\''],
)
def test_what_tells_no_times_is_an_error(tmp_path: Path, answer: str) -> None:
    bench = LlamaBench(script(tmp_path, answer), MODEL, True)
    with pytest.raises(MachineError, match="something else than times"):
        bench.times(PeerSetting(2), (128,), 8)


def test_a_failure_is_told_with_its_status_and_last_words(tmp_path: Path) -> None:
    bench = LlamaBench(script(tmp_path, "echo first >&2; echo no model >&2; exit 3"), MODEL, True)
    with pytest.raises(MachineError, match="status 3: no model"):
        bench.times(PeerSetting(2), (128,), 8)
    with pytest.raises(MachineError, match="none of its settings"):
        bench.best_setting([PeerSetting(2)], lambda text: None)
    with pytest.raises(MachineError, match="did not run"):
        LlamaBench(tmp_path / "none", MODEL, True).times(PeerSetting(2), (128,), 8)


def test_a_comparison_with_it_has_speeds_and_says_what_it_lacks(tmp_path: Path) -> None:
    path = bundled_model_path()
    program = write_llama_bench(tmp_path)
    plan = Plan(
        packed_model(path, tmp_path / "models"),
        path,
        options(),
        EFFORT,
        choose_peer(str(program)),
        lambda: 20.0,
        lambda setting: 40.0,
        lambda text: None,
    )
    made = compare(plan)
    short, _, tokens = recorded()
    lines = {one.metric: one for one in made.results}
    assert lines["decode_tok_s"].peer == pytest.approx(tokens["avg_ts"], rel=1e-4)
    assert lines["ttft_128_ms"].peer == pytest.approx(short["avg_ns"] / 1e6, rel=1e-4)
    assert "mean" in lines["decode_tok_s"].note
    for name in ("prefill_tok_s", "bandwidth_fraction", "ttft_140_ms"):
        assert lines[name].ratio is not None, name
        assert "does not tell" not in lines[name].note
    for name in ("jitter_us", "start_to_first_token_ms", "extra_memory_bytes"):
        assert lines[name].axiom is not None
        assert lines[name].peer is None
        assert "llama-bench does not tell" in lines[name].note
    assert made.agreement is None
    assert made.limits is None
    assert "outputs were not compared" in made.uncompared
    assert made.peer_system == "llama-bench unknown"
    assert "2 threads" not in made.peer_setting
    assert "1 threads, flash attention off" in made.peer_setting
