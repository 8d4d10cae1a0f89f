"""How a model is to be served. Light to import: every start goes through here."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from axiom.host.cache import cache_dir

MachineName = Literal["auto", "kvm", "tcg", "hosted"]
LoadName = Literal["auto", "map", "nvme"]
LinkName = Literal["auto", "ring", "uart"]
KvName = Literal["f16", "q8_0"]


@dataclass(frozen=True)
class SessionOptions:
    """What was asked for; None means "as the plan says".

    load: "map" puts the packed file's pages into the machine's memory, "nvme" has the kernel read it from a
    drive; "auto" maps. link: "ring" is in shared memory, "uart" a serial port; "auto" is the ring.
    cache: where images and launches are kept.
    kv_type: what the KV cache is in; None is f16, or f32 for a model of f32 weights.
    gdb_port: the machine waits there for a debugger; its image is made for one, and nothing has a deadline.
    """

    machine: MachineName = "auto"
    cpus: int = 1
    memory_bytes: int | None = None
    n_context: int | None = None
    cache: Path = field(default_factory=cache_dir)
    load: LoadName = "auto"
    link: LinkName = "auto"
    gdb_port: int | None = None
    kv_type: KvName | None = None
