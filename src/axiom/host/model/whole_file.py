"""Large files that appear under their name whole and on disk, or not at all.

A file is written under a temporary name beside its target and then renamed. Whoever writes one holds its
lock, so that what a killed process left behind is told from what is still being written, and removed.
"""

import errno
import fcntl
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from axiom.host.errors import UserError

SUFFIX = ".part"


def write_whole(target: Path, total_bytes: int, fill: Callable[[BinaryIO], None]) -> None:
    """Let `fill` write a file, and give it the name `target` when it is on disk.

    total_bytes: how large it will be. Raises UserError when it cannot be written, and whatever `fill`
    raises; nothing is left behind then.
    """
    part: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(target.parent)
        disk = os.statvfs(target.parent)
        # Some network file systems report no size at all.
        if disk.f_blocks and disk.f_bavail * disk.f_frsize < total_bytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        handle, part = _temporary(target)
        with os.fdopen(handle, "wb") as file:
            fill(file)
            file.flush()
            os.fsync(file.fileno())
            os.replace(part, target)
    except BaseException as error:
        if part is not None:
            part.unlink(missing_ok=True)
        if not isinstance(error, OSError):
            raise
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UserError(
                f"there is too little room in {target.parent}: {target.name} takes "
                f"{(total_bytes >> 20) + 1} MiB.",
                "free some space, or choose a folder on another disk",
            ) from None
        raise UserError(f"{target} cannot be written: {error.strerror}.") from None


def _temporary(target: Path) -> tuple[int, Path]:
    """Make a temporary file and lock it."""
    while True:
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=target.name + ".", suffix=SUFFIX)
        fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:
            return handle, Path(name)
        os.close(handle)  # somebody took it for abandoned before it was locked


def _remove_abandoned(folder: Path) -> None:
    for path in folder.glob("*" + SUFFIX):
        try:
            with path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink(missing_ok=True)
        except OSError:
            continue  # somebody is writing it, or it is not ours to remove
