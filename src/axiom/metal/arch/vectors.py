"""Ring 0 after start-up: exception stubs and the watchdog timer, a few instructions each.

An exception saves the interrupted state in `axiom_exception_frame` (see `exception_frame`) and goes on in
ring 3 at `axiom_exception`, on a stack of its own. A second exception before that is finished
cannot be reported in the same way: ring 0 prints one raw line and leaves through the exit device. When
the second one is another processor's, that one stops: the processor whose ring-0 stack is noted in
`axiom_exception_owner` reports alone.
References: Intel SDM volume 3, sections 6.13 (error codes), 6.14 (64-bit interrupt handling), 11.5.4
(APIC timer), 11.8.5 (EOI).

Slots are 16 bytes each, so that the descriptor table is filled by a loop.
"""

from axiom.abi.boot import ExitCode
from axiom.abi.crash import CRASH_AGAIN, N_REGISTERS, REGISTER_NAMES
from axiom.lang import size_of
from axiom.metal.arch.cores import RING0_STACK_BYTES
from axiom.metal.arch.exception_frame import ExceptionFrame

EXIT_PORT = 0xF4
WATCHDOG_VECTOR = 32
SPURIOUS_VECTOR = 63
STALLED_TICKS = 30
VECTORS = 64
WITH_ERROR_CODE = (8, 10, 11, 12, 13, 14, 17, 21)
EXCEPTION_STACK_BYTES = 16384
_FIRST_REGISTER = size_of(ExceptionFrame) - 8 * N_REGISTERS


def _slot(vector: int) -> str:
    if vector == WATCHDOG_VECTOR:
        body = "  jmp axiom_timer"
    elif vector == SPURIOUS_VECTOR:
        body = "  jmp axiom_spurious"
    elif vector > WATCHDOG_VECTOR:
        body = "  jmp axiom_other_interrupt"
    elif vector == 6:
        body = "  jmp axiom_undefined"
    else:
        push = "" if vector in WITH_ERROR_CODE else "  pushq $0\n"
        body = f"{push}  pushq ${vector}\n  jmp axiom_exception_common"
    return f".balign 16\n{body}"


_SLOTS = "\n".join(_slot(vector) for vector in range(VECTORS))
_STORE_REGISTERS = "\n".join(
    f"  movq %{name}, axiom_exception_frame+{_FIRST_REGISTER + 8 * number}"
    for number, name in enumerate(REGISTER_NAMES)
)

_INTERRUPTS = f"""
.section .ring0.text, "ax", @progbits
.code64
.balign 16
axiom_vectors:
{_SLOTS}
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
  pushq %rax
  movl $0xFEE000B0, %eax
  movl $0, (%rax)
  popq %rax
axiom_spurious:
  incq axiom_other_interrupts
  iretq
"""

_EXCEPTIONS = f"""
axiom_exception_common:
  lock incq axiom_exceptions
  pushq %rax
  pushq %rcx
  movq %rsp, %rcx
  andq $-{RING0_STACK_BYTES}, %rcx
  xorl %eax, %eax
  lock cmpxchgq %rcx, axiom_exception_owner
  je 8f
  cmpq %rcx, %rax
  je axiom_second_exception
9:
  hlt
  jmp 9b
8:
  popq %rcx
  popq %rax
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
  movq axiom_exception_owner, %rax
  subq $axiom_ring0_stacks, %rax
  shrq ${RING0_STACK_BYTES.bit_length() - 1}, %rax
  movq %rax, axiom_exception_frame+64
  pushq $0x1b
  pushq $axiom_exception_stack_top
  pushq $0x3002
  pushq $0x23
  pushq $axiom_exception_entry
  iretq
axiom_second_exception:
  addq $16, %rsp
  movl $axiom_second_text, %esi
3:
  movb (%rsi), %al
  call axiom_raw_put
  incq %rsi
  cmpb $0, (%rsi)
  jne 3b
  popq %rbx
  call axiom_raw_number
  popq %rbx
  popq %rbx
  call axiom_raw_number
  movb $10, %al
  call axiom_raw_put
  movb ${int(ExitCode.CRASH)}, %al
  outb %al, ${EXIT_PORT}
4:
  hlt
  jmp 4b
axiom_raw_number:
  movb $32, %al
  call axiom_raw_put
  movl $16, %edi
5:
  rolq $4, %rbx
  movb %bl, %al
  andb $15, %al
  addb $48, %al
  cmpb $58, %al
  jb 6f
  addb $39, %al
6:
  call axiom_raw_put
  decl %edi
  jnz 5b
  ret
axiom_raw_put:
  movb %al, %ah
  movl $10000, %ecx
7:
  movw $0x3fd, %dx
  inb %dx, %al
  testb $0x20, %al
  loopz 7b
  movw $0x3f8, %dx
  movb %ah, %al
  outb %al, %dx
  ret
axiom_second_text: .asciz "\\r\\n{CRASH_AGAIN}"
"""

_STORAGE = f"""
.section .data
.balign 64
.globl axiom_ticks
axiom_ticks: .quad 0
axiom_heartbeat: .quad 0
axiom_last_heartbeat: .quad 0
axiom_stalled: .quad 0
axiom_other_interrupts: .quad 0
axiom_exceptions: .quad 0
axiom_gate_calls: .quad 0
axiom_exception_owner: .quad 0
.globl axiom_exception_frame
axiom_exception_frame: .fill {size_of(ExceptionFrame)}, 1, 0

.section .bss
.balign 4096
.globl axiom_exception_stack, axiom_exception_stack_top
axiom_exception_stack:
.skip {EXCEPTION_STACK_BYTES}
axiom_exception_stack_top:

.section .text
axiom_exception_entry:
  cmpq $0, axiom_probe_stack
  jne axiom_probe_fault
  xorl %ebp, %ebp
  call axiom_exception
  ud2
"""

STUBS = _INTERRUPTS + _EXCEPTIONS + _STORAGE
