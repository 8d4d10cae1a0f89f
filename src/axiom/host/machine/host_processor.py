"""What this computer's processor can do, and the target of hosted code. Light to import."""

from pathlib import Path

from axiom.host.errors import MachineError
from axiom.host.machine.tile_permission import ask_for_tiles
from axiom.lang.targets import X86_64_V3, X86_64_V4_AMX, X86_64_V4_VNNI, Target

WIDE_FLAGS = {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl", "avx512_vnni"}
TILE_FLAGS = {"amx_tile", "amx_int8"}
NEEDED_FLAGS = {"avx2", "bmi2", "f16c", "fma"}


def processor_flags() -> set[str]:
    """Return the feature names that Linux gives for this processor."""
    with Path("/proc/cpuinfo").open() as lines:
        for line in lines:
            if line.startswith("flags"):
                return set(line.split(":", 1)[1].split())
    return set()


def hosted_target() -> Target:
    """Return the best target that this processor runs. Raises MachineError when it runs none."""
    flags = processor_flags()
    missing = NEEDED_FLAGS - flags
    if missing:
        raise MachineError(f"this processor lacks {', '.join(sorted(missing))}; x86-64-v3 is needed.")
    if not flags >= WIDE_FLAGS:
        return X86_64_V3
    return X86_64_V4_AMX if flags >= TILE_FLAGS and ask_for_tiles() else X86_64_V4_VNNI
