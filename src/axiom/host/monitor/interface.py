"""The calls and structures of Linux's KVM.

Source: Linux 6.18, Documentation/virt/kvm/api.rst, include/uapi/linux/kvm.h and
arch/x86/include/uapi/asm/kvm.h.
Structures are packed bytes; a call that fills one in gets a `bytearray`. Every call raises OSError.
"""

import struct
from enum import IntEnum
from typing import NamedTuple

DEVICE = "/dev/kvm"

CREATE_MACHINE = 0xAE01
GET_RUN_BYTES = 0xAE04
GET_SUPPORTED_CPUID = 0xC008AE05
CREATE_PROCESSOR = 0xAE41
SET_MEMORY = 0x4020AE46
SET_TSS_ADDRESS = 0xAE47
SET_IDENTITY_MAP_ADDRESS = 0x4008AE48
RUN = 0xAE80
SET_REGISTERS = 0x4090AE82
GET_SYSTEM_REGISTERS = 0x8138AE83
SET_SYSTEM_REGISTERS = 0x4138AE84
SET_CPUID = 0x4008AE90
ENABLE_CAPABILITY = 0x4068AEA3
GET_TSC_KHZ = 0xAEA3

CAPABILITY_SPLIT_IRQCHIP = 121
MEMORY_READ_ONLY = 2

# kvm_enable_cap: cap, flags, args[4], pad[64].
CAPABILITY = struct.Struct("<II4Q64x")
# kvm_userspace_memory_region: slot, flags, guest_phys_addr, memory_size, userspace_addr.
MEMORY = struct.Struct("<IIQQQ")
# kvm_cpuid2: nent, padding; then entries: function, index, flags, eax, ebx, ecx, edx, padding[3].
CPUID_HEADER = struct.Struct("<I4x")
CPUID_ENTRY = struct.Struct("<7I12x")
# kvm_regs: rax rbx rcx rdx rsi rdi rsp rbp r8..r15 rip rflags.
REGISTERS = struct.Struct("<18Q")
# kvm_segment: base, limit, selector, type, present, dpl, db, s, l, g, avl, unusable, padding.
SEGMENT = struct.Struct("<QIH8BBx")
# kvm_sregs: cs ds es fs gs ss tr ldt, gdt idt, cr0 cr2 cr3 cr4 cr8 efer apic_base, interrupt_bitmap[4].
SYSTEM_REGISTERS_BYTES = 312
TASK_SEGMENT_AT = 6 * SEGMENT.size
CONTROL_REGISTERS_AT = 224
# kvm_run: where the reason lies, and what it says of a port, of an address, and of an error inside.
EXIT_REASON_AT = 8
EXIT_AT = 32
PORT_EXIT = struct.Struct("<BBHIQ")
ADDRESS_EXIT = struct.Struct("<Q8sIB")
ERROR_EXIT = struct.Struct("<I")
PORT_OUT = 1


class Exit(IntEnum):
    """Why a processor has stopped to run."""

    PORT = 2
    ADDRESS = 6
    SHUTDOWN = 8
    FAIL_ENTRY = 9
    INTERRUPTED = 10
    INTERNAL_ERROR = 17
    END_OF_INTERRUPT = 26


class CpuidEntry(NamedTuple):
    """What a processor answers to one leaf and subleaf."""

    leaf: int
    subleaf: int
    flags: int
    eax: int
    ebx: int
    ecx: int
    edx: int
