"""The stacks of an image: what each entry point can use at most, against what it is given."""

from pathlib import Path

from axiom.abi.boot import LANE_STACK_BYTES, RegionKind
from axiom.compiler.elf_symbols import read_symbols
from axiom.compiler.stack_bound import StackBound, StackError, stack_bounds
from axiom.host.errors import MachineError
from axiom.metal.arch.entry import BOOT_STACK_BYTES
from axiom.metal.arch.vectors import EXCEPTION_STACK_BYTES
from axiom.metal.boot.config import KernelConfig

PANIC_ENTRY = "axiom_panic"
STACK_SWITCHES = frozenset({"axiom_switch_stack"})


def stack_sizes(config: KernelConfig) -> dict[str, int]:
    """Return the bytes of stack of each entry point that an image may have, by symbol."""
    run = next(region.bytes for region in config.regions if region.kind == RegionKind.STACK)
    return {
        "axiom_main": BOOT_STACK_BYTES,
        "axiom_run": run,
        "axiom_lane": LANE_STACK_BYTES,
        "axiom_exception": EXCEPTION_STACK_BYTES,
    }


def image_stack_bounds(config: KernelConfig, path: Path) -> dict[str, StackBound]:
    """Return the bound of each entry point of an image.

    Raises MachineError when one has no bound, or can use more than its stack holds.
    """
    known = {symbol.name for symbol in read_symbols(path.read_bytes())}
    sizes = {entry: size for entry, size in stack_sizes(config).items() if entry in known}
    try:
        bounds = stack_bounds(path, list(sizes), STACK_SWITCHES, PANIC_ENTRY)
    except StackError as error:
        raise MachineError(f"the stacks of the image have no bound: {error}.") from None
    for entry, bound in bounds.items():
        if bound.bytes > sizes[entry]:
            path_text = " > ".join(name for name, _ in bound.path)
            raise MachineError(
                f"`{entry}` can use {bound.bytes} bytes of its stack of {sizes[entry]}: {path_text}."
            )
    return bounds
