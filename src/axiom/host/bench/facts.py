"""What must stand beside a measurement: the machine, its load, and what backs its memory."""

import os
import platform
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


def energy_counters() -> list[Path]:
    """Return the counters of whole processor packages, in microjoules; none where there are none."""
    return [p / "energy_uj" for p in POWERCAP.glob("intel-rapl:?") if os.access(p / "energy_uj", os.R_OK)]


def energy_joules() -> float | None:
    """Return the energy used since some time ago; None where the machine counts none."""
    counters = energy_counters()
    return sum(int(path.read_text()) for path in counters) / 1e6 if counters else None


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
