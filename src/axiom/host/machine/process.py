"""A child process that cannot outlive this one: a program, or a function of this one's.

The kernel kills it when the thread that started it ends (prctl PR_SET_PDEATHSIG), so start it from a thread
that lives as long as the machine. Source: Linux man pages prctl(2), pidfd_open(2).

It is forked here and not by `subprocess`, whose import takes longer than a fork, and which cannot run a
function.
"""

import ctypes
import os
import select
import signal
import time
import warnings
from collections.abc import Callable, Sequence
from typing import NoReturn

from axiom.host.errors import MachineError

_PR_SET_PDEATHSIG = 1
_FIRST_FREE = 3
_libc = ctypes.CDLL(None, use_errno=True)


def run_program(command: Sequence[str]) -> Callable[[], NoReturn]:
    """Return what makes a child the program `command`, whose first word is its path."""
    program = command[0]
    if not os.access(program, os.X_OK):
        reason = "Permission denied" if os.path.exists(program) else "No such file or directory"
        raise MachineError(f"cannot start {program}: {reason}")

    def run() -> NoReturn:
        os.execv(program, list(command))

    return run


class Process:
    """A running child; its standard error is kept, its other streams are /dev/null."""

    def __init__(self, run: Callable[[], NoReturn], inherited: Sequence[int]) -> None:
        """Start a child in which `run` is called.

        It inherits exactly the file descriptors named, under the same numbers. When `run` raises, its
        error's sentence is what the child leaves in `errors`, and its status is 1.
        """
        self._errors = os.memfd_create("axiom-errors", os.MFD_CLOEXEC)
        self._status: int | None = None
        parent = os.getpid()
        with warnings.catch_warnings():
            # Where other threads run, Python warns that a child may hang on locks they hold. This one
            # takes none: it calls Linux, and memory that libc makes whole again after a fork.
            warnings.simplefilter("ignore", DeprecationWarning)
            try:
                self.id = os.fork()
            except OSError as error:
                os.close(self._errors)
                raise MachineError(f"cannot start a process: {error.strerror}") from error
        if self.id == 0:
            _be_child(parent, self._errors, inherited, run)
        self._ended = os.pidfd_open(self.id)

    def status(self) -> int | None:
        """Return the exit status, negative for a signal; None while it runs."""
        if self._status is None:
            found, status = os.waitpid(self.id, os.WNOHANG)
            if found:
                self._status = os.waitstatus_to_exitcode(status)
        return self._status

    def wait(self, seconds: float) -> int | None:
        """Wait for the end, no longer than `seconds`; return the status or None."""
        if self.status() is None:
            ready = select.poll()
            ready.register(self._ended, select.POLLIN)
            end = time.monotonic() + seconds
            # One poll is no longer than an hour, of which its argument, in milliseconds, can tell.
            while (left := end - time.monotonic()) > 0 and not ready.poll(min(left, 3600.0) * 1e3):
                pass
        return self.status()

    def errors(self) -> str:
        """Return what it wrote to standard error."""
        if self._errors < 0:
            return ""
        return os.pread(self._errors, 1 << 20, 0).decode(errors="replace")

    def stop(self, grace_seconds: float) -> None:
        """Ask it to end, then make it end. Does nothing when it has ended."""
        if self.status() is None:
            os.kill(self.id, signal.SIGTERM)
            if self.wait(grace_seconds) is None:
                os.kill(self.id, signal.SIGKILL)
                self.wait(float("inf"))

    def close(self) -> None:
        """Stop it and forget what it wrote."""
        self.stop(1.0)
        if self._errors >= 0:
            os.close(self._errors)
            os.close(self._ended)
            self._errors = -1


def _be_child(parent: int, errors: int, inherited: Sequence[int], run: Callable[[], NoReturn]) -> NoReturn:
    try:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)
        os.setsid()
        _forget_signals()
        _set_files(errors, inherited)
        run()
    except BaseException as error:
        os.write(2, f"{error}\n".encode(errors="replace"))
    finally:
        os._exit(1)


def _forget_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE, signal.SIGUSR1):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _set_files(errors: int, inherited: Sequence[int]) -> None:
    """Make standard error the file of errors, the other streams /dev/null, and close all other files."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1):
        os.dup2(nothing, number)
    os.dup2(errors, 2)
    first = _FIRST_FREE
    for number in (*sorted(inherited), os.sysconf("SC_OPEN_MAX")):
        os.closerange(first, number)
        first = number + 1
    for number in inherited:
        os.set_inheritable(number, True)
