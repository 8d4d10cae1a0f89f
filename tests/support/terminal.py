"""A program on a terminal of its own, for tests that type and read."""

import fcntl
import os
import pty
import select
import subprocess
import termios
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager

DEADLINE_S = 60.0
# More rows than anything here prints at once: gdb stops after each page of a terminal to ask for a key.
ROWS, COLUMNS = 500, 80


def _take_terminal() -> None:
    """Make standard input the terminal that controls the new session (Linux man page ioctl_tty(2))."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


class Terminal:
    """A terminal with a program on it, which a Ctrl-C that is typed interrupts."""

    def __init__(self, command: list[str], variables: Mapping[str, str]) -> None:
        self._end, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (ROWS, COLUMNS))
        self.text = ""
        self.process = subprocess.Popen(
            command,
            env={**os.environ, **variables, "TERM": "dumb"},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=_take_terminal,
        )
        os.close(theirs)

    def wait_for(self, text: str) -> str:
        """Read until `text` comes; return what came before."""
        deadline = time.monotonic() + DEADLINE_S
        while text not in self.text:
            readable, _, _ = select.select([self._end], [], [], max(0.0, deadline - time.monotonic()))
            assert readable, f"{text!r} did not come: {self.text!r}"
            self.text += os.read(self._end, 4096).decode(errors="replace")
        before, _, self.text = self.text.partition(text)
        return before

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._end, text.encode())

    def close(self) -> None:
        """End the program."""
        self.process.kill()
        self.process.wait()
        os.close(self._end)


@contextmanager
def terminal(command: list[str], variables: Mapping[str, str]) -> Generator[Terminal]:
    """Run a command on a terminal until the block ends."""
    opened = Terminal(command, variables)
    try:
        yield opened
    finally:
        opened.close()
