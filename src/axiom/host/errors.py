"""The host's one family of errors. `cli` renders them once, as one sentence, and sets the exit status.

A `UserError` is something the person at the keyboard can mend (a wrong file, a bad option): exit status 2.
A `MachineError` is the machine's fault (no answer from a device, a missing program): exit status 3.
A `CrashError` carries the kernel's own crash report, already rendered: exit status 70.
"""


class AxiomError(Exception):
    """Base of every error that the command line reports in one sentence."""

    exit_status = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UserError(AxiomError):
    """Bad input: the message names the thing and what would work."""

    exit_status = 2


class ProgramError(UserError):
    """A program of the language is not right; the message is every diagnostic, underlined."""


class MachineError(AxiomError):
    """The machine, a device or a needed program did not do its part."""

    exit_status = 3


class CrashError(AxiomError):
    """The kernel stopped on an exception or a panic; the message is its rendered traceback."""

    exit_status = 70
