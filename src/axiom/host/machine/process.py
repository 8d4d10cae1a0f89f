"""A child process that cannot outlive this one: a program, or a function of this one's.

The kernel kills it when the thread that started it ends (prctl PR_SET_PDEATHSIG), so start it from a thread
that lives as long as the machine. Source: Linux man pages prctl(2), pidfd_open(2).

It is forked here and not by `subprocess`, whose import takes longer than a fork, and which cannot run a
function.
"""

import ctypes
import gc
import os
import select
import signal
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from typing import NoReturn

from axiom.host.errors import MachineError

_PR_SET_PDEATHSIG = 1
_KILL_SECONDS = 10.0
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
    """A running child; its standard error is kept, its other streams are /dev/null.

    Any thread may ask for its status and end it.
    """

    def __init__(self, run: Callable[[], NoReturn], inherited: Sequence[int]) -> None:
        """Start a child in which `run` is called.

        It inherits exactly the file descriptors named, all above 2, under the same numbers. When `run`
        raises, its error's sentence is what the child leaves in `errors`, and its status is 1. Raises
        MachineError.
        """
        self._status: int | None = None
        self._reaping = threading.Lock()
        self._errors = _memory_file()
        try:
            self.id = _fork(self._errors, inherited, run)
        except OSError as error:
            os.close(self._errors)
            raise MachineError(f"cannot start a process: {error.strerror}") from error
        try:
            self._ended = os.pidfd_open(self.id)
        except OSError as error:
            os.kill(self.id, signal.SIGKILL)
            os.waitpid(self.id, 0)
            os.close(self._errors)
            raise MachineError(f"cannot watch over a process: {error.strerror}") from error

    def status(self) -> int | None:
        """Return the exit status, negative for a signal; None while it runs."""
        with self._reaping:
            if self._status is None:
                try:
                    found, status = os.waitpid(self.id, os.WNOHANG)
                except ChildProcessError:
                    # Who started this program has Linux forget children: how it ended is not to be known.
                    self._status = -signal.SIGKILL if self._is_over(0.0) else None
                else:
                    self._status = os.waitstatus_to_exitcode(status) if found else None
            return self._status

    def wait(self, seconds: float) -> int | None:
        """Wait for the end, no longer than `seconds`; return the status or None."""
        if self.status() is None:
            self._is_over(seconds)
        return self.status()

    def _is_over(self, seconds: float) -> bool:
        """Wait for the end, no longer than `seconds`; tell whether it has come."""
        ready = select.poll()
        ready.register(self._ended, select.POLLIN)
        end = time.monotonic() + seconds
        # One poll is no longer than an hour, of which its argument, in milliseconds, can tell.
        while not ready.poll(max(0.0, min(end - time.monotonic(), 3600.0)) * 1e3):
            if time.monotonic() >= end:
                return False
        return True

    def errors(self) -> str:
        """Return what it wrote to standard error."""
        if self._errors < 0:
            return ""
        return os.pread(self._errors, 1 << 20, 0).decode(errors="replace")

    def stop(self, grace_seconds: float) -> None:
        """Ask it to end, then make it end. Does nothing when it has ended. Raises MachineError."""
        if self.status() is None:
            self._send(signal.SIGTERM)
            if self.wait(grace_seconds) is None:
                self._send(signal.SIGKILL)
                if self.wait(_KILL_SECONDS) is None:
                    raise MachineError(f"Linux does not end the process {self.id}")

    def _send(self, number: signal.Signals) -> None:
        try:
            signal.pidfd_send_signal(self._ended, number)
        except ProcessLookupError:
            return  # it has ended meanwhile

    def close(self) -> None:
        """Stop it and forget what it wrote."""
        if self._errors < 0:
            return
        try:
            self.stop(1.0)
        finally:
            os.close(self._errors)
            os.close(self._ended)
            self._errors = -1


def _memory_file() -> int:
    try:
        return os.memfd_create("axiom-errors", os.MFD_CLOEXEC)
    except OSError as error:
        raise MachineError(f"cannot start a process: {error.strerror}") from error


def _fork(errors: int, inherited: Sequence[int], run: Callable[[], NoReturn]) -> int:
    """Fork; return the child's number. No signal meets this process's handlers in the child."""
    parent = os.getpid()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        with warnings.catch_warnings():
            # Where other threads run, Python warns that a child may hang on locks they hold. This one has
            # imported what it needs, and libc and Python make their own locks whole again after a fork.
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:
            _be_child(parent, errors, inherited, run)
        return child
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _be_child(parent: int, errors: int, inherited: Sequence[int], run: Callable[[], NoReturn]) -> NoReturn:
    # What is garbage was the parent's: a file closed with it would be another one here.
    gc.disable()
    try:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)
        os.setsid()
        _forget_signals()
        _set_files(errors, inherited)
        run()
    except BaseException as error:
        os.write(2, f"{error or type(error).__name__}\n".encode(errors="replace"))
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
    keep = {0, 1, 2, *inherited}
    for name in os.listdir("/proc/self/fd"):
        if int(name) not in keep:
            os.closerange(int(name), int(name) + 1)
    for number in inherited:
        os.set_inheritable(number, True)
