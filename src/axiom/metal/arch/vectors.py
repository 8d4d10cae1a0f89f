"""Ring 0 after start-up: exception stubs, the watchdog timer and the gates, a few instructions each.

An exception saves the interrupted state in `axiom_exception_frame` and goes on in ring 3 at
`axiom_exception(frame)`, on a stack of its own; a second exception before that is finished leaves
through the exit device at once. A gate is a deliberate `ud2` with `GATE_MAGIC` in R10, because neither
`int n` nor `syscall` reaches ring 0 on every virtual machine monitor. References: Intel SDM volume 3,
sections 6.13 (error codes), 6.14 (64-bit interrupt handling), 11.5.4 (APIC timer), 11.8.5 (EOI).

Slots are 16 bytes each, so that the descriptor table is filled by a loop.
"""

from axiom.abi.boot import ExitCode

GATE_MAGIC = 0x4158474B
EXIT_PORT = 0xF4
WATCHDOG_VECTOR = 32
STALLED_TICKS = 20
VECTORS = 64
WITH_ERROR_CODE = (8, 10, 11, 12, 13, 14, 17, 21)
FRAME_WORDS = 24


def _slot(vector: int) -> str:
    if vector == WATCHDOG_VECTOR:
        body = "  jmp axiom_timer"
    elif vector > WATCHDOG_VECTOR:
        body = "  jmp axiom_other_interrupt"
    elif vector == 6:
        body = "  jmp axiom_undefined"
    else:
        push = "" if vector in WITH_ERROR_CODE else "  pushq $0\n"
        body = f"{push}  pushq ${vector}\n  jmp axiom_exception_common"
    return f".balign 16\n{body}"


_STORE_REGISTERS = "\n".join(
    f"  movq %{name}, axiom_exception_frame+{8 * (8 + number)}"
    for number, name in enumerate(
        [
            "rax",
            "rbx",
            "rcx",
            "rdx",
            "rsi",
            "rdi",
            "rbp",
            "r8",
            "r9",
            "r10",
            "r11",
            "r12",
            "r13",
            "r14",
            "r15",
        ]
    )
)

STUBS = f"""
.section .ring0.text, "ax", @progbits
.code64
.balign 16
.globl axiom_vectors
axiom_vectors:
{chr(10).join(_slot(vector) for vector in range(VECTORS))}
.balign 16
axiom_timer:
  pushq %rax
  movl $0xFEE000B0, %eax
  movl $0, (%rax)
  incq axiom_ticks
  movq axiom_heartbeat, %rax
  cmpq axiom_last_heartbeat, %rax
  jne 1f
  incl axiom_stalled
  cmpl ${STALLED_TICKS}, axiom_stalled
  jae 2f
  popq %rax
  iretq
1:
  movq %rax, axiom_last_heartbeat
  movl $0, axiom_stalled
  popq %rax
  iretq
2:
  popq %rax
  pushq $0
  pushq ${WATCHDOG_VECTOR}
  jmp axiom_exception_common
axiom_other_interrupt:
  incq axiom_other_interrupts
  iretq
axiom_exception_common:
{_STORE_REGISTERS}
  popq axiom_exception_frame
  popq axiom_exception_frame+8
  popq axiom_exception_frame+16
  popq axiom_exception_frame+24
  popq axiom_exception_frame+32
  popq axiom_exception_frame+40
  popq axiom_exception_frame+48
  movq %cr2, %rax
  movq %rax, axiom_exception_frame+56
  incq axiom_exceptions
  cmpl $0, axiom_exception_depth
  jne 3f
  incl axiom_exception_depth
  pushq $0x1b
  pushq $axiom_exception_stack_top
  pushq $0x3002
  pushq $0x23
  pushq $axiom_exception_entry
  iretq
3:
  movb ${int(ExitCode.CRASH)}, %al
  outb %al, ${EXIT_PORT}
4:
  hlt
  jmp 4b
axiom_undefined:
  cmpq ${GATE_MAGIC}, %r10
  je 5f
  pushq $0
  pushq $6
  jmp axiom_exception_common
5:
  addq $2, (%rsp)
  incq axiom_gate_calls
  cmpl $1, %eax
  je axiom_gate_rdmsr
  cmpl $2, %eax
  je axiom_gate_wrmsr
  cmpl $3, %eax
  je axiom_gate_cr3
  cmpl $4, %eax
  je axiom_gate_cpuid_ab
  cmpl $5, %eax
  je axiom_gate_cpuid_cd
  cmpl $6, %eax
  je axiom_gate_interrupts_on
  cmpl $7, %eax
  je axiom_gate_interrupts_off
  iretq
axiom_gate_rdmsr:
  movl %edi, %ecx
  rdmsr
  shlq $32, %rdx
  orq %rdx, %rax
  iretq
axiom_gate_wrmsr:
  movl %edi, %ecx
  movl %esi, %eax
  movq %rsi, %rdx
  shrq $32, %rdx
  wrmsr
  iretq
axiom_gate_cr3:
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

.section .data
.balign 64
.globl axiom_ticks, axiom_heartbeat, axiom_other_interrupts, axiom_exceptions, axiom_gate_calls
.globl axiom_exception_frame, axiom_exception_depth, axiom_probe_stack
axiom_ticks: .quad 0
axiom_heartbeat: .quad 0
axiom_last_heartbeat: .quad 0
axiom_stalled: .quad 0
axiom_other_interrupts: .quad 0
axiom_exceptions: .quad 0
axiom_gate_calls: .quad 0
axiom_exception_depth: .quad 0
axiom_probe_stack: .quad 0
axiom_exception_frame: .fill {FRAME_WORDS}, 8, 0

.section .bss
.balign 4096
.skip 16384
axiom_exception_stack_top:

.section .text
axiom_exception_entry:
  movq axiom_probe_stack, %rax
  testq %rax, %rax
  jnz 6f
  xorl %ebp, %ebp
  movq $axiom_exception_frame, %rdi
  call axiom_exception
  ud2
6:
  movq %rax, %rsp
  movl $0, axiom_exception_depth
  movq $0, axiom_probe_stack
  decq axiom_exceptions
  xorl %eax, %eax
  jmp axiom_probe_end

.globl axiom_probe_read
axiom_probe_read:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, axiom_probe_stack
  movb (%rdi), %al
  movq $0, axiom_probe_stack
  movl $1, %eax
axiom_probe_end:
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
"""
