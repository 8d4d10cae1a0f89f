"""gdb for a machine that waits for it: breakpoints by Python place, its arguments, and its process.

gdb talks to QEMU over a port of the loopback interface. Its breakpoints work under TCG from the first
instruction on. Tested with gdb 13.
"""

import ast
import shutil
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

from axiom.compiler.llvm.debug import PACKAGE_PARENT, SOURCE_ROOT
from axiom.host.errors import MachineError, UserError

# The first instructions of what a failed check and an exception come to: the stack is as it was.
CRASH_BREAKPOINTS = ("*axiom_panic", "*axiom_exception")
_STOP_SECONDS = 2.0


def free_port() -> int:
    """Return a port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def find_breakpoint(text: str) -> str:
    """Return what gdb takes for FILE:LINE or FILE:FUNCTION, where FILE is the end of a path.

    Raises UserError when there is no such file, line or function, or more than one such file.
    """
    name, _, where = text.rpartition(":")
    if not name or not where:
        raise UserError(
            f"the breakpoint {text!r} is not understood.", "write FILE.py:LINE or FILE.py:FUNCTION"
        )
    file = _find_file(name, text)
    source = file.read_text()
    found = _is_line(where, source) if where.isdecimal() else _has_function(where, source)
    if not found:
        what = "line" if where.isdecimal() else "function"
        raise UserError(f"{file} has no {what} {where} to stop at.")
    return f"{file.relative_to(PACKAGE_PARENT)}:{where}"


def _find_file(name: str, text: str) -> Path:
    """Return the file of the kernel that a path, or the end of one, means."""
    given = Path(name).resolve()
    wanted = Path(name).parts
    files = sorted((PACKAGE_PARENT / "axiom" / "metal").rglob("*.py"))
    found = [file for file in files if file == given] or [
        file for file in files if file.parts[-len(wanted) :] == wanted
    ]
    if len(found) == 1:
        return found[0]
    if not found:
        raise UserError(f"the kernel has no file {name} for the breakpoint {text!r}.")
    listed = ", ".join(str(file.relative_to(PACKAGE_PARENT / "axiom" / "metal")) for file in found)
    raise UserError(f"the breakpoint {text!r} may be in {listed}.", "write more of the path")


def _is_line(where: str, source: str) -> bool:
    return 1 <= int(where) <= len(source.splitlines())


def _has_function(where: str, source: str) -> bool:
    nodes = ast.walk(ast.parse(source))
    return any(isinstance(node, ast.FunctionDef) and node.name == where for node in nodes)


def gdb_arguments(image: Path, port: int, breakpoints: Sequence[str]) -> list[str]:
    """Return the whole command; the machine is still stopped when gdb asks for the first command."""
    commands = [
        f"set substitute-path {SOURCE_ROOT} {PACKAGE_PARENT}",
        f"target remote 127.0.0.1:{port}",
        *(f"break {place}" for place in (*CRASH_BREAKPOINTS, *breakpoints)),
    ]
    return ["gdb", "-q", str(image), *(part for command in commands for part in ("-ex", command))]


class Debugger:
    """gdb on this terminal."""

    def __init__(self, arguments: Sequence[str]) -> None:
        """Start it. Raises MachineError when it is not installed."""
        program = shutil.which(arguments[0])
        if program is None:
            raise MachineError(
                "`gdb` is not installed", "install it (on Debian or Ubuntu: apt-get install gdb)"
            )
        self._child = subprocess.Popen([program, *arguments[1:]])

    def has_ended(self) -> bool:
        """Tell whether its user has left it."""
        return self._child.poll() is not None

    def wait(self) -> None:
        """Wait until its user leaves it."""
        self._child.wait()

    def close(self) -> None:
        """Make it end."""
        if not self.has_ended():
            self._child.terminate()
            try:
                self._child.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.wait()
