"""Whether this machine can run a guest at full speed: is KVM there, and may we use it?"""

import fcntl
import os
from typing import Literal, NamedTuple

from axiom.host.errors import MachineError

Choice = Literal["auto", "kvm", "tcg"]
_KVM_GET_API_VERSION = 0xAE00
_KVM_API_VERSION = 12


class Accelerator(NamedTuple):
    """What the guest is run with, and, for `tcg`, why not `kvm`."""

    name: Literal["kvm", "tcg"]
    reason: str


def kvm_obstacle(device: str = "/dev/kvm") -> str:
    """Return why KVM cannot be used, as the rest of a sentence; empty when it can."""
    try:
        file = os.open(device, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        return f"{device} cannot be opened ({(error.strerror or 'unknown error').lower()})"
    try:
        version = fcntl.ioctl(file, _KVM_GET_API_VERSION, 0)
    except OSError as error:
        return f"{device} does not answer as KVM does ({(error.strerror or 'unknown error').lower()})"
    finally:
        os.close(file)
    return "" if version == _KVM_API_VERSION else f"{device} speaks version {version} of KVM's interface"


def choose_accelerator(choice: Choice, device: str = "/dev/kvm") -> Accelerator:
    """Decide between KVM and TCG. Raises MachineError when KVM was asked for and cannot be used."""
    if choice == "tcg":
        return Accelerator("tcg", "it was asked for")
    obstacle = kvm_obstacle(device)
    if not obstacle:
        return Accelerator("kvm", "")
    if choice == "kvm":
        raise MachineError(f"KVM cannot be used: {obstacle}", "use TCG, which is slow but works anywhere")
    return Accelerator("tcg", obstacle)
