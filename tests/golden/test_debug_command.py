"""`axiom debug` as its users meet it: the printed command, gdb on the terminal, signals."""

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.gdb_session import run_gdb
from tests.support.terminal import DEADLINE_S, terminal

AXIOM = Path(sys.executable).with_name("axiom")


class AxiomDebug:
    """`axiom debug` as a process, and the gdb command that it prints."""

    def __init__(self, home: Path, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [str(AXIOM), "debug", "-p", "Once upon a time", "-n", "4", *arguments],
            env={**os.environ, "XDG_CACHE_HOME": str(home)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)
            if "continue" in line:
                break

    def gdb(self) -> list[str]:
        command = [line for line in self.lines if line.startswith("    gdb ")]
        assert command, self.lines
        return shlex.split(command[0])

    def machine(self) -> int:
        """Return the process that is the machine."""
        pid = self.process.pid
        return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])

    def end(self) -> tuple[int, str, str]:
        """Wait for the end; return the status, the output and what was said besides."""
        output, complaints = self.process.communicate(timeout=DEADLINE_S)
        return self.process.returncode, output, complaints


@contextmanager
def axiom_debug(home: Path, *arguments: str) -> Generator[AxiomDebug]:
    started = AxiomDebug(home, *arguments)
    try:
        yield started
    finally:
        started.process.kill()
        started.process.communicate()


def is_gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a cache directory that the tests of this file share, so that an image is built once."""
    return tmp_path_factory.mktemp("home")


def test_the_printed_command_debugs_the_kernel_while_it_serves(home: Path) -> None:
    with axiom_debug(
        home, "--break", "engine/engine.py:ends_sequence", "--break", "kernel/scheduler.py:run"
    ) as debug:
        said = run_gdb(
            debug.gdb(),
            [
                "continue",
                "next",
                "delete 4",
                "continue",
                "bt",
                "print token",
                "print request.max_new",
                "up",
                "print state.phase",
                "print crash_state.lanes[0]",
            ],
        )
        assert re.search(r"Breakpoint 4.*, run \(\) at axiom/metal/kernel/scheduler\.py:\d+\n", said), said
        assert re.search(r"^#0  ends_sequence \(request=\.\.\., token=\d+\) at ", said, re.MULTILINE), said
        for name, file in (
            ("sample_token", "engine/engine"),
            ("step", "boot/service"),
            ("run", "boot/main"),
        ):
            assert re.search(
                rf"^#\d+\s+0x\w+ in {name} \(.*\) at axiom/metal/{file}\.py:\d+$", said, re.MULTILINE
            )
        values = [line.partition(" = ")[2] for line in said.splitlines() if line.startswith("$")]
        assert values[1:] == ["4", "Phase.RUNNING", "0"]
        assert f"token={values[0]})" in said
        status, output, complaints = debug.end()
        assert (status, complaints) == (0, ""), complaints
        assert output.startswith("Once upon a time")
        assert len(output) > len("Once upon a time\n")


def test_a_crash_stops_in_gdb_and_is_a_traceback_when_it_goes_on(home: Path) -> None:
    with axiom_debug(home, "--break", "engine/engine.py:ends_sequence") as debug:
        spoil = "set var request.n_eos = 100"
        said = run_gdb(
            debug.gdb(), ["continue", spoil, "continue", "bt 2", "up", "print i", "delete", "continue"]
        )
        assert re.search(r"^Breakpoint 1, panic_handler \(", said, re.MULTILINE), said
        assert re.search(r"^#1  0x\w+ in ends_sequence \(request=\.\.\., token=", said, re.MULTILINE), said
        assert "\n$1 = 8\n" in said
        status, _, complaints = debug.end()
        assert status == 70
        assert complaints.rstrip().splitlines()[-1] == "Panic: index out of bounds: 8 of 8"
        assert "in ends_sequence\n    found = found or request.eos_ids[i] == token" in complaints


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_machine_that_waits_for_gdb(home: Path, number: signal.Signals) -> None:
    with axiom_debug(home) as debug:
        machine = debug.machine()
        debug.process.send_signal(number)
        status, output, _ = debug.end()
        assert (status, output) == (128 + number, "")
        assert is_gone(machine)


def test_gdb_opens_here_takes_ctrl_c_and_ends_everything(home: Path) -> None:
    command = [str(AXIOM), "debug", "-p", "Once", "-n", "256", "--gdb", "--break", "engine/engine.py:start"]
    with terminal(command, {"XDG_CACHE_HOME": str(home)}) as screen:
        screen.wait_for("(gdb) ")
        pid = screen.process.pid
        children = [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        assert len(children) == 2
        screen.type("set confirm off\n")
        screen.wait_for("(gdb) ")
        screen.type("continue\n")
        assert "start (state=..., request=" in screen.wait_for("(gdb) ")
        screen.type("continue\n")
        screen.wait_for(" time")
        screen.type("\x03")
        assert "SIGINT" in screen.wait_for("(gdb) ")
        screen.type("backtrace\n")
        assert "run () at axiom/metal/boot/main.py" in screen.wait_for("(gdb) ")
        assert screen.process.poll() is None
        screen.type("quit\n")
        assert screen.process.wait(DEADLINE_S) == 0
        assert all(is_gone(child) for child in children)
