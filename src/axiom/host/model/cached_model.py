"""A packed model that is in the cache already. Light to import, as `pack` is not: it reads GGUF files."""

from pathlib import Path

from axiom.host.model.packed_cache import packed_path, remembered_content
from axiom.host.model.packed_file import PackedModel, read_packed


def cached_model(gguf_path: Path, folder: Path) -> PackedModel | None:
    """Return the packed form of a file that was read before and has not changed, if it is whole."""
    key = remembered_content(gguf_path, folder)
    return None if key is None else model_of_content(key, folder)


def model_of_content(key: bytes, folder: Path) -> PackedModel | None:
    """Return the packed form of a content, if it is there and whole."""
    found = read_packed(packed_path(folder, key))
    return found if found is not None and found.content_id == key else None
