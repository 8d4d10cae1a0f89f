"""A launch that worked is found again while nothing that decides it has changed, and only then."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import axiom
from axiom.host.errors import UserError
from axiom.host.machine.launch import Launch, remember_launch, remembered_launch, start_machine
from axiom.host.machine.launch_notes import ROOMS
from axiom.host.machine.options import SessionOptions


@pytest.fixture
def options(tmp_path: Path) -> SessionOptions:
    return SessionOptions(machine="tcg", cpus=2, cache=tmp_path / "cache")


@pytest.fixture
def launch(tmp_path: Path) -> Launch:
    """Return a launch whose image and model are there."""
    for name in ("image.elf", "model.axm"):
        (tmp_path / name).write_bytes(b"content")
    return Launch(
        image=str(tmp_path / "image.elf"),
        model=str(tmp_path / "model.axm"),
        memory_bytes=64 << 20,
        shared_bytes=4 << 20,
        rings_address=1 << 20,
        load="map",
        link="memory",
        command_line="model=100000000,200000,1000",
    )


def test_it_is_found_again_as_it_was(launch: Launch, options: SessionOptions) -> None:
    assert remembered_launch(Path(launch.model), options) is None
    remember_launch(launch, options)
    assert remembered_launch(Path(launch.model), options) == launch
    assert [path.suffix for path in (options.cache_folder / "launches").iterdir()] == [".json"]


def test_other_options_and_other_models_have_other_launches(
    launch: Launch, options: SessionOptions, tmp_path: Path
) -> None:
    remember_launch(launch, options)
    others = (
        options._replace(machine="kvm"),
        options._replace(cpus=1),
        options._replace(n_context=64),
        options._replace(memory_bytes=1 << 30),
        options._replace(load="nvme"),
        options._replace(link="uart"),
        options._replace(kv_type="q8_0"),
    )
    assert [remembered_launch(Path(launch.model), other) for other in others] == [None] * len(others)
    assert remembered_launch(tmp_path / "other.axm", options) is None


@pytest.mark.parametrize("missing", ["image", "model"])
def test_it_is_not_found_when_a_file_is_gone(missing: str, launch: Launch, options: SessionOptions) -> None:
    remember_launch(launch, options)
    Path(getattr(launch, missing)).unlink()
    assert remembered_launch(Path(launch.model), options) is None


def cut(text: str) -> str:
    return text[: len(text) // 2]


def no_object(text: str) -> str:
    return json.dumps([text])


def other_fields(text: str) -> str:
    return json.dumps({**json.loads(text), "colour": "red"})


def fewer_fields(text: str) -> str:
    return json.dumps({"image": json.loads(text)["image"]})


@pytest.mark.parametrize("damage", [cut, no_object, other_fields, fewer_fields])
def test_a_damaged_note_is_as_none(
    damage: Callable[[str], str], launch: Launch, options: SessionOptions
) -> None:
    remember_launch(launch, options)
    (note,) = (options.cache_folder / "launches").iterdir()
    note.write_text(damage(note.read_text()))
    assert remembered_launch(Path(launch.model), options) is None


def test_a_place_that_cannot_be_written_is_no_error(launch: Launch, options: SessionOptions) -> None:
    options.cache_folder.write_text("a file where a folder should be")
    remember_launch(launch, options)
    assert remembered_launch(Path(launch.model), options) is None


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of this program's folder, in which launches believe to be."""
    copy = tmp_path / "axiom"
    root = Path(axiom.__file__).parent
    for room in ROOMS:
        shutil.copytree(root / room, copy / room, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(axiom, "__file__", str(copy / "__init__.py"))
    return copy


@pytest.mark.parametrize("room", ROOMS)
def test_it_is_not_found_after_a_change_of_the_program(
    room: str, program: Path, launch: Launch, options: SessionOptions
) -> None:
    remember_launch(launch, options)
    assert remembered_launch(Path(launch.model), options) == launch
    source = sorted((program / room).rglob("*.py"))[-1]
    source.write_text(source.read_text() + "\n")
    assert remembered_launch(Path(launch.model), options) is None


def test_compiled_caches_of_python_do_not_count(
    program: Path, launch: Launch, options: SessionOptions
) -> None:
    remember_launch(launch, options)
    (program / "abi" / "__pycache__").mkdir()
    (program / "abi" / "__pycache__" / "boot.pyc").write_bytes(b"compiled")
    assert remembered_launch(Path(launch.model), options) == launch


def test_a_machine_larger_than_this_computer_is_refused(launch: Launch, options: SessionOptions) -> None:
    large = launch._replace(memory_bytes=1 << 50)
    with pytest.raises(UserError, match=r"the machine needs 1073741824 MiB, and this computer is short of"):
        start_machine(large, options)
