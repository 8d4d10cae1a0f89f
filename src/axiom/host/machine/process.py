"""A child process that cannot outlive this one.

The kernel kills it when the thread that started it ends (prctl PR_SET_PDEATHSIG), so start it from a thread
that lives as long as the machine. Source: Linux man page prctl(2).
"""

import ctypes
import os
import signal
import subprocess
from collections.abc import Sequence

from axiom.host.errors import MachineError

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


class Process:
    """A running program; its standard error is kept, its other streams are /dev/null."""

    def __init__(self, command: Sequence[str], inherited: Sequence[int]) -> None:
        """Start `command`. It inherits exactly the file descriptors named, under the same numbers."""
        self._errors = os.memfd_create("axiom-errors", os.MFD_CLOEXEC)
        parent = os.getpid()

        def die_with_parent() -> None:
            _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != parent:
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            self._child = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
                pass_fds=tuple(inherited),
                preexec_fn=die_with_parent,
                start_new_session=True,
            )
        except OSError as error:
            os.close(self._errors)
            raise MachineError(f"cannot start {command[0]}: {error.strerror}") from error

    @property
    def id(self) -> int:
        """The process number."""
        return self._child.pid

    def status(self) -> int | None:
        """Return the exit status, negative for a signal; None while it runs."""
        return self._child.poll()

    def wait(self, seconds: float) -> int | None:
        """Wait for the end, no longer than `seconds`; return the status or None."""
        try:
            return self._child.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def errors(self) -> str:
        """Return what it wrote to standard error."""
        if self._errors < 0:
            return ""
        return os.pread(self._errors, 1 << 20, 0).decode(errors="replace")

    def stop(self, grace_seconds: float) -> None:
        """Ask it to end, then make it end. Does nothing when it has ended."""
        if self.status() is None:
            self._child.terminate()
            if self.wait(grace_seconds) is None:
                self._child.kill()
                self._child.wait()

    def close(self) -> None:
        """Stop it and forget what it wrote."""
        self.stop(1.0)
        if self._errors >= 0:
            os.close(self._errors)
            self._errors = -1
