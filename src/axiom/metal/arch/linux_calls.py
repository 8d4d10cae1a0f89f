"""The system calls by which lanes of a hosted kernel give way to others. No image contains them.

The futex compares a word and goes to sleep in one step, so that no change is missed. Sources: futex(2),
sched_yield(2); the numbers are those of x86-64 Linux (asm/unistd_64.h, linux/futex.h).
"""

from axiom.lang import asm_value, fn, u32, u64, unsafe

SYS_SCHED_YIELD = 24
SYS_FUTEX = 202
WAIT_PRIVATE = 128
WAKE_PRIVATE = 129
ALL_WAITERS = 0x7FFF_FFFF
_SYSCALL = "={rax},{rax},{rdi},{rsi},{rdx},{r10},~{rcx},~{r11},~{memory}"


@fn
def _call(number: u64, first: u64, second: u64, third: u64) -> u64:
    # SAFETY: these calls write no memory of ours. The fourth argument, a futex's timeout, is none.
    with unsafe:
        return asm_value(u64, "syscall", _SYSCALL, number, first, second, third, u64(0))


@fn
def futex_wait(address: u64, expected: u32) -> None:
    """Sleep until woken, unless the word at `address` is no longer `expected`; may return early."""
    _call(u64(SYS_FUTEX), address, u64(WAIT_PRIVATE), u64(expected))


@fn
def futex_wake(address: u64) -> None:
    """Wake every thread that sleeps on the word at `address`."""
    _call(u64(SYS_FUTEX), address, u64(WAKE_PRIVATE), u64(ALL_WAITERS))


@fn
def sched_yield() -> None:
    """Let another thread have this processor, if one waits for it."""
    _call(u64(SYS_SCHED_YIELD), u64(0), u64(0), u64(0))
