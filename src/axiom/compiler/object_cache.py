"""Objects of hosted programs, kept by everything that decides their bytes.

A file is an ELF object followed by a JSON record, the record's length, and a digest of it all, so that a
file that is cut off or damaged is compiled again. Files are written under a temporary name and renamed:
any number of processes may share the cache. The oldest are removed when there are too many.
"""

import contextlib
import hashlib
import json
import os
import threading
from pathlib import Path
from typing import Any, NamedTuple

MAX_FILES = 512
_DIGEST_BYTES = 32
_LENGTH_BYTES = 8


class StoredObject(NamedTuple):
    """An object, what its loader must know of each root, and the file that holds it, if any."""

    data: bytes
    roots: list[dict[str, Any]]
    path: Path | None = None


def cache_folder() -> Path:
    """Return where objects are kept: $XDG_CACHE_HOME/axiom/objects, or the same under ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "axiom" / "objects"


def read_object(key: str) -> StoredObject | None:
    """Return the object kept under a key, or None."""
    return read_stored(cache_folder() / f"{key}.o")


def read_stored(path: Path) -> StoredObject | None:
    """Return the object that a file of the cache holds, or None when it is not there or damaged."""
    try:
        content = path.read_bytes()
        os.utime(path)
    except OSError:
        return None
    body, digest = content[:-_DIGEST_BYTES], content[-_DIGEST_BYTES:]
    if hashlib.sha256(body).digest() != digest:
        return None
    length = int.from_bytes(body[-_LENGTH_BYTES:], "little")
    end = len(body) - _LENGTH_BYTES
    return StoredObject(body[: end - length], json.loads(body[end - length : end]), path)


def write_object(key: str, stored: StoredObject) -> StoredObject:
    """Keep an object; a cache that cannot be written is no error. Return it with its path."""
    path = cache_folder() / f"{key}.o"
    record = json.dumps(stored.roots).encode()
    body = stored.data + record + len(record).to_bytes(_LENGTH_BYTES, "little")
    made = path.with_suffix(f".{os.getpid()}-{threading.get_ident()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        made.write_bytes(body + hashlib.sha256(body).digest())
        os.replace(made, path)
        _remove_oldest(path.parent)
    except OSError:
        with contextlib.suppress(OSError):
            made.unlink(missing_ok=True)
        return stored
    return StoredObject(stored.data, stored.roots, path)


def _remove_oldest(folder: Path) -> None:
    files = list(folder.glob("*.o"))
    if len(files) <= MAX_FILES:
        return
    ages: list[tuple[float, Path]] = []
    for file in files:
        try:
            ages.append((file.stat().st_mtime, file))
        except FileNotFoundError:
            continue
    for _, file in sorted(ages)[: len(ages) - MAX_FILES * 3 // 4]:
        file.unlink(missing_ok=True)
