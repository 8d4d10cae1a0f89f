"""How a kernel leaves: apart from `abi.boot`, so that who starts a machine need import no more."""

from enum import IntEnum


class ExitCode(IntEnum):
    """What the kernel writes to the exit device; QEMU's own status is twice this plus one."""

    OK = 8
    CRASH = 9
    REFUSED = 10
