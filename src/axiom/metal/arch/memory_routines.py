"""`memcpy`, `memmove`, `memset` and `memcmp`: what LLVM may call for copies that it does not unroll.

Each keeps a frame pointer, so that a fault inside is reported with its caller. `rep movsb` is the fast way
on processors with ERMS (Intel SDM volume 1, section 7.3.9.3, "fast-string operation"), and correct on all.
"""

MEMORY_ROUTINES = """
.section .text
.globl memcpy, memmove, memset, memcmp
memcpy:
  pushq %rbp
  movq %rsp, %rbp
  movq %rdi, %rax
  movq %rdx, %rcx
  rep movsb
  popq %rbp
  ret
memmove:
  pushq %rbp
  movq %rsp, %rbp
  movq %rdi, %rax
  movq %rdx, %rcx
  movq %rdi, %r8
  subq %rsi, %r8
  cmpq %rdx, %r8
  jb 1f
  rep movsb
  popq %rbp
  ret
1:
  leaq -1(%rdi,%rdx), %rdi
  leaq -1(%rsi,%rdx), %rsi
  std
  rep movsb
  cld
  popq %rbp
  ret
memset:
  pushq %rbp
  movq %rsp, %rbp
  movq %rdi, %r8
  movl %esi, %eax
  movq %rdx, %rcx
  rep stosb
  movq %r8, %rax
  popq %rbp
  ret
memcmp:
  pushq %rbp
  movq %rsp, %rbp
  xorl %eax, %eax
  xorl %ecx, %ecx
1:
  cmpq %rdx, %rcx
  je 2f
  movzbl (%rdi,%rcx), %eax
  movzbl (%rsi,%rcx), %r8d
  incq %rcx
  subl %r8d, %eax
  je 1b
2:
  popq %rbp
  ret
"""
