"""Build the image of a configuration: compile, link, and keep it by everything that decides its bytes."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import axiom
from axiom.compiler.diagnostics import CompileError
from axiom.compiler.objects import compile_objects, toolchain_version
from axiom.host.errors import ProgramError
from axiom.host.image.elf import read_elf
from axiom.host.image.link_script import link
from axiom.host.image.ring0 import check_ring0
from axiom.host.image.stack import image_stack_bounds
from axiom.metal.arch.assembly import ASSEMBLY
from axiom.metal.boot.config import KernelConfig
from axiom.metal.boot.main import make_kernel
from axiom.metal.kernel.panic import exception_handler, panic_handler

# Modules whose functions are compiled by themselves: together they take most of the time.
UNITS = (
    "axiom.metal.engine.forward",
    "axiom.metal.ops.attention",
    "axiom.metal.ops.gemm",
    "axiom.metal.ops.gemv",
)
# Rooms that a debugger's image compiles line by line; arithmetic stays as fast as it is.
AS_WRITTEN = ("axiom.metal.boot", "axiom.metal.drivers", "axiom.metal.engine", "axiom.metal.kernel")
ROOMS = ("abi", "lang", "compiler", "metal", "host/image")


@dataclass(frozen=True)
class Image:
    """A linked image; `end` is the address behind its last part."""

    path: Path
    end: int


def source_digest() -> str:
    """Return a hash of every source file that can change an image."""
    digest = hashlib.sha256(toolchain_version().encode())
    root = Path(axiom.__file__).parent
    for room in ROOMS:
        for file in sorted((root / room).rglob("*.py")):
            digest.update(str(file.relative_to(root)).encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()


def kernel_functions(config: KernelConfig) -> list[Any]:
    """Return what an image is compiled from."""
    return [*make_kernel(config), panic_handler, exception_handler]


def build_image(config: KernelConfig, cache: Path, for_debugger: bool = False) -> Image:
    """Return the image for a configuration, from `cache` when nothing that decides it has changed.

    A new image is refused when a stack could overflow (see stack.py) or ring 0 is no leaf (see ring0.py).
    for_debugger: leave the control code unoptimised, so that every line can be stepped to and every local
    has its value. Raises ProgramError when the kernel's own source is not right, and MachineError.
    """
    key = hashlib.sha256(f"{source_digest()}|{config!r}|{for_debugger}".encode()).hexdigest()[:32]
    path = cache / "images" / f"{key}.elf"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        made = path.with_suffix(f".{os.getpid()}.part")
        try:
            as_written = AS_WRITTEN if for_debugger else ()
            functions = kernel_functions(config)
            link(compile_objects(functions, list(ASSEMBLY), UNITS, as_written=as_written), made)
            image_stack_bounds(config, made)
            check_ring0(made)
            os.replace(made, path)
        except CompileError as error:
            raise ProgramError(str(error)) from None
        finally:
            made.unlink(missing_ok=True)
    return Image(path, read_elf(path).symbol("axiom_data_end"))
