"""What backs a machine's memory on this computer, as Linux tells of the process that is the machine."""

from pathlib import Path

_FIELDS = {
    "Rss": "resident_bytes",
    "AnonHugePages": "huge_anonymous_bytes",
    "ShmemPmdMapped": "huge_shared_bytes",
    "FilePmdMapped": "huge_file_bytes",
}


def memory_backing(process_id: int | None) -> dict[str, int]:
    """Return how much memory the machine's process holds now, and how much of it in pages of 2 MiB.

    Anonymous memory is the machine's own, shared memory its rings, file memory the mapped model.
    Empty when there is no such process or Linux does not tell.
    """
    if process_id is None:
        return {}
    try:
        text = Path(f"/proc/{process_id}/smaps_rollup").read_text()
    except OSError:
        return {}
    found: dict[str, int] = {}
    for line in text.splitlines()[1:]:
        name, _, rest = line.partition(":")
        if name in _FIELDS:
            found[_FIELDS[name]] = int(rest.split()[0]) << 10
    return found
