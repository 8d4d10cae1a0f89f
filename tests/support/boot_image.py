"""Boot a tiny image, with nothing but a serial port, and collect what it says.

In QEMU, with KVM or without, or in the monitor of our own.
"""

import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from axiom.host.machine.machine import Machine, MachineOptions
from tests.support.metal import require_accelerator

QEMU_MACHINES = ("kvm", "tcg")
MACHINES = ("monitor", "tcg")
ALL_MACHINES = ("monitor", *QEMU_MACHINES)
RAM_BYTES = 1 << 30
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
    require_accelerator("tcg" if machine == "tcg" else "kvm")
    if machine == "monitor":
        return _boot_in_monitor(image, command_line, ram, cores, deadline_s)
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


def _boot_in_monitor(image: Path, command_line: str, ram: str, cores: int, deadline_s: float) -> Outcome:
    options = MachineOptions(image, RAM_BYTES, cores=cores, accelerator="kvm", command_line=command_line)
    with Machine(options) as machine:
        assert not machine.is_qemu
        machine.wait(deadline_s)
        if not machine.has_ended():
            pytest.fail(f"the machine did not stop; it had said: {machine.console.text()!r}")
        assert not machine.process.errors()
        if ram:
            with machine.memory.view(0, RAM_BYTES) as memory:
                Path(ram).write_bytes(memory)
        return Outcome(machine.exit_code(), machine.console.text())
