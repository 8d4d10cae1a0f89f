"""The installed command as its users meet it: output, statuses, sentences, signals, what stays behind."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from axiom.host.machine.accelerator import kvm_obstacle
from axiom.host.model.packed_file import read_packed
from axiom.metal.drivers.mapped_model import EAGER_BYTES
from axiom.models import bundled_model_path
from tests.support.llama_bench import asked, write_llama_bench
from tests.unit.host.model.gguf_builder import gguf_bytes, llama_entries, llama_values, write

AXIOM = Path(sys.executable).with_name("axiom")
DEADLINE_SECONDS = 120
WIDE_FFN = 131_072  # as many rows of 32 as make a model of 27 MB
MACHINE = "tcg" if kvm_obstacle() else "kvm"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a cache directory that the tests of this file share, so that an image is built once."""
    return tmp_path_factory.mktemp("home")


def environment(home: Path) -> dict[str, str]:
    return {**os.environ, "XDG_CACHE_HOME": str(home)}


def axiom(home: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end, with these variables in its environment."""
    return subprocess.run(
        [str(AXIOM), *arguments],
        env=environment(home) | variables,
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )


def run_json(home: Path, *arguments: str) -> dict[str, Any]:
    done = axiom(home, "run", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def refused(done: subprocess.CompletedProcess[str], status: int, *words: str) -> None:
    """Check a refusal: its status, one sentence on stderr with these words, no traceback, no output."""
    assert done.returncode == status, (done.stdout, done.stderr)
    first, *rest = done.stderr.strip().splitlines()
    assert first.startswith("axiom: ")
    assert all(line.startswith("hint: ") for line in rest), done.stderr
    assert len(rest) <= 1
    for word in words:
        assert word in done.stderr
    assert done.stdout == ""


def children_of(pid: int) -> list[int]:
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(word) for word in path.read_text().split()] if path.exists() else []


def wait_for(happened: Any, what: str) -> Any:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        if found := happened():
            return found
        time.sleep(0.005)
    pytest.fail(f"{what} did not happen")


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def start_long(home: Path) -> tuple[subprocess.Popen[bytes], int]:
    """Start a generation that takes seconds (emulated); return it and its QEMU once text has come."""
    process = subprocess.Popen(
        [str(AXIOM), "run", "-n", "500000", "--ignore-eos", "--machine", "tcg", "-p", "Once"],
        bufsize=0,
        env=environment(home),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.read(12)
    return process, wait_for(lambda: children_of(process.pid), "a machine")[0]


def test_text_goes_to_stdout_and_everything_else_to_stderr(home: Path) -> None:
    done = axiom(home, "run", "-p", "Once upon a time", "-n", "12", "--machine", MACHINE)
    assert done.returncode == 0
    assert done.stdout.startswith("Once upon a time")
    assert done.stdout.endswith("\n")
    assert "12 tokens" in done.stderr
    assert "12 tokens" not in done.stdout


def test_ids_are_one_line_and_the_same_on_every_machine(home: Path) -> None:
    asked = ["run", "-p", "Once upon a time", "-n", "24", "--ids"]
    lines = {axiom(home, *asked, "--machine", machine).stdout for machine in {MACHINE, "tcg", "hosted"}}
    assert len(lines) == 1
    ids = lines.pop()
    assert ids.count("\n") == 1
    assert len(ids.split()) == 24


def test_json_says_everything_and_the_plan_predicts_the_regions(home: Path) -> None:
    for extra in ([], ["--memory", "64M"], ["--cpus", "2", "--context", "100"]):
        made = run_json(home, "-p", "Once", "-n", "5", "--machine", MACHINE, *extra)
        assert set(made) >= {"prompt_ids", "ids", "text", "machine", "logits_digest", "timings", "boot"}
        timings = made["timings"]
        assert set(timings) >= {
            "start_to_first_token_ms",
            "ttft_ms",
            "decode_tok_s",
            "token_us",
            "stages_ms",
        }
        assert len(timings["token_us"]) == 4
        assert made["machine"] == MACHINE
        planned = axiom(home, "plan", "--json", *extra)
        assert planned.returncode == 0, planned.stderr
        predicted = {(r["name"], r["address"], r["bytes"]) for r in json.loads(planned.stdout)["regions"]}
        reported = {(r["name"], r["address"], r["bytes"]) for r in made["boot"]["regions"]}
        assert predicted <= reported
        image = {"code", "read_only_data", "data", "boot"}
        assert {name for name, _, _ in reported - predicted} <= image | {
            r["name"] for r in made["boot"]["regions"] if r["address"] < min(p[1] for p in predicted)
        }
        counters = made["boot"]["counters"]
        assert counters["other_interrupts"] == 0
        assert counters["refused_allocations"] == 0


def test_a_seed_repeats_a_draw(home: Path) -> None:
    asked = ["-p", "Once", "-n", "20", "--temp", "0.9", "--machine", "hosted"]
    first, second, other = (run_json(home, *asked, "--seed", seed)["ids"] for seed in ("1", "1", "2"))
    assert first == second
    assert first != other


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["/nowhere/model.gguf"], ["/nowhere/model.gguf"]),
        (["/"], ["not a regular file"]),
        (["-n", "0"], ["-n 0"]),
        (["--temp", "-1"], ["--temp"]),
        (["--machine", "abacus"], ["abacus", "kvm"]),
        (["--memory", "lots"], ["lots"]),
        (["--memory", "4M", "--machine", "tcg"], ["bytes are missing"]),
        (["--context", "100000"], ["100000"]),
    ],
)
def test_wrong_arguments_get_one_sentence(home: Path, arguments: list[str], words: list[str]) -> None:
    refused(axiom(home, "run", *arguments), 2, *words)


def test_an_unknown_option_is_status_2(home: Path) -> None:
    done = axiom(home, "run", "--frobnicate")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_damaged_and_foreign_files_are_refused_and_leave_nothing(home: Path, tmp_path: Path) -> None:
    good = bundled_model_path().read_bytes()
    before = sorted(home.rglob("*"))
    cases = {
        "cut": (good[: len(good) // 2], "needs"),
        "text": (b"Once upon a time", "GGUF"),
        "empty": (b"", "GGUF"),
        "mamba": (
            good.replace(
                b"general.architecture\x08\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00llama",
                b"general.architecture\x08\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00mamba",
            ),
            "mamba",
        ),
    }
    for name, (content, word) in cases.items():
        assert content != good
        path = tmp_path / f"{name}.gguf"
        path.write_bytes(content)
        refused(axiom(home, "run", str(path), "--machine", "hosted"), 2, word)
    assert sorted(home.rglob("*")) == before


def test_a_flipped_bit_in_the_packed_weights_is_refused(home: Path) -> None:
    assert axiom(home, "run", "-n", "1", "--machine", MACHINE).returncode == 0
    (packed,) = (home / "axiom" / "models").glob("*.axm")
    found = read_packed(packed)
    assert found is not None
    place = found.weights_offset + found.weights_bytes // 2
    with packed.open("r+b") as file:
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ 16]))
    try:
        refused(axiom(home, "run", "-n", "1", "--machine", MACHINE), 2, "damaged")
    finally:
        packed.unlink()


def flip_last_bit_of_weights(packed: Path) -> None:
    found = read_packed(packed)
    assert found is not None
    with packed.open("r+b") as file:
        file.seek(found.weights_offset + found.weights_bytes - 1)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))


def test_damage_far_into_a_mapped_model_is_found_before_the_end(home: Path, tmp_path: Path) -> None:
    """What lies beyond the part that is checked at once is checked when there is nothing else to do."""
    path = write(tmp_path, gguf_bytes(llama_values(WIDE_FFN), llama_entries(d_ffn=WIDE_FFN)), "wide.gguf")
    wide = str(path)
    options = ["--ids", "-n", "4", "--ignore-eos", "--load", "map", "--machine", MACHINE]
    before = set((home / "axiom" / "models").glob("*.axm"))
    good = axiom(home, "run", wide, *options)
    assert good.returncode == 0, good.stderr
    (packed,) = set((home / "axiom" / "models").glob("*.axm")) - before
    try:
        found = read_packed(packed)
        assert found is not None
        assert found.weights_bytes > EAGER_BYTES + (2 << 20)
        flip_last_bit_of_weights(packed)
        bad = axiom(home, "run", wide, *options)
        assert bad.returncode == 2, bad.stderr
        assert bad.stderr.count("axiom: ") == 1
        assert "damaged" in bad.stderr
        assert "Traceback" not in bad.stderr
        assert good.stdout.startswith(bad.stdout.strip())
    finally:
        packed.unlink()


def test_interrupting_ends_the_machine_too(home: Path) -> None:
    process, machine = start_long(home)
    os.kill(process.pid, signal.SIGINT)
    out, error = process.communicate(timeout=DEADLINE_SECONDS)
    assert b"Traceback" not in error
    assert process.returncode == 130 or (process.returncode == 0 and out.endswith(b"\n"))
    wait_for(lambda: is_gone(machine), "the end of the machine")


def test_a_machine_that_is_killed_is_the_machines_fault(home: Path) -> None:
    process, machine = start_long(home)
    os.kill(machine, signal.SIGKILL)
    _, error = process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == 3, error
    assert b"Traceback" not in error
    assert error.count(b"axiom: ") == 1


def test_a_drive_that_does_not_answer_is_the_machines_fault(home: Path, tmp_path: Path) -> None:
    real = shutil.which("qemu-system-x86_64")
    assert real is not None
    slow = tmp_path / "qemu-system-x86_64"
    slow.write_text(
        f"#!{sys.executable}\n"
        "import os, sys\n"
        "slow = 'aio=threads,throttling.bps-total=1000'\n"
        "slowly = [a.replace('aio=threads', slow) for a in sys.argv[1:]]\n"
        "assert slowly != sys.argv[1:]\n"
        f"os.execv({real!r}, [{real!r}, *slowly])\n"
    )
    slow.chmod(0o755)
    done = subprocess.run(
        [str(AXIOM), "run", "-n", "1", "--machine", MACHINE, "--load", "nvme"],
        env={**environment(home), "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    refused(done, 3, "NVMe", "TIMEOUT")


def test_a_reader_that_leaves_ends_it_quietly(home: Path) -> None:
    process, machine = start_long(home)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    error = process.stderr.read()
    process.wait(DEADLINE_SECONDS)
    assert b"Traceback" not in error
    wait_for(lambda: is_gone(machine), "the end of the machine")


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system takes root")
def test_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(small)], check=False)
    if mounted.returncode:
        pytest.skip("a file system cannot be mounted here")
    try:
        refused(axiom(small, "run", "-n", "1", "--machine", "hosted"), 2, "space")
        assert not [p for p in small.rglob("*") if p.suffix in (".axm", ".part")]
    finally:
        subprocess.run(["umount", str(small)], check=True)


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


def test_the_doctor_names_what_it_found(home: Path) -> None:
    done = axiom(home, "doctor")
    assert done.returncode in (0, 3)
    assert "huge pages" in done.stdout
    chosen = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    if chosen.exists():
        word = chosen.read_text().partition("[")[2].partition("]")[0]
        assert f"[{word}]" in done.stdout


def test_the_model_and_the_link_take_either_way_to_the_same_numbers(home: Path) -> None:
    asked = ["-p", "Once", "-n", "6", "--machine", MACHINE, "--cpus", "1"]
    ways = [["--load", "map"], ["--load", "nvme"], ["--link", "uart"]]
    assert len({run_json(home, *asked, *way)["logits_digest"] for way in ways}) == 1


@pytest.mark.parametrize("command", [[], ["run"], ["plan"], ["doctor"], ["trace"], ["bench"]])
def test_every_help_is_there(home: Path, command: list[str]) -> None:
    done = axiom(home, *command, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith(f"usage: {' '.join(['axiom', *command])}")
