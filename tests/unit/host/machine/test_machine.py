"""A machine, in QEMU and in the monitor of our own: how it starts and ends, and that nothing outlives it.

The images here are a few instructions of assembly behind a PVH note; tests/metal runs real ones.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Literal

import pytest

from axiom.abi.boot import ExitCode
from axiom.host.errors import MachineError
from axiom.host.machine.accelerator import Accelerator
from axiom.host.machine.machine import Machine, MachineEnded, MachineOptions, needs_qemu
from axiom.host.machine.qemu import qemu_command
from tests.support.assembled import leave, make_image
from tests.support.metal import require_accelerator

MIB = 1 << 20
PATIENCE = 30.0
_PRINT = "  movw $0x3f8, %dx\n  movb $65, %al\n  outb %al, %dx\n  movb $10, %al\n  outb %al, %dx\n"
_NOTE = "  movl $1234, 0x800000\n"
_ECHO = (
    "  movw $0x2fd, %dx\n1: inb %dx, %al\n  testb $1, %al\n  jz 1b\n"
    "  movw $0x2f8, %dx\n  inb %dx, %al\n  incb %al\n  outb %al, %dx\n"
)
_SPIN = "1: jmp 1b\n"
_TRIPLE_FAULT = "  lidt empty\n  ud2\nempty: .long 0, 0\n"


Kind = Literal["tcg", "kvm"]
KINDS: tuple[Kind, ...] = ("tcg", "kvm")


def small(image: Path, kind: Kind = "tcg") -> MachineOptions:
    """A small machine, with TCG in QEMU, with KVM in the monitor."""
    require_accelerator(kind)
    return MachineOptions(image=image, memory_bytes=32 * MIB, accelerator=kind)


def test_the_command_line_shares_memory_and_keeps_the_model_read_only() -> None:
    machine = MachineOptions(
        image=Path("/i/a,b.elf"),
        memory_bytes=3 << 30,
        shared_bytes=64 * MIB,
        model=Path("/m/x,y.axm"),
        cores=2,
        command_line="a=1 b",
        gdb_port=1234,
    )
    command = qemu_command(machine, Accelerator("kvm", ""), 7, 8, 9)
    pairs = set(pairwise(command))
    shared = "memory-backend-file,id=shared,mem-path=/proc/self/fd/7,size=67108864,share=on"
    assert ("-object", shared) in pairs
    assert ("-object", f"memory-backend-ram,id=rest,size={(3 << 30) - 64 * MIB}") in pairs
    assert ("-m", "size=3072M") in pairs
    assert ("-cpu", "host,-arch-capabilities,+invtsc,vmware-cpuid-freq=on") in pairs
    drive = "file=/m/x,,y.axm,if=none,id=model,format=raw,readonly=on,cache=writeback,aio=threads"
    assert ("-drive", drive) in pairs
    assert ("-kernel", "/i/a,,b.elf") not in pairs
    assert ("-kernel", "/i/a,b.elf") in pairs
    assert ("-chardev", "socket,id=link,fd=9") in pairs
    assert ("-append", "a=1 b") in pairs
    assert ("-gdb", "tcp:127.0.0.1:1234") in pairs
    plain = qemu_command(small(Path("/i")), Accelerator("tcg", ""), 7, 8, None)
    assert not {"-drive", "-append", "-gdb", "-S"} & set(plain)
    assert "max" in plain


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("code", list(ExitCode))
def test_the_kernels_exit_code_is_told(kind: Kind, code: ExitCode, tmp_path: Path) -> None:
    with Machine(small(make_image(tmp_path, _PRINT + _NOTE + leave(code)), kind)) as machine:
        assert machine.wait(PATIENCE) == code
        assert machine.has_ended()
        assert machine.console.text() == "A\n"
        with machine.memory.view(0x800000, 4) as word:
            assert int.from_bytes(word, "little") == 1234
        with pytest.raises(MachineEnded) as caught:
            machine.check_alive()
        assert caught.value.code == code
        expected = {
            ExitCode.OK: "the machine has shut down",
            ExitCode.CRASH: "the kernel crashed",
            ExitCode.REFUSED: "the kernel refused to start: A",
        }
        assert str(caught.value) == expected[code]


@pytest.mark.parametrize("kind", KINDS)
def test_a_triple_fault_is_told_apart(kind: Kind, tmp_path: Path) -> None:
    with Machine(small(make_image(tmp_path, _TRIPLE_FAULT), kind)) as machine:
        assert machine.wait(PATIENCE) is None
        with pytest.raises(MachineEnded, match="reset itself"):
            machine.check_alive()


def test_what_qemu_complains_about_is_passed_on(tmp_path: Path) -> None:
    image = tmp_path / "image.elf"
    image.write_bytes(b"not an image")
    with Machine(small(image)) as machine:
        machine.wait(PATIENCE)
        with pytest.raises(MachineEnded, match=r"QEMU ended with status 1: .*invalid kernel header"):
            machine.check_alive()


def test_the_second_serial_port_is_a_stream(tmp_path: Path) -> None:
    image = make_image(tmp_path, _ECHO + leave(ExitCode.OK))
    with Machine(small(image)._replace(link="serial")) as machine:
        assert machine.serial is not None
        machine.serial.setblocking(True)
        machine.serial.settimeout(PATIENCE)
        machine.serial.sendall(b"x")
        assert machine.serial.recv(1) == b"y"
        assert machine.wait(PATIENCE) == ExitCode.OK


def test_the_model_file_is_opened_for_reading_only(tmp_path: Path) -> None:
    model = tmp_path / "model.axm"
    model.write_bytes(bytes(1 * MIB))
    with Machine(small(make_image(tmp_path, _NOTE + _SPIN))._replace(model=model)) as machine:
        wait_for_note(machine)
        folder = Path(f"/proc/{machine.process.id}")
        numbers = [f.name for f in (folder / "fd").iterdir() if os.readlink(f) == str(model)]
        assert numbers
        for number in numbers:
            text = (folder / "fdinfo" / number).read_text()
            flags = next(int(line.split()[1], 8) for line in text.splitlines() if line.startswith("flags"))
            assert flags & os.O_ACCMODE == os.O_RDONLY


@pytest.mark.parametrize("kind", KINDS)
def test_a_machine_with_two_cores_and_a_part_shared_runs(kind: Kind, tmp_path: Path) -> None:
    image = make_image(tmp_path, _NOTE + leave(ExitCode.OK))
    wanted = small(image, kind)._replace(cores=2, memory_bytes=64 * MIB, shared_bytes=32 * MIB)
    with Machine(wanted) as machine:
        assert machine.wait(PATIENCE) == ExitCode.OK
        assert machine.process.errors() == ""


def wait_for_note(machine: Machine) -> None:
    """Wait until the guest has noted its number."""
    deadline = time.monotonic() + PATIENCE
    with machine.memory.view(0x800000, 4) as word:
        while int.from_bytes(word, "little") != 1234 and time.monotonic() < deadline:
            machine.check_alive()
        assert int.from_bytes(word, "little") == 1234


@pytest.mark.parametrize("kind", KINDS)
def test_closing_ends_a_machine_that_runs_on(kind: Kind, tmp_path: Path) -> None:
    with Machine(small(make_image(tmp_path, _NOTE + _SPIN), kind)) as machine:
        wait_for_note(machine)
        machine.check_alive()
        process = machine.process.id
    assert not Path(f"/proc/{process}").exists()
    machine.close()


def test_a_debugger_is_waited_for(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    image = make_image(tmp_path, _NOTE + leave(ExitCode.OK))
    with Machine(small(image)._replace(gdb_port=port)) as machine:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                debugger = socket.create_connection(("127.0.0.1", port), 1.0)
                break
            except OSError:
                machine.check_alive()
                assert time.monotonic() < deadline
                time.sleep(0.01)
        with debugger:
            assert machine.wait(0.2) is None
            with machine.memory.view(0x800000, 4) as word:
                assert bytes(word) == bytes(4)
            # The packet `c`: continue.
            debugger.sendall(b"+$c#63")
            assert machine.wait(PATIENCE) == ExitCode.OK


@pytest.mark.parametrize("kind", KINDS)
def test_the_machine_dies_with_a_killed_host(kind: Kind, tmp_path: Path) -> None:
    require_accelerator(kind)
    image = make_image(tmp_path, _SPIN)
    script = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from axiom.host.machine.machine import Machine, MachineOptions\n"
        f"machine = Machine(MachineOptions(Path({str(image)!r}), 32 << 20, accelerator={kind!r}))\n"
        "print(machine.process.id, flush=True)\n"
        "time.sleep(1000)\n"
    )
    host = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert host.stdout is not None
    machine = int(host.stdout.readline())
    assert Path(f"/proc/{machine}").exists()
    os.kill(host.pid, signal.SIGKILL)
    host.wait()
    host.stdout.close()
    deadline = time.monotonic() + PATIENCE
    while is_running(machine) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not is_running(machine)


def is_running(process: int) -> bool:
    """Tell whether a process exists and is not only waiting to be collected."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_what_only_qemu_has_is_asked_of_qemu(tmp_path: Path) -> None:
    machine = MachineOptions(image=tmp_path / "i", memory_bytes=32 * MIB, model=tmp_path / "m", load="map")
    kvm = Accelerator("kvm", "")
    assert not needs_qemu(machine, kvm)
    assert needs_qemu(machine, Accelerator("tcg", "it was asked for"))
    assert needs_qemu(machine._replace(load="nvme"), kvm)
    assert needs_qemu(machine._replace(link="serial"), kvm)
    assert needs_qemu(machine._replace(gdb_port=1234), kvm)
    assert needs_qemu(machine._replace(monitor="qemu"), kvm)
    assert not needs_qemu(machine._replace(model=None, load="nvme"), kvm)


def test_qemu_is_not_needed_where_the_monitor_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = small(make_image(tmp_path, leave(ExitCode.OK)), "kvm")
    monkeypatch.setenv("PATH", str(tmp_path))
    with Machine(machine) as started:
        assert started.wait(PATIENCE) == ExitCode.OK


def test_missing_programs_and_files_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MachineError, match=r"there is no file .*image\.elf"):
        Machine(small(tmp_path / "image.elf"))
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "image.elf").write_bytes(b"")
    with pytest.raises(MachineError, match="is not installed") as caught:
        Machine(small(tmp_path / "image.elf"))
    assert "apt-get install qemu-system-x86" in caught.value.hint
