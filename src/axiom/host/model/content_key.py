"""The SHA-256 of a file, remembered so that a large file is read once and not at every start.

A file counts as unchanged while its path, size, modification time and inode are the same.
"""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

READ_BYTES = 8 << 20
Progress = Callable[[str, int, int], None]


def remembered_content_id(path: Path, memory: Path) -> bytes | None:
    """Return the digest of a file that was read before; None when it must be read."""
    try:
        known = bytes.fromhex(_entry(path, memory).read_text())
    except (OSError, ValueError):
        return None
    return known if len(known) == hashlib.sha256().digest_size else None


def content_id(path: Path, memory: Path, progress: Progress | None) -> bytes:
    """Read a file, remember its digest in the folder `memory` and return it. Raises OSError."""
    digest, done = hashlib.sha256(), 0
    # Named before reading, so that a file that changes meanwhile is remembered as what it was.
    entry, size = _entry(path, memory), path.stat().st_size
    buffer = memoryview(bytearray(READ_BYTES))
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            digest.update(buffer[:count])
            done += count
            if progress is not None:
                progress(f"reading {path.name}", done, size)
    memory.mkdir(parents=True, exist_ok=True)
    part = entry.with_suffix(f".{os.getpid()}.part")
    part.write_text(digest.hexdigest())
    os.replace(part, entry)
    return digest.digest()


def _entry(path: Path, memory: Path) -> Path:
    facts = path.stat()
    key = f"{path.resolve()}|{facts.st_size}|{facts.st_mtime_ns}|{facts.st_ino}"
    return memory / hashlib.sha256(key.encode(errors="surrogateescape")).hexdigest()
