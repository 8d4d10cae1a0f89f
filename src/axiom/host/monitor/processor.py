"""A machine's processors: what they are, and the state in which the first one enters the image.

The entry's state is that of PVH: 32-bit protected mode, flat segments, no paging, EBX = the start
information. The others wait for INIT and a start-up interrupt, which Linux delivers itself. Sources: Xen,
docs/misc/pvh.pandoc; Intel SDM volume 2, CPUID, and volume 3, section 3.4.5 (types of segments); QEMU 7.2,
target/i386/kvm/kvm.c (CPUID leaf 0x40000010: kHz of the time-stamp counter and of the APIC's bus).
"""

import mmap
import struct
from collections.abc import Sequence
from fcntl import ioctl

from axiom.host.monitor.interface import (
    CONTROL_REGISTERS_AT,
    CPUID_ENTRY,
    CPUID_HEADER,
    CREATE_PROCESSOR,
    GET_RUN_BYTES,
    GET_SUPPORTED_CPUID,
    GET_SYSTEM_REGISTERS,
    GET_TSC_KHZ,
    REGISTERS,
    SEGMENT,
    SET_CPUID,
    SET_REGISTERS,
    SET_SYSTEM_REGISTERS,
    SYSTEM_REGISTERS_BYTES,
    TASK_SEGMENT_AT,
    CpuidEntry,
)

_MAX_CPUID_ENTRIES = 256
_APIC_BUS_KHZ = 1_000_000
_TIMING_LEAF = 0x4000_0010
_HYPERVISOR_LEAF = 0x4000_0000
_TOPOLOGY_LEAVES = (0x0B, 0x1F)
_INVARIANT_TSC = 1 << 8
_DEADLINE_TIMER = 1 << 24
_HYPERVISOR = 1 << 31
_ARCH_CAPABILITIES = 1 << 29
_PROTECTED_MODE = 0x11
_ALWAYS_SET_FLAG = 2
_CODE, _DATA, _TASK = 0x0B, 0x03, 0x0B
_TASK_BYTES = 0x67


class Processor:
    """One of a machine's processors; `file` runs it, `run` is what Linux then tells of it."""

    def __init__(self, kvm: int, machine: int, number: int) -> None:
        self.number = number
        self.file = ioctl(machine, CREATE_PROCESSOR, number)
        self.run = mmap.mmap(self.file, ioctl(kvm, GET_RUN_BYTES, 0))

    def identify(self, supported: Sequence[CpuidEntry], n_processors: int) -> None:
        """Set what the processor answers to CPUID."""
        khz = ioctl(self.file, GET_TSC_KHZ, 0)
        entries = identity(supported, self.number, n_processors, khz)
        packed = b"".join(CPUID_ENTRY.pack(*entry) for entry in entries)
        # A bytearray, because Python copies what is constant into a buffer of 1 KiB.
        ioctl(self.file, SET_CPUID, bytearray(CPUID_HEADER.pack(len(entries)) + packed))

    def enter_at(self, entry: int, start_info: int) -> None:
        """Set the state in which PVH enters an image."""
        state = bytearray(SYSTEM_REGISTERS_BYTES)
        ioctl(self.file, GET_SYSTEM_REGISTERS, state)
        state[:TASK_SEGMENT_AT] = _flat(0x08, _CODE) + 5 * _flat(0x10, _DATA)
        SEGMENT.pack_into(state, TASK_SEGMENT_AT, 0, _TASK_BYTES, 0x18, _TASK, 1, 0, 0, 0, 0, 0, 0, 0)
        struct.pack_into("<Q", state, CONTROL_REGISTERS_AT, _PROTECTED_MODE)
        ioctl(self.file, SET_SYSTEM_REGISTERS, bytes(state))
        general = [0] * 18
        general[1], general[16], general[17] = start_info, entry, _ALWAYS_SET_FLAG
        ioctl(self.file, SET_REGISTERS, REGISTERS.pack(*general))


def make_processors(kvm: int, machine: int, count: int) -> list[Processor]:
    """Return a machine's processors, at least one. Raises OSError."""
    processors = [Processor(kvm, machine, number) for number in range(count)]
    supported = supported_identity(kvm)
    for processor in processors:
        processor.identify(supported, count)
    return processors


def _flat(selector: int, kind: int) -> bytes:
    """Return a 32-bit segment that is all of the first 4 GiB."""
    return SEGMENT.pack(0, 0xFFFF_FFFF, selector, kind, 1, 0, 1, 1, 0, 1, 0, 0)


def supported_identity(kvm: int) -> list[CpuidEntry]:
    """Return what processors of machines on this computer can be."""
    found = bytearray(CPUID_HEADER.pack(_MAX_CPUID_ENTRIES) + bytes(_MAX_CPUID_ENTRIES * CPUID_ENTRY.size))
    ioctl(kvm, GET_SUPPORTED_CPUID, found)
    (count,) = CPUID_HEADER.unpack_from(found)
    place = CPUID_HEADER.size
    return [CpuidEntry(*CPUID_ENTRY.unpack_from(found, place + n * CPUID_ENTRY.size)) for n in range(count)]


def identity(
    supported: Sequence[CpuidEntry], number: int, n_processors: int, tsc_khz: int
) -> list[CpuidEntry]:
    """Return the answers of processor `number`: all that is supported, its id, and how fast its clock is.

    The time-stamp counter is told to be invariant, as the kernel counts on it. IA32_ARCH_CAPABILITIES
    is left out: a nested KVM does not give it to its machines.
    """
    entries: list[CpuidEntry] = []
    for entry in supported:
        if entry.leaf == _TIMING_LEAF:
            continue
        if entry.leaf == 1:
            ids = entry.ebx & 0xFFFF | n_processors << 16 | number << 24
            entry = entry._replace(ebx=ids, ecx=entry.ecx | _DEADLINE_TIMER | _HYPERVISOR)
        elif entry.leaf == 7 and entry.subleaf == 0:
            entry = entry._replace(edx=entry.edx & ~_ARCH_CAPABILITIES)
        elif entry.leaf in _TOPOLOGY_LEAVES:
            entry = entry._replace(edx=number)
        elif entry.leaf == 0x8000_0007:
            entry = entry._replace(edx=entry.edx | _INVARIANT_TSC)
        elif entry.leaf == _HYPERVISOR_LEAF:
            entry = entry._replace(eax=_TIMING_LEAF)
        entries.append(entry)
    entries.append(CpuidEntry(_TIMING_LEAF, 0, 0, tsc_khz, _APIC_BUS_KHZ, 0, 0))
    return entries
