"""The image depends on source and plan alone: not on place, home, hash seed, cache or processors."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import axiom

PACKAGE = Path(axiom.__file__).parent
DEADLINE_SECONDS = 240
# `units` decides by the number of processors how many units are compiled at a time.
BUILD = """
import os, sys
os.cpu_count = lambda: int(sys.argv[1])
from pathlib import Path
import axiom
from axiom.host.image.build import build_image
from axiom.host.machine.session import plan_for
from axiom.host.model.pack import packed_model
from axiom.models import bundled_model_path
assert axiom.__file__.startswith(sys.argv[2]), axiom.__file__
config = plan_for(packed_model(bundled_model_path()), None, n_lanes=2).config
print(build_image(config, Path(sys.argv[3])).path)
"""


def build(tree: Path, home: Path, seed: int, n_processors: int, images: Path, *flags: str) -> bytes:
    """Build the image of the bundled model with the package in `tree`; return its bytes."""
    environment = {name: value for name, value in os.environ.items() if name != "XDG_CACHE_HOME"}
    environment |= {"PYTHONPATH": str(tree), "HOME": str(home), "PYTHONHASHSEED": str(seed)}
    command = [sys.executable, *flags, "-c", BUILD, str(n_processors), str(tree), str(images)]
    home.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        command,
        env=environment,
        cwd=home,
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip()).read_bytes()


def test_two_builds_give_the_same_bytes(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "a longer path to" / "another copy"
    for tree in (one, two):
        shutil.copytree(PACKAGE, tree / "axiom", ignore=shutil.ignore_patterns("__pycache__"))
    first = build(one, tmp_path / "home", 1, 1, tmp_path / "images1")
    second = build(two, tmp_path / "elsewhere" / "home", 2, 4, tmp_path / "images2")
    assert len(first) > 100_000
    assert first == second
    # Again, with the objects of the first build kept, asserts left out and no image: from the other tree.
    objects = list((tmp_path / "home").rglob("*.o"))
    assert len(objects) > 1
    warm = build(two, tmp_path / "home", 3, 2, tmp_path / "images3", "-O")
    assert warm == first
    assert {*(tmp_path / "home").rglob("*.o")} == {*objects}
