"""A mistake in the kernel's own source is shown by the commands that build it, as the compiler says it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import axiom

PACKAGE = Path(axiom.__file__).parent
BROKEN = "metal/kernel/scheduler.py"
RIGHT = "    if cycles > budget:\n"
WRONG = "    if cycles + u8(1) > budget:\n"
DEADLINE_SECONDS = 120


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the package in which one line of the kernel mixes two types."""
    root = tmp_path_factory.mktemp("tree")
    shutil.copytree(PACKAGE, root / "axiom", ignore=shutil.ignore_patterns("__pycache__"))
    path = root / "axiom" / BROKEN
    text = path.read_text()
    assert text.count(RIGHT) == 1
    path.write_text(text.replace(RIGHT, WRONG).replace("import fn, static,", "import fn, u8, static,"))
    return root


@pytest.mark.parametrize(
    "command", [["run", "-n", "1"], ["run", "-n", "1", "--machine", "hosted"], ["plan"], ["report"]]
)
def test_the_diagnostics_are_shown_and_no_traceback(command: list[str], tree: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(tree), "XDG_CACHE_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "axiom.host.cli", *command],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    path = tree / "axiom" / BROKEN
    line = path.read_text().splitlines().index(WRONG.rstrip("\n")) + 1
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    shown = done.stderr.splitlines()
    first = next(i for i, text in enumerate(shown) if text.startswith(f"{path}:{line}:"))
    assert "error: u64 meets u8" in shown[first]
    assert shown[first + 1] == f"{line} | {WRONG.rstrip()}"
    assert shown[first + 2].strip().startswith("| ")
    assert "^" in shown[first + 2]
    # What was half made is not left behind, where a later run might take it for an image.
    assert list((tmp_path / "axiom").rglob("*.elf")) == []
    assert list((tmp_path / "axiom").rglob("*.part")) == []
