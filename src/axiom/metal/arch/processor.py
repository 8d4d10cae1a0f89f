"""Instructions that ring 3 may execute itself."""

from axiom.lang import asm, asm_value, fn, u64, unsafe


@fn(inline="always")
def read_cycles() -> u64:
    """Read the time-stamp counter."""
    # SAFETY: reads a counter; clobbers RDX, as declared.
    with unsafe:
        return asm_value(u64, "rdtsc; shlq $$32, %rdx; orq %rdx, %rax", "={rax},~{rdx}")


@fn(inline="always")
def pause() -> None:
    """Tell the processor that this is a polling loop."""
    # SAFETY: a hint.
    with unsafe:
        asm("pause", "~{memory}")


@fn
def frame_pointer() -> u64:
    """Return the caller's frame pointer."""
    # SAFETY: copies a register.
    with unsafe:
        return asm_value(u64, "movq %rbp, $0", "=r")


@fn
def probe_read(address: u64) -> bool:
    """Tell whether one byte at `address` can be read; a page fault is caught. Start-up only."""
    # SAFETY: axiom_probe_read keeps the callee-saved registers and undoes a fault.
    with unsafe:
        result = asm_value(
            u64,
            "call axiom_probe_read",
            "={rax},{rdi},~{rcx},~{rdx},~{rsi},~{r8},~{r9},~{r10},~{r11},~{memory}",
            address,
        )
    return result == 1


@fn
def switch_stack(top: u64) -> None:
    """Go on in the exported function `axiom_run` with an empty stack below `top`; never returns."""
    # SAFETY: the stack is mapped; what is on the old one is never needed again.
    with unsafe:
        asm("jmp axiom_switch_stack", "{rdi}", top)
