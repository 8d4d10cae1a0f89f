"""A machine finds its NVMe drive by PCI and reads a packed model from it, every byte checked."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from axiom.abi.boot import ExitCode
from axiom.host.machine.machine import Machine, MachineOptions
from axiom.host.model.packed_file import DIGEST_CHUNK_BYTES, Header
from axiom.lang import size_of, u64, view_of
from axiom.metal.drivers.acpi import AcpiStatus
from axiom.metal.drivers.model_loader import LoadStatus
from axiom.metal.drivers.nvme_registers import NvmeStatus
from axiom.metal.drivers.pci import MEMORY_WINDOW_ADDRESS
from axiom.metal.drivers.pci_registers import PciStatus
from tests.metal.images import drive
from tests.support.checksums import crc32c
from tests.support.metal import ACCELERATORS, build_image, require_accelerator

LAYOUT_ID = 0x1234567890ABCDEF
DIGEST_OFFSET = 4096
WEIGHTS_OFFSET = 2 << 20
WEIGHTS_BYTES = (5 << 20) + 4096
MEMORY_BYTES = 96 << 20
DEADLINE_S = 60.0


@dataclass
class Packed:
    """A packed model to be written: what the header says, the digests, the weights."""

    header: Header
    digests: bytearray
    weights: bytearray

    def write(self, path: Path) -> Path:
        """Write the file."""
        start = self.header.page() + self.digests
        path.write_bytes(start.ljust(WEIGHTS_OFFSET, b"\0") + self.weights)
        return path


def packed() -> Packed:
    """A sound model of two whole chunks and a short one, each place in it different from all others."""
    weights = np.arange(WEIGHTS_BYTES // 8, dtype="<u8").tobytes()
    chunks = [weights[at : at + DIGEST_CHUNK_BYTES] for at in range(0, len(weights), DIGEST_CHUNK_BYTES)]
    digests = b"".join(crc32c(chunk).to_bytes(4, "little") for chunk in chunks)
    header = Header(
        layout_id=LAYOUT_ID,
        content_id=bytes(range(32)),
        weights_offset=WEIGHTS_OFFSET,
        weights_bytes=len(weights),
        digest_offset=DIGEST_OFFSET,
        n_digests=len(chunks),
        digest_table_crc32c=crc32c(digests),
        metadata_offset=WEIGHTS_OFFSET + len(weights),
        metadata_bytes=0,
    )
    return Packed(header, bytearray(digests), bytearray(weights))


@dataclass(frozen=True)
class Outcome:
    """What the machine reported, and what lay in the weights region when it left."""

    report: drive.DriveReport
    weights: bytes


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The image that every test here boots."""
    return build_image(tmp_path_factory.mktemp("drive") / "drive.elf", [drive.main, drive.run])


def boot(image: Path, accelerator: str, model: Path | None, *, ignore_acpi: bool = False) -> Outcome:
    """Give the machine its task, and wait until it leaves."""
    require_accelerator(accelerator)
    options = MachineOptions(
        image=image,
        memory_bytes=MEMORY_BYTES,
        model=model,
        accelerator="kvm" if accelerator == "kvm" else "tcg",
    )
    with Machine(options) as machine:
        with machine.memory.view(drive.TASK_ADDRESS, size_of(drive.DriveTask)) as place:
            task = view_of(drive.DriveTask, place)
            task.layout_id = u64(LAYOUT_ID)
            task.weights_bytes = u64(WEIGHTS_BYTES)
            task.ignore_acpi = u64(ignore_acpi)
            task.ready = u64(drive.TASK_READY)
            del task
        assert machine.wait(DEADLINE_S) == ExitCode.OK, machine.console.text() + machine.process.errors()
        with machine.memory.view(drive.REPORT_ADDRESS, size_of(drive.DriveReport)) as place:
            report = view_of(drive.DriveReport, bytearray(place))
        with machine.memory.view(drive.WEIGHTS_ADDRESS, WEIGHTS_BYTES) as place:
            return Outcome(report, bytes(place))


@pytest.mark.parametrize("accelerator", ACCELERATORS)
def test_a_model_is_found_and_loaded_and_its_file_is_not_touched(
    accelerator: str, image: Path, tmp_path: Path
) -> None:
    model = packed()
    path = model.write(tmp_path / "odd, name.axm")
    before = os.stat(path)
    content = path.read_bytes()
    outcome = boot(image, accelerator, path)
    report = outcome.report
    assert (report.acpi, report.pci, report.nvme) == (AcpiStatus.OK, PciStatus.OK, NvmeStatus.OK)
    assert report.load == LoadStatus.OK
    assert outcome.weights == model.weights
    assert (int(report.registers), int(report.registers_bytes)) == (MEMORY_WINDOW_ADDRESS, 16384)
    assert (int(report.transfer_bytes), int(report.block_bytes)) == (2 << 20, 512)
    assert int(report.n_blocks) == path.stat().st_size // 512
    after = os.stat(path)
    assert (after.st_mtime_ns, path.read_bytes()) == (before.st_mtime_ns, content)


def test_without_acpi_the_host_bridge_tells_where_configuration_space_is(
    image: Path, tmp_path: Path
) -> None:
    outcome = boot(image, "tcg", packed().write(tmp_path / "model.axm"), ignore_acpi=True)
    assert int(outcome.report.ecam) == 0xB0000000
    assert outcome.report.load == LoadStatus.OK


def test_a_machine_without_a_drive_says_so(image: Path) -> None:
    assert boot(image, "tcg", None).report.pci == PciStatus.NOT_FOUND


def _flip(data: bytearray, at: int) -> None:
    data[at] ^= 0x10


def _damage_weights(at: int) -> Callable[[Packed], None]:
    def damage(model: Packed) -> None:
        _flip(model.weights, at)

    return damage


def _damage_digests(model: Packed) -> None:
    _flip(model.digests, 5)


def _other_layout(model: Packed) -> None:
    model.header = model.header._replace(layout_id=LAYOUT_ID + 1)


def _other_size(model: Packed) -> None:
    model.header = model.header._replace(weights_bytes=WEIGHTS_BYTES + 4096)


def _wrong_count(model: Packed) -> None:
    model.header = model.header._replace(n_digests=2)


def _unaligned(model: Packed) -> None:
    model.header = model.header._replace(weights_offset=WEIGHTS_OFFSET + 512)


def _far_weights(model: Packed) -> None:
    model.header = model.header._replace(weights_offset=(1 << 64) - 4096)


def _cut(model: Packed) -> None:
    del model.weights[-4096:]


@pytest.mark.parametrize(
    ("spoil", "status", "chunk"),
    [
        (_damage_weights(0), LoadStatus.WEIGHTS_DAMAGED, 0),
        (_damage_weights(3 << 20), LoadStatus.WEIGHTS_DAMAGED, 1),
        (_damage_weights(WEIGHTS_BYTES - 1), LoadStatus.WEIGHTS_DAMAGED, 2),
        (_damage_digests, LoadStatus.DIGESTS_DAMAGED, 0),
        (_other_layout, LoadStatus.OTHER_MODEL, 0),
        (_other_size, LoadStatus.OTHER_MODEL, 0),
        (_wrong_count, LoadStatus.CONTRADICTORY_HEADER, 0),
        (_unaligned, LoadStatus.CONTRADICTORY_HEADER, 0),
        (_far_weights, LoadStatus.DRIVE_TOO_SHORT, 0),
        (_cut, LoadStatus.DRIVE_TOO_SHORT, 0),
    ],
    ids=[
        "first byte",
        "middle chunk",
        "last byte",
        "digest",
        "layout",
        "size",
        "count",
        "alignment",
        "offset",
        "cut",
    ],
)
def test_what_is_wrong_with_a_model_is_named(
    spoil: Callable[[Packed], None], status: LoadStatus, chunk: int, image: Path, tmp_path: Path
) -> None:
    model = packed()
    spoil(model)
    report = boot(image, "tcg", model.write(tmp_path / "model.axm")).report
    assert report.nvme == NvmeStatus.OK
    assert (report.load, int(report.damaged_chunk)) == (status, chunk)


@pytest.mark.parametrize(
    ("at", "status"),
    [
        (0, LoadStatus.NOT_A_PACKED_MODEL),
        (8, LoadStatus.UNKNOWN_VERSION),
        (100, LoadStatus.HEADER_DAMAGED),
        (4095, LoadStatus.HEADER_DAMAGED),
    ],
)
def test_a_damaged_header_is_named(at: int, status: LoadStatus, image: Path, tmp_path: Path) -> None:
    path = packed().write(tmp_path / "model.axm")
    data = bytearray(path.read_bytes())
    _flip(data, at)
    path.write_bytes(data)
    assert boot(image, "tcg", path).report.load == status
