"""The stacks of an image: what each entry point can use at most, against what it is given.

Ring 0 is entered by exceptions and interrupts, each of which pushes a frame of its own; its bound has the
name of the table of its entries. Interrupts are off there, so that only a fault within a stub comes on top
of what it interrupts, and the stub for such a fault stops the machine.
"""

from pathlib import Path

from axiom.abi.boot import LANE_STACK_BYTES, RegionKind
from axiom.compiler.elf_symbols import read_symbols
from axiom.compiler.stack_bound import StackBound, StackError, stack_bounds
from axiom.host.errors import MachineError
from axiom.metal.arch.cores import RING0_STACK_BYTES
from axiom.metal.arch.entry import BOOT_STACK_BYTES
from axiom.metal.arch.vectors import EXCEPTION_STACK_BYTES
from axiom.metal.boot.config import KernelConfig

PANIC_ENTRY = "axiom_panic"
STACK_SWITCHES = frozenset({"axiom_switch_stack"})
RING0 = "axiom_vectors"
_RING0_STUBS = ("axiom_timer", "axiom_other_interrupt", "axiom_undefined", "axiom_exception_common")
# Intel SDM volume 3, section 6.14.2: five words on a boundary of 16 bytes; the table's own entries push an
# error code, where the processor has none, and the number.
_FRAME_BYTES = 5 * 8 + 8 + 2 * 8


def stack_sizes(config: KernelConfig) -> dict[str, int]:
    """Return the bytes of stack of each entry point that an image may have, by symbol."""
    run = next(region.bytes for region in config.regions if region.kind == RegionKind.STACK)
    return {
        "axiom_main": BOOT_STACK_BYTES,
        "axiom_run": run,
        "axiom_lane": LANE_STACK_BYTES,
        "axiom_exception": EXCEPTION_STACK_BYTES,
        RING0: RING0_STACK_BYTES,
    }


def image_stack_bounds(config: KernelConfig, path: Path) -> dict[str, StackBound]:
    """Return the bound of each entry point of an image.

    Raises MachineError when one has no bound, or can use more than its stack holds.
    """
    known = {symbol.name for symbol in read_symbols(path.read_bytes())}
    sizes = {entry: size for entry, size in stack_sizes(config).items() if entry in known}
    try:
        entries = [*(sizes.keys() - {RING0}), *(_RING0_STUBS if RING0 in sizes else ())]
        found = stack_bounds(path, entries, STACK_SWITCHES, PANIC_ENTRY)
    except StackError as error:
        raise MachineError(f"the stacks of the image have no bound: {error}.") from None
    bounds = {entry: _ring0_bound(found) if entry == RING0 else found[entry] for entry in sizes}
    for entry, bound in bounds.items():
        if bound.bytes > sizes[entry]:
            path_text = " > ".join(name for name, _ in bound.path)
            raise MachineError(
                f"`{entry}` can use {bound.bytes} bytes of its stack of {sizes[entry]}: {path_text}."
            )
    return bounds


def _ring0_bound(found: dict[str, StackBound]) -> StackBound:
    """Return what a stub can use, and another one for a fault within it."""
    deepest = max((found[stub] for stub in _RING0_STUBS), key=lambda bound: bound.bytes)
    path = ((RING0, _FRAME_BYTES), *deepest.path)
    return StackBound(2 * (_FRAME_BYTES + deepest.bytes), path + path)
