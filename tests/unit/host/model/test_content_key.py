"""A file's digest is remembered while the file stays the same, and only then."""

import hashlib
import os
from pathlib import Path

from axiom.host.model.content_key import content_id, remembered_content_id


def test_the_digest_is_sha_256_and_is_remembered(tmp_path: Path) -> None:
    path, memory = tmp_path / "file", tmp_path / "memory"
    path.write_bytes(b"content" * 1000)
    assert remembered_content_id(path, memory) is None
    steps: list[tuple[str, int, int]] = []
    digest = content_id(path, memory, lambda what, done, total: steps.append((what, done, total)))
    assert digest == hashlib.sha256(b"content" * 1000).digest()
    assert steps == [("reading file", 7000, 7000)]
    assert remembered_content_id(path, memory) == digest
    assert not list(memory.glob("*.part"))


def test_a_changed_file_is_not_remembered(tmp_path: Path) -> None:
    path, memory = tmp_path / "file", tmp_path / "memory"
    path.write_bytes(b"one")
    content_id(path, memory, None)
    facts = path.stat()
    path.write_bytes(b"two")
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns + 1))
    assert remembered_content_id(path, memory) is None
    path.write_bytes(b"three")
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert remembered_content_id(path, memory) is None


def test_a_replaced_file_is_not_remembered(tmp_path: Path) -> None:
    path, memory, other = tmp_path / "file", tmp_path / "memory", tmp_path / "other"
    path.write_bytes(b"one")
    content_id(path, memory, None)
    facts = path.stat()
    other.write_bytes(b"two")
    os.utime(other, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    os.replace(other, path)
    assert remembered_content_id(path, memory) is None


def test_damaged_memory_is_no_memory(tmp_path: Path) -> None:
    path, memory = tmp_path / "file", tmp_path / "memory"
    path.write_bytes(b"one")
    content_id(path, memory, None)
    (entry,) = memory.iterdir()
    for text in ("", "abc", "zz" * 32, "ab" * 31):
        entry.write_text(text)
        assert remembered_content_id(path, memory) is None


def test_a_missing_file_is_not_remembered(tmp_path: Path) -> None:
    assert remembered_content_id(tmp_path / "absent", tmp_path) is None
