"""From the boot loader to ring 3: the assembly that must exist before any Python can run.

Entry is by PVH (Xen's x86/HVM direct boot ABI): 32-bit protected mode, paging off, EBX = address of
`hvm_start_info`. A few dozen ring-0 instructions turn on long mode, the vector state and ring 3; the
rest runs in ring 3. Ring 0 is kept short on purpose: where virtual machines are nested in software
each of its instructions costs thousands of cycles. References: Intel SDM volume 3, sections 4.5
(4-level paging), 10.8.5 (entering IA-32e mode), 13.5 (XSETBV), 7.7 (64-bit TSS), 19.5.2 of volume 1
(I/O permission bit map: all zero, because IOPL 3 is not honoured everywhere).

A processor without 64-bit mode or no-execute pages is refused here, in 32-bit code, because nothing else
could say so; all else that it may lack is refused by Python (see `processor_level`).

It calls
`axiom_main(start_info)` on the boot stack; `axiom_switch_stack(top, function)` goes on on another.
"""

from axiom.abi.boot import ExitCode
from axiom.lang import Slice, fn, slice_at, symbol_address, u64, unsafe
from axiom.metal.arch.cores import FIRST_TSS_SELECTOR, RING0_STACK_BYTES, VECTOR_STATE_ON, paging_on
from axiom.metal.arch.stacks import PAINT, WORD_BYTES
from axiom.metal.arch.vectors import EXCEPTION_STACK_BYTES, EXIT_PORT, VECTORS

BOOT_STACK_BYTES = 65536
LONG_MODE_AND_NO_EXECUTE = 0x2010_0000
POINTERS = 512

PVH_NOTE = """
.section .note.pvh, "a", @note
.balign 4
.long 4, 4, 18
.asciz "Xen"
.long axiom_start32
"""

_START_32 = f"""
.section .ring0.text, "ax", @progbits
.code32
.globl axiom_start32
axiom_start32:
  movl %ebx, axiom_start_info
  rdtsc
  movl %eax, axiom_entry_cycles
  movl %edx, axiom_entry_cycles+4
  movl $0x80000001, %eax
  cpuid
  andl ${LONG_MODE_AND_NO_EXECUTE}, %edx
  cmpl ${LONG_MODE_AND_NO_EXECUTE}, %edx
  jne axiom_refuse
  movl $1, %eax
  cpuid
  movl %ecx, %esi
{paging_on("$axiom_boot_pml4")}
  lgdt axiom_gdt_pointer
  ljmp $8, $axiom_start64
axiom_refuse:
  movl $axiom_refusal, %esi
2:
  movb (%esi), %al
  incl %esi
  movw $0x3f8, %dx
  outb %al, %dx
  testb %al, %al
  jnz 2b
  movb ${int(ExitCode.REFUSED)}, %al
  outb %al, ${EXIT_PORT}
3:
  hlt
  jmp 3b
axiom_refusal: .asciz "axiom: this processor has no 64-bit mode or no no-execute pages\\r\\n"
"""

_START_64 = f"""
.code64
axiom_start64:
  movl $16, %eax
  movl %eax, %ds
  movl %eax, %es
  movl %eax, %ss
  movl $axiom_ring0_stacks + {RING0_STACK_BYTES}, %esp
  movl $axiom_tss, %eax
  movw %ax, axiom_gdt_tss+2
  shrl $16, %eax
  movb %al, axiom_gdt_tss+4
  movb %ah, axiom_gdt_tss+7
  lidt axiom_idt_pointer
  movl ${FIRST_TSS_SELECTOR}, %eax
  ltr %ax
{VECTOR_STATE_ON}  pushq $0x1b
  pushq $axiom_boot_stack_top
  pushq $0x3002
  pushq $0x23
  pushq $axiom_ring3
  iretq
"""

_TABLES = f"""
.section .ring0.data, "aw", @progbits
.balign 4096
.globl axiom_boot_pml4, axiom_boot_pdpt
axiom_boot_pml4:
  .quad axiom_boot_pdpt + 7
  .fill 511, 8, 0
axiom_boot_pdpt:
  .quad axiom_boot_pd + 7, axiom_boot_pd + 4103, axiom_boot_pd + 8199, axiom_boot_pd + 12295
  .fill {POINTERS - 4}, 8, 0
axiom_boot_pd:
  .set address, 0
  .rept 2048
  .quad address + 0x87
  .set address, address + 0x200000
  .endr
.balign 16
axiom_gdt_pointer:
  .word axiom_gdt_end - axiom_gdt - 1
  .quad axiom_gdt
.balign 16
axiom_idt_pointer:
  .word {16 * VECTORS - 1}
  .quad axiom_idt
.balign 16
axiom_idt:
  .fill {2 * VECTORS}, 8, 0

.section .data
.balign 8
.globl axiom_start_info
axiom_start_info: .quad 0
.globl axiom_entry_cycles
axiom_entry_cycles: .quad 0

.section .bss
.balign 4096
.globl axiom_boot_stack, axiom_boot_stack_top
axiom_boot_stack:
  .skip {BOOT_STACK_BYTES}
axiom_boot_stack_top:
"""

_RING_3 = f"""
.section .text
axiom_ring3:
  movq $axiom_idt, %rdi
  movq $axiom_vectors, %rax
  movl ${VECTORS}, %ecx
5:
  movw %ax, (%rdi)
  movw $8, 2(%rdi)
  movw $0x8e00, 4(%rdi)
  movq %rax, %rdx
  shrq $16, %rdx
  movw %dx, 6(%rdi)
  movq $0, 8(%rdi)
  addq $16, %rdi
  addq $16, %rax
  decl %ecx
  jnz 5b
  movabsq ${PAINT:#x}, %rax
  movq $axiom_boot_stack, %rdi
  movl ${BOOT_STACK_BYTES // WORD_BYTES}, %ecx
  rep stosq
  movq $axiom_exception_stack, %rdi
  movl ${EXCEPTION_STACK_BYTES // WORD_BYTES}, %ecx
  rep stosq
  xorl %ebp, %ebp
  movq axiom_start_info, %rdi
  call axiom_main
  ud2

.globl axiom_switch_stack
axiom_switch_stack:
  movq %rdi, %rsp
  xorl %ebp, %ebp
  call *%rsi
  ud2
"""

ENTRY = _START_32 + _START_64 + _TABLES + _RING_3


@fn
def entry_cycles() -> u64:
    """Return the cycle counter as it was at the first instruction."""
    # SAFETY: the symbol names the word in which entry noted it.
    with unsafe:
        return slice_at(u64, symbol_address("axiom_entry_cycles"), 1)[0]


@fn(phase="init")
def boot_pointers() -> Slice[u64]:
    """Return entry's page-directory pointers, each for 1 GiB from 0 on. The first four map all there is.

    Of use while entry's page tables are loaded: later they are ring 0's alone.
    """
    # SAFETY: the symbol names one table. What maps the image is in the entries that callers leave alone.
    with unsafe:
        return slice_at(u64, symbol_address("axiom_boot_pdpt"), POINTERS)
