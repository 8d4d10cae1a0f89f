"""The installed command as its users meet it: output, statuses, sentences, signals, what stays behind."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from axiom.host.model.packed_file import read_packed
from axiom.metal.drivers.mapped_model import EAGER_BYTES
from axiom.models import bundled_model_path
from tests.support.command_line import (
    AXIOM,
    DEADLINE_SECONDS,
    MACHINE,
    axiom,
    environment,
    is_gone,
    refused,
    run_json,
    start_long,
    wait_for,
)
from tests.unit.host.model.gguf_builder import gguf_bytes, llama_entries, llama_values, write

WIDE_FFN = 131_072  # as many rows of 32 as make a model of 27 MB


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
