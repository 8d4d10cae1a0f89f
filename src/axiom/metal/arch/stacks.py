"""Painted stacks: every stack starts full of one pattern, so that what was ever used of it can be told.

Assembly paints its own: entry the boot and exception stacks, before anything lies on them, the assembler
those of ring 0 (see `gate_stubs` for how they are measured). The others are painted by `boot.stack_use`. A
frame of which nothing was stored does not count, so that this is never more than what was reserved.
"""

from axiom.lang import Slice, address_of, fn, slice_at, symbol_address, u64, unsafe, urange, volatile_load

PAINT_32 = 0x5AFE57AC
PAINT = PAINT_32 << 32 | PAINT_32
WORD_BYTES = 8


@fn
def paint(stack: Slice[u64]) -> None:
    """Make a stack that is not in use look as if it never was."""
    for i in urange(stack.length):
        stack[i] = u64(PAINT)


@fn
def used_bytes(stack: Slice[u64]) -> u64:
    """Return how many bytes of a painted stack were ever used: from the lowest changed word to its top."""
    untouched = u64(0)
    while untouched < stack.length and volatile_load(stack, untouched) == PAINT:
        untouched += 1
    return (stack.length - untouched) * WORD_BYTES


@fn
def saved_frame(stack: Slice[u64], frame: u64) -> Slice[u64]:
    """Return the two words at a function's frame pointer: its caller's frame pointer, and where it returns
    to. No words where there can be no frame, or only the one that began the stack.
    """
    start = address_of(stack)
    first = (frame - start) // WORD_BYTES if frame >= start else stack.length
    if frame % WORD_BYTES != 0 or first + 2 >= stack.length:
        return stack.part(0, 0)
    return stack.part(first, 2)


@fn
def boot_stack() -> Slice[u64]:
    """Return the memory of the stack of `axiom_main`."""
    # SAFETY: the symbols enclose it, and it stays mapped; it is only looked at.
    with unsafe:
        start = symbol_address("axiom_boot_stack")
        return slice_at(u64, start, (symbol_address("axiom_boot_stack_top") - start) // WORD_BYTES)


@fn
def exception_stack() -> Slice[u64]:
    """Return the memory of the stack of `axiom_exception`."""
    # SAFETY: as above.
    with unsafe:
        start = symbol_address("axiom_exception_stack")
        return slice_at(u64, start, (symbol_address("axiom_exception_stack_top") - start) // WORD_BYTES)
