"""Reading memory that may not be there: the one fault that is survived, while starting.

`axiom_probe_read` notes its stack; an exception that finds such a note goes back to it instead of to the
handler (see `axiom_exception_entry` in `vectors`).
"""

PROBE = """
.section .data
.balign 8
axiom_probe_stack: .quad 0

.section .text
.globl axiom_probe_read
axiom_probe_read:
  pushq %rbp
  movq %rsp, %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, axiom_probe_stack
  movb (%rdi), %al
  movl $1, %eax
axiom_probe_end:
  movq $0, axiom_probe_stack
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
axiom_probe_fault:
  movq axiom_probe_stack, %rsp
  movq $0, axiom_exception_owner
  decq axiom_exceptions
  xorl %eax, %eax
  jmp axiom_probe_end
"""
