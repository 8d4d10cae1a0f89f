"""From a packed model to a launch: how it is loaded, and where everything will lie."""

import os
import shutil
from itertools import pairwise
from pathlib import Path

import pytest

from axiom.abi.boot import HUGE_PAGE_BYTES, RegionKind
from axiom.host.errors import UserError
from axiom.host.image.build import build_image
from axiom.host.machine.options import LinkName, LoadName, SessionOptions
from axiom.host.machine.prepare import choose_load, place_session, prepare_launch, session_plan
from axiom.host.model.pack import packed_model
from axiom.host.model.packed_file import PackedModel
from axiom.models import bundled_model_path
from tests.unit.host.model.gguf_builder import gguf_bytes, llama_entries, llama_values, write

WIDE_FFN = 65536
IN_FILE = (RegionKind.WEIGHTS, RegionKind.MODEL_HEADER)


@pytest.fixture(scope="module")
def model() -> PackedModel:
    return packed_model(bundled_model_path())


@pytest.fixture
def odd(model: PackedModel, tmp_path: Path) -> PackedModel:
    """Return the same model in a file that no number of huge pages fits."""
    path = tmp_path / "odd.axm"
    shutil.copyfile(model.path, path)
    os.truncate(path, path.stat().st_size + 4096)
    return PackedModel(path, model.header, model.shape, model.tensors, model.facts)


@pytest.mark.parametrize(("asked", "chosen"), [("auto", "map"), ("map", "map"), ("nvme", "nvme")])
def test_a_model_is_mapped_unless_it_is_to_be_read(
    asked: LoadName, chosen: str, model: PackedModel
) -> None:
    assert choose_load(model, SessionOptions(load=asked)) == chosen


def test_a_file_of_another_length_is_read(odd: PackedModel) -> None:
    assert choose_load(odd, SessionOptions()) == "nvme"
    with pytest.raises(UserError, match=r"odd\.axm cannot be mapped: its length is no multiple of 2 MiB"):
        choose_load(odd, SessionOptions(load="map"))


@pytest.mark.parametrize("load", ["map", "nvme"])
def test_the_regions_lie_in_the_machine_side_by_side(load: LoadName, model: PackedModel) -> None:
    options = SessionOptions(cpus=2, load=load)
    plan = session_plan(model, options)
    image = build_image(plan.config, options.cache_folder)
    memory_bytes, file, placed = place_session(model, options, plan, image)
    assert memory_bytes % HUGE_PAGE_BYTES == 0
    assert (file is None) == (load == "nvme")
    inside = sorted((r.address, r.address + r.bytes) for r in placed if r.kind not in IN_FILE)
    assert all(before[1] <= after[0] for before, after in pairwise(inside))
    weights = next(region for region in placed if region.kind == RegionKind.WEIGHTS)
    if file is None:
        assert all(r.address + r.bytes <= memory_bytes for r in placed)
    else:
        assert weights.address == file.address + model.weights_offset
        assert inside[-1][1] <= memory_bytes <= file.address
        assert file.address % (1 << 30) == 0


def test_too_little_memory_is_refused_with_what_would_do(tmp_path: Path) -> None:
    wide = gguf_bytes(llama_values(WIDE_FFN), llama_entries(d_ffn=WIDE_FFN))
    model = packed_model(write(tmp_path, wide), tmp_path / "models")
    options = SessionOptions(load="nvme")
    plan = session_plan(model, options)
    image = build_image(plan.config, options.cache_folder)
    least, _, _ = place_session(model, options, plan, image)
    exact = options._replace(memory_bytes=least)
    assert place_session(model, exact, plan, image)[0] == least
    with pytest.raises(UserError, match=r"needs a machine of 104 MiB, and this one has 102 MiB"):
        place_session(model, options._replace(memory_bytes=least - HUGE_PAGE_BYTES), plan, image)


@pytest.mark.parametrize(("link", "expected"), [("auto", "memory"), ("ring", "memory"), ("uart", "serial")])
def test_a_launch_says_all_that_a_machine_needs(link: LinkName, expected: str, model: PackedModel) -> None:
    options = SessionOptions(link=link)
    launch = prepare_launch(model, options)
    assert Path(launch.image).is_file()
    assert launch.model == str(model.path)
    assert launch.link == expected
    assert launch.load == "map"
    assert launch.command_line.startswith("model=")
    assert launch.shared_bytes % HUGE_PAGE_BYTES == 0
    assert launch.rings_address < launch.shared_bytes <= launch.memory_bytes
    assert prepare_launch(model, options._replace(load="nvme")).command_line == ""
