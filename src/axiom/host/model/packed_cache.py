"""Where packed models are kept, by the content of the GGUF file. Light to import: every start does."""

from pathlib import Path

from axiom.host.cache import cache_dir
from axiom.host.model.content_key import remembered_content_id

FORMAT_VERSION = 5  # of what is packed


def default_cache_dir() -> Path:
    """Return where packed models are kept: `models` in the program's cache."""
    return cache_dir() / "models"


def digests_dir(folder: Path) -> Path:
    """Return where the digests of GGUF files are remembered."""
    return folder / "contents"


def packed_path(folder: Path, content_id: bytes) -> Path:
    """Return where the packed form of a content is kept."""
    return folder / f"{content_id.hex()}-{FORMAT_VERSION}.axm"


def older_paths(folder: Path, content_id: bytes) -> list[Path]:
    """Return the packed forms of a content that were made in earlier formats."""
    return [
        path for n in range(FORMAT_VERSION) if (path := folder / f"{content_id.hex()}-{n}.axm").exists()
    ]


def remembered_content(gguf_path: Path, folder: Path) -> bytes | None:
    """Return the digest of a file that was read before and has not changed."""
    return remembered_content_id(gguf_path, digests_dir(folder))


def remembered_path(gguf_path: Path, folder: Path) -> Path | None:
    """Return where the packed form of a file is kept, if the file was read before and has not changed."""
    key = remembered_content(gguf_path, folder)
    return None if key is None else packed_path(folder, key)
