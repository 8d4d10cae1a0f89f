"""Where this program keeps what it has made once: packed models, images, launches. Light to import."""

import os
from pathlib import Path


def cache_dir() -> Path:
    """Return $XDG_CACHE_HOME/axiom, or the same under ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    # The specification of XDG_CACHE_HOME has relative paths ignored.
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "axiom"
