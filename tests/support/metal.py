"""Tiny images for tests on a machine: build one from a few functions, and run it in QEMU."""

from pathlib import Path
from typing import Any

import pytest

from axiom.compiler.objects import compile_objects
from axiom.host.image.link_script import link
from axiom.host.machine.accelerator import kvm_obstacle
from axiom.metal.arch.assembly import ASSEMBLY
from axiom.metal.kernel.panic import exception_handler, panic_handler

ACCELERATORS = ("tcg", "kvm")


def require_accelerator(name: str) -> None:
    """Skip the test when this machine has no usable KVM and the test needs it."""
    if name == "kvm" and (obstacle := kvm_obstacle()):
        pytest.skip(f"KVM cannot be used: {obstacle}")


def build_image(path: Path, functions: list[Any], as_written: tuple[str, ...] = ()) -> Path:
    """Link the exported functions (`axiom_main` and `axiom_run` among them) into an image at `path`.

    as_written: packages whose functions are not optimised.
    """
    whole = [*functions, panic_handler, exception_handler]
    link(compile_objects(whole, list(ASSEMBLY), (), as_written=as_written), path)
    return path
