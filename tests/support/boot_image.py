"""Boot a tiny image in QEMU, with nothing but a serial port, and collect what it says."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.metal import require_accelerator

MACHINES = ("kvm", "tcg")
FIRMWARE = Path("/usr/share/qemu/qboot.rom")
DEADLINE_S = 60
CROWDED = "exceeds the recommended cpus supported by KVM"
_PROCESSOR = {"kvm": "host,-arch-capabilities,+invtsc,vmware-cpuid-freq=on", "tcg": "max"}
_BARE = "-m 1G -nodefaults -no-user-config -display none -no-reboot -monitor none -serial stdio"


@dataclass(frozen=True)
class Outcome:
    """The kernel's exit code (None when the machine stopped otherwise) and its serial output."""

    code: int | None
    text: str


def boot(
    machine: str,
    image: Path,
    processor: str = "",
    command_line: str = "",
    ram: str = "",
    cores: int = 1,
    deadline_s: float = DEADLINE_S,
) -> Outcome:
    """Run an image until it leaves; a machine that does not stop in time fails the test.

    ram: a file to use as the machine's memory, so that it can be read afterwards.
    """
    require_accelerator(machine)
    arguments = [
        "-machine",
        f"q35,accel={machine}",
        "-cpu",
        processor or _PROCESSOR[machine],
        *_BARE.split(),
    ]
    arguments += ["-smp", str(cores), "-bios", str(FIRMWARE)]
    arguments += ["-kernel", str(image), "-append", command_line]
    arguments += ["-device", "isa-debug-exit,iobase=0xf4,iosize=4"]
    if ram:
        backend = f"memory-backend-file,id=ram,size=1G,share=on,mem-path={ram}"
        arguments += ["-object", backend, "-machine", "memory-backend=ram"]
    try:
        finished = subprocess.run(
            ["qemu-system-x86_64", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=deadline_s,
            check=False,
        )
    except subprocess.TimeoutExpired as expired:
        pytest.fail(f"the machine did not stop; it had said: {expired.output!r}")
    status = finished.returncode
    complaints = [line for line in finished.stderr.decode().splitlines() if CROWDED not in line]
    assert not complaints, complaints
    text = finished.stdout.decode("utf-8", "replace").replace("\r\n", "\n")
    return Outcome(status >> 1 if status & 1 else None, text)
