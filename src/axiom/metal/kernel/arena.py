"""A bump allocator over the arena region, for what start-up needs once. Nothing is ever given back."""

from axiom.lang import Slice, fill_zero, fn, panic, static_var, struct, u8, u64, zeroed
from axiom.metal.kernel.frames import align_up, require_unsealed


@struct
class Arena:
    """The region and how much of it is taken."""

    memory: Slice[u8]
    used: u64


arena = static_var(zeroed(Arena))


@fn(phase="init")
def start_arena(memory: Slice[u8]) -> None:
    """Give the arena its region."""
    require_unsealed()
    arena.memory = memory
    arena.used = u64(0)


@fn(phase="init")
def allocate(bytes: u64, align: u64) -> Slice[u8]:
    """Return zeroed bytes; panics when sealed or full. `align` is a power of two up to 4096."""
    require_unsealed()
    start = align_up(arena.used, align)
    if start > arena.memory.length or arena.memory.length - start < bytes:
        panic("the arena is full")
    arena.used = start + bytes
    part = arena.memory.part(start, bytes)
    fill_zero(part)
    return part
