"""The kernel in this process: what a start remembers, that it then needs no compiler, and its panics."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from axiom.compiler.object_cache import StoredObject
from axiom.host.errors import CrashError, MachineError
from axiom.host.machine.hosted import HostedMachine
from axiom.host.machine.hosted_launch import HostedLaunch, remember_hosted, remembered_hosted
from axiom.host.machine.options import SessionOptions
from axiom.host.machine.prepare_hosted import prepare_hosted
from axiom.host.model.pack import packed_model
from axiom.host.model.packed_file import PackedModel
from axiom.models import bundled_model_path

DEADLINE_SECONDS = 60.0
# Runs the command as a user does and tells, as its last words, which rooms it has imported.
TELL_IMPORTS = """
import sys
from axiom.host.cli.main import main
try:
    main()
finally:
    print(*sorted(name for name in sys.modules if name.startswith("axiom.")), file=sys.stderr)
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> PackedModel:
    return packed_model(bundled_model_path(), tmp_path_factory.mktemp("models"))


@pytest.fixture
def options(tmp_path: Path) -> SessionOptions:
    return SessionOptions(machine="hosted", cpus=2, n_context=64, cache=tmp_path / "cache")


@pytest.fixture
def prepared(model: PackedModel, options: SessionOptions) -> tuple[HostedLaunch, StoredObject]:
    return prepare_hosted(model, options)


def test_a_launch_is_found_again_with_its_object(
    prepared: tuple[HostedLaunch, StoredObject], model: PackedModel, options: SessionOptions
) -> None:
    launch, stored = prepared
    assert remembered_hosted(model.path, options) is None
    remember_hosted(launch, stored, options)
    found = remembered_hosted(model.path, options)
    assert found is not None
    assert found[0] == launch
    assert (found[1].data, found[1].path) == (stored.data, stored.path)
    assert remembered_hosted(model.path, options._replace(cpus=1)) is None


def test_an_object_that_was_never_kept_is_not_remembered(
    prepared: tuple[HostedLaunch, StoredObject], model: PackedModel, options: SessionOptions
) -> None:
    launch, stored = prepared
    remember_hosted(launch, StoredObject(stored.data, stored.roots), options)
    assert remembered_hosted(model.path, options) is None


def test_a_damaged_object_is_not_found(
    prepared: tuple[HostedLaunch, StoredObject],
    model: PackedModel,
    options: SessionOptions,
    tmp_path: Path,
) -> None:
    launch, stored = prepared
    assert stored.path is not None
    content = bytearray(stored.path.read_bytes())
    content[len(content) // 2] ^= 1
    damaged = tmp_path / "damaged.o"
    damaged.write_bytes(content)
    remember_hosted(launch, StoredObject(stored.data, stored.roots, damaged), options)
    assert remembered_hosted(model.path, options) is None


def test_a_launch_for_another_processor_is_not_found(
    prepared: tuple[HostedLaunch, StoredObject], model: PackedModel, options: SessionOptions
) -> None:
    launch, stored = prepared
    remember_hosted(launch._replace(target="another"), stored, options)
    assert remembered_hosted(model.path, options) is None


@pytest.mark.parametrize("damage", ["{}", "[]", '{"object": "/nowhere"}', '{"object": 5}', "{"])
def test_a_damaged_note_is_as_none(
    damage: str,
    prepared: tuple[HostedLaunch, StoredObject],
    model: PackedModel,
    options: SessionOptions,
) -> None:
    remember_hosted(*prepared, options)
    (note,) = (options.cache_folder / "launches").iterdir()
    note.write_text(damage)
    assert remembered_hosted(model.path, options) is None


def test_a_model_that_is_gone_is_an_error_in_words(
    prepared: tuple[HostedLaunch, StoredObject], tmp_path: Path
) -> None:
    launch, stored = prepared
    with pytest.raises(MachineError, match="cannot be mapped into memory"):
        HostedMachine(launch._replace(model=str(tmp_path / "missing.axm")), stored)


def watch(machine: HostedMachine) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        machine.check_alive()
        time.sleep(0.001)


def test_a_panic_is_told_with_its_places(prepared: tuple[HostedLaunch, StoredObject]) -> None:
    launch, stored = prepared
    with HostedMachine(launch._replace(activation_bytes=4096), stored) as machine:
        before = os.sched_getaffinity(0)
        machine.start()
        with pytest.raises(CrashError) as raised:
            watch(machine)
        assert os.sched_getaffinity(0) == before
    text = str(raised.value)
    assert "the activations region is too small" in text
    assert "engine.py" in text
    assert "bind" in text


def test_the_second_start_imports_no_compiler_and_gives_the_same_tokens(tmp_path: Path) -> None:
    def start() -> tuple[list[int], set[str]]:
        done = subprocess.run(
            [sys.executable, "-c", TELL_IMPORTS, "run", "--json", "-n", "8", "--machine", "hosted"],
            env={**os.environ, "XDG_CACHE_HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=DEADLINE_SECONDS,
            check=True,
        )
        return json.loads(done.stdout)["ids"], set(done.stderr.splitlines()[-1].split())

    first_ids, first = start()
    second_ids, second = start()
    assert "axiom.compiler.frontend.program" in first
    assert first_ids == second_ids
    costly = ("axiom.compiler.frontend", "axiom.compiler.hosted", "axiom.metal", "axiom.host.image")
    assert [name for name in second if name.startswith(costly)] == []
