"""What a word after --peer means, and what is said when it means nothing."""

import sys
from pathlib import Path

import pytest

from axiom.host.bench.peer_choice import PeerChoice, choose_peer
from axiom.host.errors import UserError
from tests.support.llama_bench import write_llama_bench


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def package(folder: Path) -> None:
    (folder / "llama_cpp").mkdir()
    (folder / "llama_cpp/__init__.py").write_text("__version__ = '1.2.3'\n")


def test_none_is_nobody() -> None:
    assert choose_peer("none") == PeerChoice()
    assert PeerChoice().bench(Path("model.gguf")) is None


def test_llama_cpp_is_the_interpreter_that_the_environment_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = script(tmp_path / "python", "")
    monkeypatch.setenv("AXIOM_PEER_PYTHON", str(path))
    assert choose_peer("llama.cpp") == PeerChoice(interpreter=path)


def test_an_interpreter_is_known_by_the_package_and_not_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = tmp_path / "llama-bench"
    link.symlink_to(sys.executable)
    with pytest.raises(UserError, match="neither a llama-bench nor a Python with llama-cpp-python"):
        choose_peer(str(link))
    package(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    # The link itself, not what it leads to: an environment is found by the name of its interpreter.
    assert choose_peer(str(link)) == PeerChoice(interpreter=link)


@pytest.mark.parametrize("repack", [True, False])
def test_a_llama_bench_is_known_by_its_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, repack: bool
) -> None:
    path = write_llama_bench(tmp_path, repack)
    path = path.rename(tmp_path / "another name")
    assert choose_peer(str(path)) == PeerChoice(program=path, tells_repack=repack)
    monkeypatch.chdir(tmp_path)
    assert choose_peer("another name").program == path


def test_what_is_no_peer_is_refused_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("llama-bench")
    cases = {
        "gone": "no such file",
        "text": "not an executable file",
        ".": "not an executable file",
        "bash": "neither a llama-bench nor a Python",
        "liar": "neither a llama-bench nor a Python",
        "broken": "neither a llama-bench nor a Python",
    }
    (tmp_path / "bash").symlink_to("/bin/bash")
    script(tmp_path / "liar", "echo llama-bench True; exit 1")
    (tmp_path / "broken").write_bytes(b"\x7fELF")
    (tmp_path / "broken").chmod(0o755)
    for name, words in cases.items():
        with pytest.raises(UserError, match=words) as caught:
            choose_peer(str(tmp_path / name))
        assert name in caught.value.message
        assert "llama-bench" in (caught.value.hint or "")
