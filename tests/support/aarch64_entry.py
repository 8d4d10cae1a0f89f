"""The assembler part of a test program for Linux on AArch64: read calls, make them, write what they left.

The whole of standard input is put at `axiom_arena`, and written to standard output at the end. It begins
with the number of calls and 8 bytes of nothing, then for each call CALL_WORDS words: the number of the
function in `axiom_table`, the address of its arguments, the address for its result, then what comes back:
1 after a panic, and the panic's reason and two numbers.
Sources: Procedure Call Standard for the Arm 64-bit Architecture; Linux, include/uapi/asm-generic/unistd.h.
"""

ARENA = 0x40000000
ARENA_BYTES = 64 << 20
CALL_WORDS = 8
HEADER_BYTES = 16

ENTRY = f"""
.text
.globl _start, axiom_panic
_start:
  ldr x19, =axiom_arena
  mov x20, x19
1:
  mov x0, #0
  mov x1, x20
  mov x2, #{1 << 20}
  mov x8, #63
  svc #0
  cmp x0, #0
  b.lt 9f
  b.eq 2f
  add x20, x20, x0
  b 1b
2:
  ldr x21, [x19]
  add x22, x19, #{HEADER_BYTES}
3:
  cbz x21, 5f
  ldr x9, =axiom_kept
  stp x19, x20, [x9]
  stp x21, x22, [x9, #16]
  mov x10, sp
  str x10, [x9, #32]
  ldr x8, [x22]
  ldr x10, =axiom_table
  ldr x8, [x10, x8, lsl #3]
  ldr x0, [x22, #16]
  ldr x1, [x22, #8]
  mov x29, #0
  blr x8
4:
  sub x21, x21, #1
  add x22, x22, #{8 * CALL_WORDS}
  b 3b
5:
  sub x20, x20, x19
  mov x1, x19
6:
  cbz x20, 7f
  mov x0, #1
  mov x2, x20
  mov x8, #64
  svc #0
  cmp x0, #0
  b.le 9f
  add x1, x1, x0
  sub x20, x20, x0
  b 6b
7:
  mov x0, #0
8:
  mov x8, #94
  svc #0
9:
  mov x0, #1
  b 8b

axiom_panic:
  ldr x9, =axiom_kept
  ldp x19, x20, [x9]
  ldp x21, x22, [x9, #16]
  ldr x10, [x9, #32]
  mov sp, x10
  mov w0, w0
  mov x11, #1
  stp x11, x0, [x22, #24]
  stp x1, x2, [x22, #40]
  b 4b

.globl memset, memcpy, memmove
memset:
  add x3, x0, x2
  mov x4, x0
1:
  cmp x4, x3
  b.eq 2f
  strb w1, [x4], #1
  b 1b
2:
  ret
memcpy:
memmove:
  cmp x0, x1
  b.hi 2f
  mov x4, #0
1:
  cmp x4, x2
  b.eq 3f
  ldrb w5, [x1, x4]
  strb w5, [x0, x4]
  add x4, x4, #1
  b 1b
2:
  cbz x2, 3f
  sub x2, x2, #1
  ldrb w5, [x1, x2]
  strb w5, [x0, x2]
  b 2b
3:
  ret
.ltorg

.bss
.balign 16
axiom_kept: .skip 64
.section .arena, "aw", @nobits
.balign 4096
axiom_arena: .skip {ARENA_BYTES}
"""


def table_of(symbols: list[str]) -> str:
    """Return the assembly of `axiom_table` for these functions."""
    rows = "\n".join(f'  .quad "{symbol}"' for symbol in symbols)
    return f".section .rodata\n.balign 8\naxiom_table:\n{rows}\n"
