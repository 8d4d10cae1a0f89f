"""Choosing between KVM and TCG, and saying why."""

from pathlib import Path

import pytest

from axiom.host.errors import MachineError
from axiom.host.machine.accelerator import choose_accelerator, kvm_obstacle


def test_a_missing_device_is_named(tmp_path: Path) -> None:
    device = str(tmp_path / "kvm")
    assert kvm_obstacle(device) == f"{device} cannot be opened (no such file or directory)"


def test_a_file_that_is_not_kvm_is_noticed(tmp_path: Path) -> None:
    device = tmp_path / "kvm"
    device.write_bytes(b"")
    assert "does not answer as KVM does" in kvm_obstacle(str(device))


def test_without_kvm_the_choice_is_tcg_with_the_reason(tmp_path: Path) -> None:
    device = str(tmp_path / "kvm")
    chosen = choose_accelerator("auto", device)
    assert (chosen.name, chosen.reason) == ("tcg", kvm_obstacle(device))
    with pytest.raises(MachineError, match=r"KVM cannot be used: .*cannot be opened"):
        choose_accelerator("kvm", device)


def test_tcg_can_be_asked_for_where_kvm_works() -> None:
    assert choose_accelerator("tcg").name == "tcg"
    assert choose_accelerator("auto").name == ("tcg" if kvm_obstacle() else "kvm")
