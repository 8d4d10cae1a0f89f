"""gdb in batch mode against an image under TCG, with a deadline, and what it printed."""

import subprocess
from pathlib import Path

import pytest

from axiom.host.machine.debugger import free_port, gdb_arguments
from axiom.host.machine.machine import Machine, MachineOptions

DEADLINE_S = 60


def run_gdb(arguments: list[str], commands: list[str]) -> str:
    """Run gdb with its arguments and these commands after them; fail when it takes too long."""
    batch = [part for command in commands for part in ("-ex", command)]
    # Nothing of the user's own settings, and no lines broken.
    try:
        done = subprocess.run(
            [arguments[0], "-nx", "-batch", "-ex", "set width 0", *arguments[1:], *batch],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )
    except subprocess.TimeoutExpired as expired:
        pytest.fail(f"gdb did not end; it had said: {expired.output!r}")
    return done.stdout + done.stderr


def debug_image(image: Path, breakpoints: list[str], commands: list[str]) -> str:
    """Start an image stopped, give gdb breakpoints and commands, and return what it printed."""
    port = free_port()
    options = MachineOptions(image, 1 << 30, accelerator="tcg", gdb_port=port)
    with Machine(options):
        return run_gdb(gdb_arguments(image, port, breakpoints), commands)
