"""The installed command, run in a cache of its own: what it leaves, says and starts."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from axiom.host.machine.accelerator import kvm_obstacle

AXIOM = Path(sys.executable).with_name("axiom")
DEADLINE_SECONDS = 120
MACHINE = "tcg" if kvm_obstacle() else "kvm"


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
