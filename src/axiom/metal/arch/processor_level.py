"""Which of the processors that code is compiled for this one is.

The levels are those of the x86-64 psABI, section 3.1.1 ("micro-architecture levels"); the bits are in Intel
SDM volume 2, CPUID leaves 1 and 7. The vector state must also be on in XCR0 (volume 1, section 13.3).
LZCNT is tried out instead: a monitor that nests virtual machines in software hides its bit although it
works.
"""

from enum import IntEnum

from axiom.lang import fn, u32, u64
from axiom.metal.arch.gates import processor_leaf
from axiom.metal.arch.processor import extended_control, has_lzcnt

# FMA, SSE3, CX16, SSE4.1, SSE4.2, MOVBE, POPCNT, OSXSAVE, AVX, F16C
_LEAF1_ECX = (
    1 << 12 | 1 << 0 | 1 << 13 | 1 << 19 | 1 << 20 | 1 << 22 | 1 << 23 | 1 << 27 | 1 << 28 | 1 << 29
)
# BMI1, AVX2, BMI2
_LEAF7_EBX_V3 = 1 << 3 | 1 << 5 | 1 << 8
# AVX512 F, DQ, CD, BW, VL
_LEAF7_EBX_V4 = 1 << 16 | 1 << 17 | 1 << 28 | 1 << 30 | 1 << 31
_LEAF7_ECX_VNNI = 1 << 11
_STATE_AVX = 0x06
_STATE_AVX512 = 0xE6


class ProcessorLevel(IntEnum):
    """What the processor can run."""

    TOO_OLD = 0
    V3 = 1
    V4_VNNI = 2


@fn
def level_of(leaf1_ecx: u32, leaf7_ebx: u32, leaf7_ecx: u32, lzcnt: bool, state: u64) -> ProcessorLevel:
    """Return the level for these CPUID words and XCR0."""
    old = leaf1_ecx & _LEAF1_ECX != _LEAF1_ECX or leaf7_ebx & _LEAF7_EBX_V3 != _LEAF7_EBX_V3
    if old or not lzcnt or state & _STATE_AVX != _STATE_AVX:
        return ProcessorLevel.TOO_OLD
    wide = leaf7_ebx & _LEAF7_EBX_V4 == _LEAF7_EBX_V4 and leaf7_ecx & _LEAF7_ECX_VNNI != 0
    if wide and state & _STATE_AVX512 == _STATE_AVX512:
        return ProcessorLevel.V4_VNNI
    return ProcessorLevel.V3


@fn(phase="init")
def processor_level() -> ProcessorLevel:
    """Ask the processor. Six gates: start-up only."""
    highest = processor_leaf(u32(0), u32(0)).eax
    features = processor_leaf(u32(1), u32(0)).ecx
    if highest < 7 or features >> 27 & 1 == 0:
        return ProcessorLevel.TOO_OLD
    seven = processor_leaf(u32(7), u32(0))
    return level_of(features, seven.ebx, seven.ecx, has_lzcnt(), extended_control())
