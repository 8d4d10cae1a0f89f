"""What must stand beside a measurement: the machine, its load, and what backs its memory."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage")
POWERCAP = Path("/sys/class/powercap")


def processor_name() -> str:
    """Return the processor's name as Linux gives it."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


@dataclass(frozen=True)
class EnergyCounter:
    """A counter of a whole processor package, in microjoules, which begins again behind `largest`."""

    path: Path
    largest: int

    def read(self) -> int:
        """Return what it shows."""
        return int(self.path.read_text())


def energy_counters(folder: Path = POWERCAP) -> list[EnergyCounter]:
    """Return the counters of packages; none where there are none or they may not be read.

    folder: as Linux's powercap framework lays it out. Parts of a package and the whole platform ("psys"),
    which contains the packages, are left out.
    """
    zones = [
        zone
        for zone in sorted(folder.glob("intel-rapl:*"))
        if _first_line(zone / "name").startswith("package")
    ]
    sizes = [(zone / "energy_uj", _first_line(zone / "max_energy_range_uj")) for zone in zones]
    return [EnergyCounter(path, int(size)) for path, size in sizes if size and _first_line(path)]


def _first_line(path: Path) -> str:
    """Return it, nothing when the file cannot be read: counting may be for the administrator alone."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""


class EnergyMeter:
    """The energy used since it was made, in joules; None where the machine counts none."""

    def __init__(self, folder: Path = POWERCAP) -> None:
        self._before = [(counter, counter.read()) for counter in energy_counters(folder)]

    def joules(self) -> float | None:
        """Return it. At most one round of the counters lies between."""
        if not self._before:
            return None
        used = [(counter.read() - before) % (counter.largest + 1) for counter, before in self._before]
        return sum(used) / 1e6


def machine_facts() -> dict[str, Any]:
    """Return what is true of this computer now."""
    chosen = (HUGE_PAGES / "enabled").read_text() if HUGE_PAGES.is_dir() else ""
    return {
        "processor": processor_name(),
        "cpus": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "load": os.getloadavg()[0],
        "transparent_huge_pages": chosen.partition("[")[2].partition("]")[0],
        "energy_counted": bool(energy_counters()),
    }
