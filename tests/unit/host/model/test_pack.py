"""Packing keeps every weight; what was packed once is found again; what fails leaves nothing behind."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from gguf import GGUFReader
from gguf.constants import GGMLQuantizationType
from gguf.quants import dequantize

from axiom.host.errors import UserError
from axiom.host.model.layout import LAYOUTS, unpack_matrix
from axiom.host.model.pack import default_cache_dir, packed_model
from axiom.host.model.packed_cache import FORMAT_VERSION
from axiom.host.model.packed_file import PackedModel, read_packed
from tests.unit.host.model.gguf_builder import TOKENS, gguf_bytes, llama_entries, llama_values, write

SHARED = Path(__file__).resolve().parents[5] / "shared"
STORIES = ["f32", "f32-untied", "f16", "q8_0", "q4_0"]
VALUES = llama_values()


def small_gguf(folder: Path, kind: GGMLQuantizationType = GGMLQuantizationType.Q8_0) -> Path:
    """Write the very small Llama."""
    return write(folder, gguf_bytes(VALUES, llama_entries(kind)))


def assert_same_weights(packed: PackedModel, source: Path) -> None:
    """Compare every tensor with what the `gguf` package reads from the source."""
    data = np.fromfile(packed.path, np.uint8)[packed.weights_offset :]
    tensors = {tensor.name.removesuffix(".weight"): tensor for tensor in GGUFReader(source).tensors}
    assert {spec.name for spec in packed.tensors} - {"rope_frequencies"} == set(tensors) - {"rope_freqs"}
    for spec in packed.tensors[1:]:
        raw = data[spec.offset : spec.offset + spec.bytes]
        tensor = tensors[spec.name]
        expected = dequantize(np.asarray(tensor.data), tensor.tensor_type)
        if spec.kind == "f32_vector":
            assert np.array_equal(raw.view("<f4"), expected)
        else:
            assert spec.layout == LAYOUTS[tensor.tensor_type]
            assert np.array_equal(unpack_matrix(spec.layout, raw, spec.rows, spec.columns), expected)


# The very small Llama has no 256 columns for super-blocks.
@pytest.mark.parametrize(
    "kind", [k for k in LAYOUTS if not k.name.endswith("_K")], ids=lambda kind: kind.name
)
def test_every_weight_is_kept(kind: GGMLQuantizationType, tmp_path: Path) -> None:
    source = small_gguf(tmp_path, kind)
    packed = packed_model(source, tmp_path / "cache")
    assert_same_weights(packed, source)
    rope = np.fromfile(packed.path, "<f8", 4, offset=packed.weights_offset)
    assert np.allclose(rope, [1, 0.1, 0.01, 0.001], rtol=1e-15)


@pytest.mark.parametrize("name", STORIES)
def test_the_trained_small_models_are_kept(name: str, tmp_path: Path) -> None:
    source = SHARED / "models" / f"stories260K-{name}.gguf"
    if not source.exists():
        pytest.skip(f"the test data are absent: {source}")
    packed = packed_model(source, tmp_path)
    assert_same_weights(packed, source)
    assert packed.shape.tied is (name != "f32-untied")
    assert packed.tokenizer.decode(packed.tokenizer.encode("Once upon a time")) == "Once upon a time"


@pytest.mark.parametrize("kind", ["Q8_0", "Q4_0", "F16"])
def test_a_synthetic_model_is_kept(kind: str, tmp_path: Path) -> None:
    maker = SHARED / "tools" / "mkmodel.py"
    if not maker.exists():
        pytest.skip(f"the maker of synthetic models is absent: {maker}")
    source = tmp_path / "tiny.gguf"
    command = [
        sys.executable,
        str(maker),
        "--preset",
        "tiny",
        "--type",
        kind,
        "--pure",
        "--out",
        str(source),
    ]
    subprocess.run([*command, "--set", "rope_factor=8"], check=True, capture_output=True)
    packed = packed_model(source, tmp_path / "cache")
    assert_same_weights(packed, source)
    assert packed.shape.n_layers == 4
    assert (packed.shape.d_ffn, packed.shape.n_vocab) == (688, 2048)


def test_facts_come_along(tmp_path: Path) -> None:
    packed = packed_model(small_gguf(tmp_path), tmp_path / "cache")
    assert packed.name == "very small"
    assert packed.source_name == "model.gguf"
    assert packed.quantisation == {"Q8_0": 15}
    assert packed.chat_template == "{{ messages }}"
    assert packed.tokenizer.decode(packed.tokenizer.encode("abc ab")) == "abc ab"
    assert packed.tokenizer.n_tokens == packed.shape.n_vocab == len(TOKENS)


def test_the_same_content_is_packed_once(tmp_path: Path) -> None:
    source, cache = small_gguf(tmp_path), tmp_path / "cache"
    first = packed_model(source, cache)
    written = first.path.stat().st_mtime_ns
    steps: list[str] = []
    again = packed_model(source, cache, lambda what, _done, _total: steps.append(what))
    assert (again.path, again.header, again.tensors) == (first.path, first.header, first.tensors)
    assert steps == []
    copy = shutil.copy(source, tmp_path / "copy.gguf")
    assert packed_model(Path(copy), cache).path == first.path
    assert first.path.stat().st_mtime_ns == written


def test_what_an_earlier_format_has_kept_is_removed(tmp_path: Path) -> None:
    source = write(tmp_path, gguf_bytes(llama_values(), llama_entries()))
    folder = tmp_path / "cache"
    kept = packed_model(source, folder).path
    older, other = (
        kept.with_name(kept.name.replace(f"-{FORMAT_VERSION}", "-4")),
        folder / f"{'0' * 64}-4.axm",
    )
    kept.rename(older)
    other.write_bytes(b"of another model")
    assert packed_model(source, folder).path == kept
    assert not older.exists()
    assert other.exists()


def test_other_content_is_packed_anew(tmp_path: Path) -> None:
    first = packed_model(small_gguf(tmp_path), tmp_path / "cache")
    other = packed_model(small_gguf(tmp_path, GGMLQuantizationType.Q4_0), tmp_path / "cache")
    assert other.path != first.path
    assert other.layout_id != first.layout_id


def test_progress_rises_to_the_whole(tmp_path: Path) -> None:
    steps: list[tuple[str, int, int]] = []
    packed = packed_model(
        small_gguf(tmp_path),
        tmp_path / "cache",
        lambda what, done, total: steps.append((what, done, total)),
    )
    packing = [(done, total) for what, done, total in steps if what == "packing model.gguf"]
    assert packing == sorted(packing)
    assert {total for _, total in packing} == {packed.weights_bytes}
    assert packed.weights_bytes - 4096 < packing[-1][0] <= packed.weights_bytes
    assert steps[0][0] == "reading model.gguf"


@pytest.mark.parametrize("damage", ["cut", "header", "metadata"])
def test_a_damaged_cached_file_is_packed_again(damage: str, tmp_path: Path) -> None:
    source, cache = small_gguf(tmp_path), tmp_path / "cache"
    packed = packed_model(source, cache)
    whole = packed.path.read_bytes()
    at = 20 if damage == "header" else packed.header.metadata_offset + 50
    broken = whole[:-5000] if damage == "cut" else whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]
    packed.path.write_bytes(broken)
    assert read_packed(packed.path) is None
    assert packed_model(source, cache).path.read_bytes() == whole
    assert packed.path.read_bytes() == whole


def test_a_vocabulary_of_another_size_is_refused(tmp_path: Path) -> None:
    keys = ("tokens", "scores", "token_type")
    values = {**VALUES}
    for key in keys:
        whole = values[f"tokenizer.ggml.{key}"]
        assert not isinstance(whole, bool | int | float)
        values[f"tokenizer.ggml.{key}"] = whole[:-1]
    source = write(tmp_path, gguf_bytes(values, llama_entries()))
    with pytest.raises(UserError, match=r"266 tokens, and the tensor token_embd\.weight has 267 rows"):
        packed_model(source, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_a_source_that_changes_meanwhile_is_refused(tmp_path: Path) -> None:
    source, cache = small_gguf(tmp_path), tmp_path / "cache"

    def grow(what: str, _done: int, _total: int) -> None:
        if what.startswith("packing"):
            with source.open("ab") as file:
                file.write(b"x")

    with pytest.raises(UserError, match="changed while it was packed"):
        packed_model(source, cache, grow)
    assert not list(cache.glob("*.axm"))


def test_a_source_that_shrinks_meanwhile_is_refused(tmp_path: Path) -> None:
    source, cache = small_gguf(tmp_path), tmp_path / "cache"

    def shrink(what: str, _done: int, _total: int) -> None:
        if what.startswith("packing"):
            os.truncate(source, 10_000)

    with pytest.raises(UserError, match="changed while it was read, in the tensor"):
        packed_model(source, cache, shrink)
    assert not [path for path in cache.iterdir() if path.is_file()]


def test_an_interrupt_leaves_nothing_behind(tmp_path: Path) -> None:
    source, cache = small_gguf(tmp_path), tmp_path / "cache"

    def interrupt(what: str, _done: int, _total: int) -> None:
        if what.startswith("packing"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        packed_model(source, cache, interrupt)
    assert not [path for path in cache.iterdir() if path.is_file()]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="Not a directory"):
        packed_model(small_gguf(tmp_path), tmp_path / "file" / "cache")


CONSTRAINED = """
import sys
from pathlib import Path
from axiom.host.errors import UserError
from axiom.host.model.pack import packed_model
import resource
limit = int(sys.argv[3])
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
cache = Path(sys.argv[2])
try:
    packed_model(Path(sys.argv[1]), cache)
except UserError as error:
    print(error.message)
print("left:", [path.name for path in cache.iterdir() if path.is_file()])
"""


def test_a_write_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    source, cache = small_gguf(tmp_path), tmp_path / "cache"
    command = [sys.executable, "-c", CONSTRAINED, str(source), str(cache), str((2 << 20) + 8192)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    sentence, left = done.stdout.splitlines()
    assert re.fullmatch(r".*\.axm cannot be written: File too large\.", sentence)
    assert left == "left: []"


def test_a_full_disk_is_named_and_nothing_is_left_behind(tmp_path: Path) -> None:
    source, cache = small_gguf(tmp_path), tmp_path / "disk"
    cache.mkdir()
    private = ["unshare", "--map-root-user", "--mount"] if os.geteuid() else ["unshare", "--mount"]
    mount = f"mount -t tmpfs -o size=1m none '{cache}'"
    if (
        shutil.which("unshare") is None
        or subprocess.run([*private, "sh", "-c", mount], check=False).returncode
    ):
        pytest.skip("a small disk cannot be mounted here: no permission for unshare and mount")
    python = 'exec "$@"'
    command = [*private, "sh", "-c", f"{mount} && {python}", "sh", sys.executable, "-c", CONSTRAINED]
    done = subprocess.run(
        [*command, str(source), str(cache), "0"], check=True, capture_output=True, text=True
    )
    sentence, left = done.stdout.splitlines()
    expected = rf"there is too little room in {cache}: [0-9a-f]{{64}}-\d+\.axm takes 5 MiB\."
    assert re.fullmatch(expected, sentence)
    assert left == "left: []"


def test_the_cache_is_where_the_user_wants_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache_dir() == tmp_path / "axiom" / "models"
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for useless in ("", "relative/path"):
        monkeypatch.setenv("XDG_CACHE_HOME", useless)
        assert default_cache_dir() == tmp_path / "home" / ".cache" / "axiom" / "models"
