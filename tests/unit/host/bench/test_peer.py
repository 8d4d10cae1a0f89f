"""The peer's process: what is asked, and what happens when it fails. A stand-in interpreter plays it."""

from pathlib import Path

import pytest

from axiom.host.bench.peer import Peer, PeerSetting, peer_interpreter
from axiom.host.errors import MachineError, UserError

SETTING = PeerSetting(threads=2)
LOADED = '{"result": {"load_seconds": 0.5, "n_vocab": 7, "system": "x"}}'


def interpreter(folder: Path, script: str) -> Path:
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def test_a_missing_peer_is_one_sentence_with_the_command_that_makes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.prefix", str(tmp_path / "venv"))
    monkeypatch.delenv("AXIOM_PEER_PYTHON", raising=False)
    with pytest.raises(UserError) as caught:
        peer_interpreter()
    assert "make .venv-peer" in (caught.value.hint or "")


def test_the_environment_names_the_interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = interpreter(tmp_path, "")
    monkeypatch.setenv("AXIOM_PEER_PYTHON", str(path))
    assert peer_interpreter() == path


def test_an_error_of_the_peer_is_told(tmp_path: Path) -> None:
    program = interpreter(
        tmp_path, f"read a; echo '{LOADED}'; read a; echo '{{\"error\": \"no room\"}}'; read a"
    )
    with (
        Peer(program, tmp_path / "m.gguf", SETTING, 64) as peer,
        pytest.raises(MachineError, match="no room"),
    ):
        peer.prefill_seconds([1])


def test_a_peer_that_dies_is_told_with_its_status(tmp_path: Path) -> None:
    program = interpreter(tmp_path, f"read a; echo '{LOADED}'; read a; exit 5")
    with (
        Peer(program, tmp_path / "m.gguf", SETTING, 64) as peer,
        pytest.raises(MachineError, match="status 5"),
    ):
        peer.decode_seconds([1])


def test_a_setting_reads_well() -> None:
    assert str(PeerSetting(2, True, False)) == ("2 threads, flash attention on, repack off, batches of 512")
