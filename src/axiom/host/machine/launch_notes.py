"""Notes of how a model was started, found again while nothing that decides it has changed.

That is the packed model, the options and this program's own files. Light to import.
"""

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import axiom
from axiom.host.machine.options import SessionOptions

ROOMS = ("abi", "lang", "compiler", "metal", "host/image", "host/machine")


def write_note(model: str, options: SessionOptions, fields: dict[str, Any]) -> None:
    """Keep a note; where nothing can be written, nothing is kept."""
    path = _place(model, options)
    part = path.with_suffix(f".{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(fields))
        os.replace(part, path)
    except OSError:
        with suppress(OSError):
            part.unlink()


def read_note(model: str, options: SessionOptions) -> dict[str, Any]:
    """Return the note of a packed model and these options; empty when there is none that holds still."""
    try:
        fields = json.loads(_place(model, options).read_text())
    except (OSError, ValueError):
        return {}
    return cast("dict[str, Any]", fields) if isinstance(fields, dict) else {}


def _place(model: str, options: SessionOptions) -> Path:
    digest = hashlib.sha256(f"{model}|{options!r}|".encode(errors="surrogateescape"))
    root = os.path.dirname(axiom.__file__)
    for room in ROOMS:
        _add_files(digest, os.path.join(root, room))
    return options.cache_folder / "launches" / f"{digest.hexdigest()[:32]}.json"


def _add_files(digest: Any, folder: str) -> None:
    """Add the name, size and time of every source file; their contents would take longer to read."""
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda e: e.name):
            if entry.is_dir():
                _add_files(digest, entry.path)
            elif entry.name.endswith(".py"):
                facts = entry.stat()
                digest.update(f"{entry.path}|{facts.st_size}|{facts.st_mtime_ns}\n".encode())
