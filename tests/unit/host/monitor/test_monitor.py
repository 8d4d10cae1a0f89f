"""The monitor: its ports and memory as an image sees them, and its sentences when it cannot go on."""

import re
import time
from pathlib import Path

import pytest

from axiom.abi.boot import ExitCode
from axiom.host.machine.machine import Machine, MachineEnded, MachineOptions
from axiom.host.monitor.image import load_image
from axiom.host.monitor.interface import CpuidEntry
from axiom.host.monitor.processor import identity
from tests.support.assembled import leave, make_image
from tests.support.metal import require_accelerator

MIB = 1 << 20
PATIENCE = 30.0
WORDS_ADDRESS = 0x80_0000
_ODD_READS = f"""
  movw $0x3fd, %dx
  inb %dx, %al
  movzbl %al, %eax
  movl %eax, {WORDS_ADDRESS}
  movw $0x1234, %dx
  inl %dx, %eax
  movl %eax, {WORDS_ADDRESS + 4}
  outl %eax, %dx
  movl 0xfed00000, %eax
  movl %eax, {WORDS_ADDRESS + 8}
  movl %eax, 0xfed00000
  movl 0xfed00000, %eax
  movl %eax, {WORDS_ADDRESS + 12}
  movl %ebx, {WORDS_ADDRESS + 16}
"""
_DIVISOR_AND_TEXT = """
  movw $0x3fb, %dx
  movb $0x80, %al
  outb %al, %dx
  movw $0x3f8, %dx
  movb $1, %al
  outb %al, %dx
  movw $0x3fb, %dx
  movb $3, %al
  outb %al, %dx
  movw $0x3f8, %dx
  movb $65, %al
  outb %al, %dx
"""


def options(image: Path) -> MachineOptions:
    """A small machine in the monitor."""
    require_accelerator("kvm")
    return MachineOptions(image=image, memory_bytes=32 * MIB, accelerator="kvm")


def words(machine: Machine, count: int) -> list[int]:
    """Return what the image has left."""
    with machine.memory.view(WORDS_ADDRESS, 4 * count) as view:
        return view.cast("I").tolist()


def test_what_is_not_there_reads_as_ones(tmp_path: Path) -> None:
    image = make_image(tmp_path, _ODD_READS + leave(ExitCode.OK))
    with Machine(options(image)) as machine:
        assert not machine.is_qemu
        assert machine.wait(PATIENCE) == ExitCode.OK
        assert words(machine, 5) == [0x60, 0xFFFF_FFFF, 0xFFFF_FFFF, 0xFFFF_FFFF, 0x90000]


def test_a_divisor_is_no_text(tmp_path: Path) -> None:
    image = make_image(tmp_path, _DIVISOR_AND_TEXT + leave(ExitCode.OK))
    with Machine(options(image)) as machine:
        assert machine.wait(PATIENCE) == ExitCode.OK
        assert machine.console.text() == "A"


def test_memory_is_whole_beyond_what_is_shared(tmp_path: Path) -> None:
    body = f"""
  movl $0x5a5a, {48 * MIB}
  movl {48 * MIB}, %eax
  movl %eax, {WORDS_ADDRESS}
"""
    image = make_image(tmp_path, body + leave(ExitCode.OK))
    wanted = options(image)._replace(memory_bytes=64 * MIB, shared_bytes=32 * MIB)
    with Machine(wanted) as machine:
        assert machine.wait(PATIENCE) == ExitCode.OK
        assert words(machine, 1) == [0x5A5A]


def test_the_models_file_is_mapped_where_nobody_can_write(tmp_path: Path) -> None:
    model = tmp_path / "model.axm"
    model.write_bytes(bytes(4 * MIB))
    image = make_image(tmp_path, "1: jmp 1b")
    with Machine(options(image)._replace(model=model, load="map")) as machine:
        folder = Path(f"/proc/{machine.process.id}")
        deadline = time.monotonic() + PATIENCE
        while not (lines := [line for line in mappings(folder) if line.endswith(str(model))]):
            machine.check_alive()
            assert time.monotonic() < deadline
        assert [line.split()[1] for line in lines] == ["r--s"]
        start = int(lines[0].split("-")[0], 16)
        assert start % (2 * MIB) == 0


def test_a_held_machine_gets_memory_ready_and_runs_when_released(tmp_path: Path) -> None:
    model = tmp_path / "model.axm"
    model.write_bytes(bytes(4 * MIB))
    image = make_image(tmp_path, f"  movl $77, {WORDS_ADDRESS}\n" + leave(ExitCode.OK))
    wanted = options(image)._replace(memory_bytes=64 * MIB, shared_bytes=32 * MIB, model=model, load="map")
    with Machine(wanted._replace(held=True)) as machine:
        folder = Path(f"/proc/{machine.process.id}")
        deadline = time.monotonic() + PATIENCE
        while 32 * MIB not in wholly_resident(folder):
            machine.check_alive()
            assert time.monotonic() < deadline
        assert words(machine, 1) == [0]
        machine.release()
        assert machine.wait(PATIENCE) == ExitCode.OK
        assert words(machine, 1) == [77]


def wholly_resident(folder: Path) -> set[int]:
    """Return the lengths of a process's mappings of which every page is there."""
    kilobytes = re.findall(
        r"^Size: +(\d+) kB\n(?:.*\n){2}Rss: +(\d+) kB", (folder / "smaps").read_text(), re.M
    )
    return {int(size) << 10 for size, resident in kilobytes if size == resident}


def mappings(folder: Path) -> list[str]:
    """Return what a process has mapped, a line each."""
    return (folder / "maps").read_text().splitlines()


def test_what_is_no_image_is_said(tmp_path: Path) -> None:
    image = make_image(tmp_path, leave(ExitCode.OK))
    data = image.read_bytes()
    for damaged, complaint in (
        (b"not an image", "unpack"),
        (b"no image" * 100, "no ELF file"),
        (data[:70], "unpack|cut off"),
        (data[:250], "unpack|cut off"),
        (data.replace(b"Xen\0", b"Xyz\0"), "it has no PVH entry"),
    ):
        image.write_bytes(damaged)
        with Machine(options(image)) as machine:
            machine.wait(PATIENCE)
            with pytest.raises(MachineEnded, match=rf"process ended with status 1: .*({complaint})"):
                machine.check_alive()


def test_an_image_that_does_not_fit_is_said(tmp_path: Path) -> None:
    image = make_image(tmp_path, leave(ExitCode.OK), address=40 * MIB)
    with Machine(options(image)) as machine:
        machine.wait(PATIENCE)
        with pytest.raises(MachineEnded, match="has no memory at 0x2800000") as caught:
            machine.check_alive()
        assert caught.value.hint == ""


def test_what_kvm_refuses_is_said_and_that_qemu_may_do(tmp_path: Path) -> None:
    model = tmp_path / "model.axm"
    model.write_bytes(b"")
    image = make_image(tmp_path, leave(ExitCode.OK))
    with Machine(options(image)._replace(model=model, load="map")) as machine:
        machine.wait(PATIENCE)
        with pytest.raises(MachineEnded, match=r"KVM cannot map .*model\.axm .*invalid argument") as caught:
            machine.check_alive()
        assert caught.value.hint == "with --load nvme QEMU is the machine"


def test_segments_are_put_where_they_belong(tmp_path: Path) -> None:
    put: dict[int, bytes] = {}
    data = make_image(tmp_path, leave(ExitCode.OK)).read_bytes()
    assert load_image(data, put.__setitem__) == 0x20_0000
    assert any(address <= 0x20_0000 < address + len(part) for address, part in put.items())


def test_a_processors_answers_tell_its_id_and_clock() -> None:
    supported = [
        CpuidEntry(0, 0, 0, 0x10, 1, 2, 3),
        CpuidEntry(1, 0, 0, 0x306F0, 0x0100_0800, 0x0020_0000, 0xF),
        CpuidEntry(7, 0, 1, 1, 0xF, 0xF, 1 << 29 | 1),
        CpuidEntry(0x0B, 0, 1, 0, 1, 0x100, 99),
        CpuidEntry(0x4000_0000, 0, 0, 0x4000_0001, 1, 2, 3),
        CpuidEntry(0x4000_0010, 0, 0, 5, 5, 5, 5),
        CpuidEntry(0x8000_0007, 0, 0, 0, 0, 0, 0),
    ]
    found = {(entry.leaf, entry.subleaf): entry for entry in identity(supported, 3, 4, 2_500_000)}
    assert len(found) == len(supported)
    assert found[0, 0] == supported[0]
    assert found[1, 0].ebx == 0x0304_0800
    assert found[1, 0].ecx == 0x0020_0000 | 1 << 24 | 1 << 31
    assert found[7, 0].edx == 1
    assert found[0x0B, 0].edx == 3
    assert found[0x4000_0000, 0] == (0x4000_0000, 0, 0, 0x4000_0010, 1, 2, 3)
    assert found[0x4000_0010, 0][3:5] == (2_500_000, 1_000_000)
    assert found[0x8000_0007, 0].edx == 1 << 8
