"""Where packed models are kept, by the content of the GGUF file. Light to import: every start does."""

import os
from pathlib import Path

from axiom.host.model.content_key import remembered_content_id

FORMAT_VERSION = 5  # of what is packed; a new one leaves older cached files unused


def default_cache_dir() -> Path:
    """Return where packed models are kept: $XDG_CACHE_HOME/axiom/models, or the same under ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    # The specification of XDG_CACHE_HOME has relative paths ignored.
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "axiom" / "models"


def digests_dir(folder: Path) -> Path:
    """Return where the digests of GGUF files are remembered."""
    return folder / "contents"


def packed_path(folder: Path, content_id: bytes) -> Path:
    """Return where the packed form of a content is kept."""
    return folder / f"{content_id.hex()}-{FORMAT_VERSION}.axm"


def remembered_path(gguf_path: Path, folder: Path) -> Path | None:
    """Return where the packed form of a file is kept, if the file was read before and has not changed."""
    key = remembered_content_id(gguf_path, digests_dir(folder))
    return None if key is None else packed_path(folder, key)
