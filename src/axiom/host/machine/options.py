"""How a model is to be served.

Light to import, as all that a start imports before its machine is started: named tuples, not data classes,
whose module takes longer to import than the rest of the standard library that is needed.
"""

from pathlib import Path
from typing import Literal, NamedTuple

from axiom.host.cache import cache_dir

MachineName = Literal["auto", "kvm", "tcg", "hosted"]
LoadName = Literal["auto", "map", "nvme"]
LinkName = Literal["auto", "ring", "uart"]
KvName = Literal["f16", "q8_0"]


class SessionOptions(NamedTuple):
    """What was asked for; None means "as the plan says".

    load: "map" puts the packed file's pages into the machine's memory, "nvme" has the kernel read it from a
    drive; "auto" maps. link: "ring" is in shared memory, "uart" a serial port; "auto" is the ring.
    cache: where images and launches are kept, see `cache_folder`.
    kv_type: what the KV cache is in; None is f16, or f32 for a model of f32 weights.
    gdb_port: the machine waits there for a debugger; its image is made for one, and nothing has a deadline.
    """

    machine: MachineName = "auto"
    cpus: int = 1
    memory_bytes: int | None = None
    n_context: int | None = None
    cache: Path | None = None
    load: LoadName = "auto"
    link: LinkName = "auto"
    gdb_port: int | None = None
    kv_type: KvName | None = None

    @property
    def cache_folder(self) -> Path:
        """Where images and launches are kept: where all is, unless it was said."""
        return cache_dir() if self.cache is None else self.cache
