"""What an image is made of: code by room, stack bounds, unsafe blocks, and checks kept and elided."""

import ast
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import axiom
from axiom.compiler.elf_symbols import code_bytes, read_symbols
from axiom.compiler.objects import count_checks
from axiom.compiler.stack_bound import StackBound
from axiom.compiler.symbolise import SymboliseError, symbolise
from axiom.host.errors import MachineError
from axiom.host.image.build import Image, kernel_functions
from axiom.host.image.stack import image_stack_bounds, stack_sizes
from axiom.lang import PanicReason
from axiom.metal.boot.config import KernelConfig

SAMPLE_BYTES = 16


@dataclass(frozen=True)
class Report:
    """Facts of one image; rooms are folders of `metal`, `assembly` what no function of Python made.

    stack_bytes: what the stack of each entry point holds.
    """

    code_bytes: dict[str, int]
    stack_bounds: dict[str, StackBound]
    stack_bytes: dict[str, int]
    unsafe_blocks: dict[str, int]
    checks_kept: dict[str, int]
    checks_elided: dict[str, int]
    metal_lines: int


def make_report(config: KernelConfig, image: Image) -> Report:
    """Read an image, the sources of metal, and what the optimiser makes of the kernel."""
    counted = count_checks(kernel_functions(config))
    kept = Counter(_reason(site[0]) for site in counted.kept)
    asked = Counter(_reason(site[0]) for site in counted.asked)
    bounds = image_stack_bounds(config, image.path)
    sizes = stack_sizes(config)
    return Report(
        code_bytes=_code_by_room(image.path),
        stack_bounds=bounds,
        stack_bytes={entry: sizes[entry] for entry in bounds},
        unsafe_blocks=_unsafe_by_room(),
        checks_kept={reason: kept[reason] for reason in sorted(asked)},
        checks_elided={reason: asked[reason] - kept[reason] for reason in sorted(asked)},
        metal_lines=sum(len(path.read_text().splitlines()) for path in _metal_files()),
    )


def _reason(reason: PanicReason) -> str:
    return reason.name.lower()


def _metal_files() -> list[Path]:
    return sorted((Path(axiom.__file__).parent / "metal").rglob("*.py"))


def _room(path: Path) -> str:
    """Return the room of a source file: `ops`, `kernel`, ... of metal, or the package's other rooms."""
    parts = list(path.relative_to(Path(axiom.__file__).parent).parts)
    return parts[1] if parts[0] == "metal" and len(parts) > 2 else parts[0]


def _unsafe_by_room() -> dict[str, int]:
    found: Counter[str] = Counter()
    for path in _metal_files():
        found[_room(path)] += count_unsafe(path)
    return {room: count for room, count in sorted(found.items()) if count}


def count_unsafe(path: Path) -> int:
    """Return how many `with unsafe:` a source file has."""
    blocks = (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.With))
    return sum(any(ast.unparse(item.context_expr) == "unsafe" for item in block.items) for block in blocks)


def _code_by_room(image: Path) -> dict[str, int]:
    """Attribute every 16 bytes of code to the room of the line that its first byte comes from."""
    data = image.read_bytes()
    code = [s for s in read_symbols(data) if s.is_code and s.size]
    samples = [at for s in code for at in range(s.address, s.address + s.size, SAMPLE_BYTES)]
    try:
        places = symbolise(image, samples)
    except SymboliseError as error:
        raise MachineError(str(error), error.hint) from None
    package = Path(axiom.__file__).parent
    found: Counter[str] = Counter()
    for group in places:
        file = Path(group[0].file) if group and group[0].file else None
        found[_room(file) if file is not None and file.is_relative_to(package) else "assembly"] += (
            SAMPLE_BYTES
        )
    # Assembly has no functions of known length: it is what is left, padding included.
    found["assembly"] += max(0, code_bytes(data) - SAMPLE_BYTES * len(samples))
    return dict(sorted(found.items()))
