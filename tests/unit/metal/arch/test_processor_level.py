"""Telling from CPUID words what code a processor can run."""

import pytest

from axiom.lang import u32, u64
from axiom.metal.arch.processor_level import ProcessorLevel, level_of
from tests.support.targets import TARGETS, run

# An Intel Xeon of the Sapphire Rapids kind: leaf 1 ECX, leaf 7 EBX and ECX, XCR0.
WORDS = (0xFFF83203, 0xF1BF2BFB, 0x1A005F46)
EVERY_STATE = 0x600E7
FMA, POPCNT, OSXSAVE = 1 << 12, 1 << 23, 1 << 27
AVX2, AVX512BW, VNNI = 1 << 5, 1 << 30, 1 << 11


def level(target: str, leaf1: int, ebx: int, ecx: int, lzcnt: bool, state: int) -> ProcessorLevel:
    return run(target, level_of, u32(leaf1), u32(ebx), u32(ecx), lzcnt, u64(state))


@pytest.mark.parametrize("target", TARGETS)
def test_a_recent_server_processor_has_the_highest_level(target: str) -> None:
    assert level(target, *WORDS, True, EVERY_STATE) == ProcessorLevel.V4_VNNI


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("state", [0x7, 0x27, 0x67])
def test_wide_vectors_need_their_whole_state_turned_on(target: str, state: int) -> None:
    assert level(target, *WORDS, True, state) == ProcessorLevel.V3


@pytest.mark.parametrize(("ebx", "ecx"), [(AVX512BW, 0), (0, VNNI)])
def test_without_vnni_or_byte_operations_it_is_the_middle_level(ebx: int, ecx: int) -> None:
    leaf1, ebx7, ecx7 = WORDS
    assert level("python", leaf1, ebx7 & ~ebx, ecx7 & ~ecx, True, EVERY_STATE) == ProcessorLevel.V3


@pytest.mark.parametrize("missing", [FMA, POPCNT, OSXSAVE])
def test_a_missing_feature_of_leaf_1_makes_it_too_old(missing: int) -> None:
    leaf1, ebx, ecx = WORDS
    assert level("python", leaf1 & ~missing, ebx, ecx, True, EVERY_STATE) == ProcessorLevel.TOO_OLD


def test_missing_avx2_or_lzcnt_or_vector_state_makes_it_too_old() -> None:
    leaf1, ebx, ecx = WORDS
    assert level("python", leaf1, ebx & ~AVX2, ecx, True, EVERY_STATE) == ProcessorLevel.TOO_OLD
    assert level("python", leaf1, ebx, ecx, False, EVERY_STATE) == ProcessorLevel.TOO_OLD
    assert level("python", leaf1, ebx, ecx, True, 3) == ProcessorLevel.TOO_OLD
