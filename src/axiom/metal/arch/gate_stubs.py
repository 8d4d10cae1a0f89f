"""Ring 0's side of the gates: one short piece of assembly for each thing that ring 3 cannot do.

A gate is a deliberate `ud2` with `GATE_MAGIC` in R10 and the gate's number in EAX, because neither `int n`
nor `syscall` reaches ring 0 on every virtual machine monitor. Arguments are in RDI and RSI, the result in
RAX; RCX and RDX are lost, all else is kept. A `ud2` with another magic or number is a real invalid opcode.
"""

from enum import IntEnum

from axiom.metal.arch.cores import N_CORES, RING0_STACK_BYTES
from axiom.metal.arch.stacks import PAINT, WORD_BYTES

GATE_MAGIC = 0x4158474B


class Gate(IntEnum):
    """The numbers of the gates."""

    READ_MSR = 1
    WRITE_MSR = 2
    LOAD_CR3 = 3
    CPUID_AB = 4
    CPUID_CD = 5
    INTERRUPTS_ON = 6
    INTERRUPTS_OFF = 7
    HALT = 8
    RING0_STACK_USED = 9


_DISPATCH = "\n".join(f"  cmpl ${int(gate)}, %eax\n  je axiom_gate_{gate.name.lower()}" for gate in Gate)

GATES = f"""
.section .ring0.text, "ax", @progbits
.code64
axiom_undefined:
  cmpq ${GATE_MAGIC}, %r10
  jne axiom_real_undefined
  addq $2, (%rsp)
  incq axiom_gate_calls
{_DISPATCH}
  subq $2, (%rsp)
axiom_real_undefined:
  pushq $0
  pushq $6
  jmp axiom_exception_common
axiom_gate_read_msr:
  movl %edi, %ecx
  rdmsr
  shlq $32, %rdx
  orq %rdx, %rax
  iretq
axiom_gate_write_msr:
  movl %edi, %ecx
  movl %esi, %eax
  movq %rsi, %rdx
  shrq $32, %rdx
  wrmsr
  iretq
axiom_gate_load_cr3:
  movq %rdi, %cr3
  iretq
axiom_gate_cpuid_ab:
  pushq %rbx
  movl %edi, %eax
  movl %esi, %ecx
  cpuid
  shlq $32, %rbx
  movl %eax, %eax
  orq %rbx, %rax
  popq %rbx
  iretq
axiom_gate_cpuid_cd:
  pushq %rbx
  movl %edi, %eax
  movl %esi, %ecx
  cpuid
  shlq $32, %rdx
  movl %ecx, %eax
  orq %rdx, %rax
  popq %rbx
  iretq
axiom_gate_interrupts_on:
  orq $0x200, 16(%rsp)
  iretq
axiom_gate_interrupts_off:
  andq $~0x200, 16(%rsp)
  iretq
axiom_gate_halt:
  cli
  hlt
  jmp axiom_gate_halt
axiom_gate_ring0_stack_used:
  movl %edi, %edx
  andl ${N_CORES - 1}, %edx
  shll ${RING0_STACK_BYTES.bit_length() - 1}, %edx
  addl $axiom_ring0_stacks, %edx
  movabsq ${PAINT:#x}, %rcx
  movl ${RING0_STACK_BYTES}, %eax
1:
  cmpq %rcx, (%rdx)
  jne 2f
  addl ${WORD_BYTES}, %edx
  subl ${WORD_BYTES}, %eax
  jnz 1b
2:
  iretq
"""
