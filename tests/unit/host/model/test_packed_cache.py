"""A packed model is found by the content of its GGUF file, without reading the file again."""

import hashlib
from pathlib import Path

from axiom.host.model.content_key import content_id
from axiom.host.model.packed_cache import FORMAT_VERSION, digests_dir, packed_path, remembered_path


def test_a_file_that_was_read_is_known_by_its_content(tmp_path: Path) -> None:
    source, folder = tmp_path / "model.gguf", tmp_path / "models"
    source.write_bytes(b"weights")
    assert remembered_path(source, folder) is None
    digest = content_id(source, digests_dir(folder), None)
    expected = folder / f"{hashlib.sha256(b'weights').hexdigest()}-{FORMAT_VERSION}.axm"
    assert packed_path(folder, digest) == expected
    assert remembered_path(source, folder) == expected


def test_a_changed_file_has_to_be_read_again(tmp_path: Path) -> None:
    source, folder = tmp_path / "model.gguf", tmp_path / "models"
    source.write_bytes(b"weights")
    content_id(source, digests_dir(folder), None)
    source.write_bytes(b"other weights")
    assert remembered_path(source, folder) is None


def test_equal_files_share_one_packed_model(tmp_path: Path) -> None:
    folder = tmp_path / "models"
    paths: list[Path | None] = []
    for name in ("one.gguf", "two.gguf"):
        (tmp_path / name).write_bytes(b"the same")
        content_id(tmp_path / name, digests_dir(folder), None)
        paths.append(remembered_path(tmp_path / name, folder))
    assert paths[0] is not None
    assert paths[0] == paths[1]
