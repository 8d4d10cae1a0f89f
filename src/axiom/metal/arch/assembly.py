"""All assembly of the kernel, in the order in which it goes into the image."""

from axiom.metal.arch.cores import CORES
from axiom.metal.arch.entry import ENTRY, PVH_NOTE
from axiom.metal.arch.fault_probe import PROBE
from axiom.metal.arch.gate_stubs import GATES
from axiom.metal.arch.memory_routines import MEMORY_ROUTINES
from axiom.metal.arch.vectors import STUBS

ASSEMBLY: tuple[str, ...] = (PVH_NOTE, ENTRY, CORES, STUBS, GATES, PROBE, MEMORY_ROUTINES)
