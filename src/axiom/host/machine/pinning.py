"""Each processor of a machine on one of this computer's own, where it has as many.

Processors of a machine wait for each other many hundred times a token. When Linux puts two of them on one
processor, because something else runs on another one, each of these waits takes a scheduler's time slice:
a token then takes a second. Pinned, the machine is never slower than the share of time that it gets.
Source of the threads' names: QEMU 7.2, softmmu/cpus.c and accel/kvm/kvm-accel-ops.c (`CPU %d/KVM`).
"""

import os
import re
from pathlib import Path

_NAME = re.compile(r"CPU (\d+)/")


def pin_processors(process_id: int, count: int) -> None:
    """Pin a machine's processors when this computer has just as many; else leave them alone."""
    allowed = sorted(os.sched_getaffinity(0))
    if count < 2 or count != len(allowed):
        return
    for task in Path(f"/proc/{process_id}/task").glob("*"):
        try:
            found = _NAME.match((task / "comm").read_text())
            if found is not None and int(found[1]) < count:
                os.sched_setaffinity(int(task.name), {allowed[int(found[1])]})
        except OSError:
            continue  # the thread has ended
