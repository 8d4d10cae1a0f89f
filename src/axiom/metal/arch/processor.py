"""Instructions that ring 3 may execute itself."""

import time

from axiom.lang import (
    Slice,
    address_of,
    asm,
    asm_value,
    fn,
    llvm_intrinsic,
    symbol_address,
    u8,
    u64,
    unsafe,
)


@llvm_intrinsic("llvm.x86.rdtsc")
def read_cycles() -> u64:
    """Read the time-stamp counter; under CPython, nanoseconds."""
    return u64(time.perf_counter_ns())


@fn(inline="always")
def pause() -> None:
    """Tell the processor that this is a polling loop."""
    # SAFETY: a hint.
    with unsafe:
        asm("pause", "~{memory}")


@fn(inline="always")
def frame_pointer() -> u64:
    """Return the frame pointer of the function that this is written in."""
    # SAFETY: copies a register.
    with unsafe:
        return asm_value(u64, "movq %rbp, $0", "=r")


@fn(inline="always")
def caller_frame_pointer() -> u64:
    """Return the frame pointer of whoever called the function that this is written in."""
    # SAFETY: every function saves it where its own frame pointer points.
    with unsafe:
        return asm_value(u64, "movq (%rbp), $0", "=r")


@fn(inline="always")
def return_address() -> u64:
    """Return where the function that this is written in returns to."""
    # SAFETY: the call put it below the saved frame pointer.
    with unsafe:
        return asm_value(u64, "movq 8(%rbp), $0", "=r")


@fn
def extended_control() -> u64:
    """Return XCR0, the vector state that ring 0 turned on; an invalid opcode without OSXSAVE."""
    # SAFETY: reads a register; clobbers RDX, as declared.
    with unsafe:
        return asm_value(u64, "xorl %ecx, %ecx; xgetbv", "={rax},~{rcx},~{rdx},~{cc}")


@fn
def has_lzcnt() -> bool:
    """Try LZCNT, which an older processor executes as BSR (see `processor_level` for why not CPUID)."""
    # SAFETY: computes a register from a register.
    with unsafe:
        return asm_value(u64, "lzcntq $1, $0", "=r,r,~{cc}", u64(1)) == 63


@fn
def claim(word: Slice[u64], owner: u64) -> u64:
    """Store `owner` in the first word if that is zero, in one step; return what it held before.

    For processors that crash at the same time. Apart from this, ring 3 has one atomic read-modify-write, by
    which the lanes share out what is left of a step (`engine`).
    """
    assert word.length > 0, "there is no word to claim"
    place = address_of(word)
    # SAFETY: writes one word of a slice that holds one.
    with unsafe:
        return asm_value(
            u64, "lock; cmpxchgq $2, ($1)", "={rax},r,r,{rax},~{cc},~{memory}", place, owner, u64(0)
        )


@fn
def probe_read(address: u64) -> bool:
    """Tell whether one byte at `address` can be read; a fault is caught. Start-up only."""
    # SAFETY: axiom_probe_read keeps the callee-saved registers and undoes a fault.
    with unsafe:
        result = asm_value(
            u64,
            "call axiom_probe_read",
            "={rax},{rdi},~{rcx},~{rdx},~{rsi},~{r8},~{r9},~{r10},~{r11},~{cc},~{memory}",
            address,
        )
    return result == 1


@fn
def switch_stack(stack: Slice[u8]) -> None:
    """Go on in the exported function `axiom_run` on another stack, of whole pages; never returns."""
    top = address_of(stack) + stack.length
    # SAFETY: a slice is memory that is there; what is on the old stack is never needed again.
    with unsafe:
        asm("jmp axiom_switch_stack", "{rdi},{rsi},~{memory}", top, symbol_address("axiom_run"))
