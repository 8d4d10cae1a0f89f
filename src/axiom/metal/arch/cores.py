"""Every processor's own tables, and how one that is woken reaches ring 3.

A processor has a number: 0 is the one that starts the machine, the others are given theirs by their local
APIC ids, in `axiom_core_of_apic`. Each has a task-state segment, which names its ring-0 stack, and a
descriptor for it. All share one I/O permission map, all zero, behind the last segment: each segment says
how far away the map is (Intel SDM volume 1, section 19.5.2).

A woken processor (volume 3, section 9.4.4) begins in real mode on a page below 1 MiB, where
`kernel.core_start` has put a copy of the trampoline; that only turns on protected mode and goes on here.
The rest is what entry did, with the final page tables: about 50 ring-0 instructions after it was woken, the
processor is in ring 3 on a stack of its own. Its ring-0 stack also tells who it is when it faults: see
`vectors`.
"""

from axiom.abi.boot import MAX_LANES
from axiom.lang import Slice, fn, slice_at, symbol_address, truncate, u8, u16, u64, unsafe, urange
from axiom.metal.arch.stacks import PAINT_32

N_CORES = MAX_LANES
RING0_STACK_BYTES = 1024
TSS_STRIDE = 128
IO_MAP_BYTES = 8192
FIRST_TSS_SELECTOR = 0x30
APIC_IDS = 256
_IO_MAP_OFFSET = N_CORES * TSS_STRIDE

# The last byte, all ones, ends the map as the processor wants it.
CORE_TABLES = f"""
.section .ring0.data, "aw", @progbits
.balign 16
.globl axiom_gdt
axiom_gdt:
  .quad 0
  .quad 0x00AF9A000000FFFF
  .quad 0x00CF92000000FFFF
  .quad 0x00CFF2000000FFFF
  .quad 0x00AFFA000000FFFF
  .quad 0x00CF9A000000FFFF
axiom_gdt_tss:
  .set offset, {_IO_MAP_OFFSET}
  .rept {N_CORES}
  .word offset + {IO_MAP_BYTES}, 0
  .byte 0, 0x89, 0, 0
  .quad 0
  .set offset, offset - {TSS_STRIDE}
  .endr
axiom_gdt_end:
.balign 128
.globl axiom_tss
axiom_tss:
  .set offset, {_IO_MAP_OFFSET}
  .set top, {RING0_STACK_BYTES}
  .rept {N_CORES}
  .long 0
  .quad axiom_ring0_stacks + top
  .fill 84, 1, 0
  .long 0
  .word 0, offset
  .fill {TSS_STRIDE - 104}, 1, 0
  .set offset, offset - {TSS_STRIDE}
  .set top, top + {RING0_STACK_BYTES}
  .endr
  .fill {IO_MAP_BYTES}, 1, 0
  .byte 0xff
.balign {RING0_STACK_BYTES}
axiom_ring0_stacks:
  .fill {N_CORES * RING0_STACK_BYTES // 4}, 4, {PAINT_32:#x}
"""


def paging_on(tables: str) -> str:
    """Return the 32-bit instructions from protected mode to long mode, with ECX of CPUID leaf 1 in ESI.

    tables: the operand that holds the address of the page tables. ESI is left zero without XSAVE.
    """
    return f"""
  movl %cr4, %eax
  orl $0x620, %eax
  andl $0x4000000, %esi
  jz 1f
  orl $0x40000, %eax
1:
  movl %eax, %cr4
  movl {tables}, %eax
  movl %eax, %cr3
  movl $0xC0000080, %ecx
  rdmsr
  orl $0x901, %eax
  wrmsr
  movl %cr0, %eax
  orl $0x80010003, %eax
  andl $0x9ffffff3, %eax
  movl %eax, %cr0
"""


VECTOR_STATE_ON = """
  testl %esi, %esi
  jz 4f
  movl $0xd, %eax
  xorl %ecx, %ecx
  cpuid
  andl $0xe7, %eax
  xorl %edx, %edx
  xorl %ecx, %ecx
  xsetbv
4:
"""

_TRAMPOLINE = """
.section .rodata
.globl axiom_core_trampoline, axiom_core_trampoline_end
axiom_core_trampoline:
.code16
  cli
  movw %cs, %ax
  movw %ax, %ds
  lgdtl axiom_core_gdt_pointer - axiom_core_trampoline
  movl %cr0, %eax
  orb $1, %al
  movl %eax, %cr0
  ljmpl $0x28, $axiom_core_start32
axiom_core_gdt_pointer:
  .word axiom_gdt_end - axiom_gdt - 1
  .long axiom_gdt
axiom_core_trampoline_end:
.code64
"""

_START = f"""
.section .ring0.text, "ax", @progbits
.code32
axiom_core_start32:
  movl $16, %eax
  movl %eax, %ds
  movl %eax, %es
  movl %eax, %ss
  movl $1, %eax
  cpuid
  movl %ecx, %esi
  shrl $24, %ebx
  movzbl axiom_core_of_apic(%ebx), %edi
  testl %edi, %edi
  jz axiom_core_unwanted
{paging_on("axiom_core_page_tables")}
  ljmp $8, $axiom_core_start64
axiom_core_unwanted:
  hlt
  jmp axiom_core_unwanted
.code64
axiom_core_start64:
  movl %edi, %esp
  incl %esp
  shll ${RING0_STACK_BYTES.bit_length() - 1}, %esp
  addl $axiom_ring0_stacks, %esp
  lidt axiom_idt_pointer
  leal {FIRST_TSS_SELECTOR}(,%rdi,8), %eax
  leal (%rax,%rdi,8), %eax
  ltr %ax
{VECTOR_STATE_ON}
  pushq $0x1b
  pushq axiom_core_stacks(,%rdi,8)
  pushq $0x3002
  pushq $0x23
  pushq $axiom_core_ring3
  iretq

.section .text
axiom_core_ring3:
  xorl %ebp, %ebp
  call *axiom_core_function
  ud2

.section .data
.balign 64
.globl axiom_core_of_apic, axiom_core_stacks, axiom_core_page_tables, axiom_core_function
axiom_core_of_apic: .fill {APIC_IDS}, 1, 0
axiom_core_stacks: .fill {N_CORES}, 8, 0
axiom_core_page_tables: .quad 0
axiom_core_function: .quad 0
"""

CORES = CORE_TABLES + _TRAMPOLINE + _START


@fn(phase="init")
def complete_descriptors() -> None:
    """Write where each processor's task-state segment is, which no relocation can, into its descriptor.

    The first one's is done by entry. Entry's page tables must be loaded: later the table is ring 0's alone.
    """
    # SAFETY: the symbol names this many words; no other processor is awake to use them.
    with unsafe:
        descriptors = slice_at(u16, symbol_address("axiom_gdt"), FIRST_TSS_SELECTOR // 2 + 8 * N_CORES)
    for core in urange(u64(1), u64(N_CORES)):
        segment = symbol_address("axiom_tss") + core * TSS_STRIDE
        words = descriptors.part(FIRST_TSS_SELECTOR // 2 + 8 * core, 8)
        words[1] = truncate(u16, segment)
        words[2] = words[2] & 0xFF00 | truncate(u16, segment >> 16) & 0xFF
        words[3] = words[3] & 0x00FF | truncate(u16, segment >> 16) & 0xFF00


@fn(phase="init")
def core_trampoline() -> Slice[u8]:
    """Return the code with which a woken processor begins, to be copied below 1 MiB."""
    start = symbol_address("axiom_core_trampoline")
    # SAFETY: the two symbols enclose it.
    with unsafe:
        return slice_at(u8, start, symbol_address("axiom_core_trampoline_end") - start)


@fn(phase="init")
def core_of_apic() -> Slice[u8]:
    """Return the numbers of processors by their local APIC ids; 0: not wanted."""
    # SAFETY: the symbol names as many bytes; processors that wake only read them.
    with unsafe:
        return slice_at(u8, symbol_address("axiom_core_of_apic"), APIC_IDS)


@fn(phase="init")
def core_stack_tops() -> Slice[u64]:
    """Return the addresses behind the processors' stacks, by their numbers."""
    # SAFETY: the symbol names as many words; processors that wake only read them.
    with unsafe:
        return slice_at(u64, symbol_address("axiom_core_stacks"), N_CORES)


@fn(phase="init")
def set_core_start(page_tables: u64, function: u64) -> None:
    """Say with which page tables, below 4 GiB, a woken processor begins, and in which function(core)."""
    # SAFETY: the symbols name two words in a row; processors that wake only read them.
    with unsafe:
        words = slice_at(u64, symbol_address("axiom_core_page_tables"), 2)
    assert page_tables < 1 << 32, "the page tables are not where 32-bit code can load them"
    words[0] = page_tables
    words[1] = function
