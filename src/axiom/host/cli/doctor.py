"""`axiom doctor`: what this computer offers, and what to do about what is missing."""

import shutil
import subprocess
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from axiom.host.errors import AxiomError
from axiom.host.image.plan import available_bytes
from axiom.host.machine.accelerator import kvm_obstacle
from axiom.host.machine.host_processor import hosted_target, processor_flags
from axiom.host.machine.machine import QEMU

APT = "apt-get install -y --no-install-recommends"
LEAST_BYTES = 512 << 20


def examine() -> int:
    """Print one line per need; return 0 when a model can run here, else 3."""
    table = Table("", "what", "found", "what to do", box=None, pad_edge=False)
    needed = [_qemu(), _binutils("ld"), _binutils("addr2line"), _processor(), _memory()]
    for good, *row in [*needed, _kvm(), _pages(), _gdb()]:
        table.add_row("ok" if good else "--", *map(escape, row))
    Console(highlight=False).print(table)
    return 0 if all(line[0] for line in needed) else 3


Line = tuple[bool, str, str, str]


def _qemu() -> Line:
    path = shutil.which(QEMU)
    if path is None:
        advice = f"for emulation, drives and axiom debug: {APT} qemu-system-x86"
        return not kvm_obstacle(), "QEMU", "not installed", advice
    version = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
    return True, "QEMU", version.splitlines()[0] if version else path, ""


def _binutils(program: str) -> Line:
    path = shutil.which(program)
    return path is not None, program, path or "not installed", "" if path else f"{APT} binutils"


def _processor() -> Line:
    try:
        target = hosted_target()
    except AxiomError as error:
        return False, "vectors", error.message, "use a processor of x86-64-v3 or later"
    tiles = " and matrix tiles" if target.has_tiles else ""
    return True, "vectors", f"{8 * target.vector_bytes} bits ({target.cpu}){tiles}", ""


def _memory() -> Line:
    free = available_bytes()
    return free >= LEAST_BYTES, "memory", f"{free >> 20} MiB available", ""


def _kvm() -> Line:
    obstacle = kvm_obstacle()
    if obstacle:
        return False, "KVM", obstacle, "without it the machine is emulated, slowly (TCG)"
    nested = "hypervisor" in processor_flags()
    pvm = Path("/sys/module/kvm_pvm").exists()
    kind = "PVM, nested in software" if pvm else "nested" if nested else "hardware"
    return True, "KVM", kind, ""


def _gdb() -> Line:
    path = shutil.which("gdb")
    return path is not None, "gdb", path or "not installed", "" if path else f"for axiom debug: {APT} gdb"


def _pages() -> Line:
    setting = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    text = setting.read_text().strip() if setting.exists() else "unknown"
    good = "[never]" not in text and text != "unknown"
    advice = "" if good else f"echo madvise > {setting}"
    return good, "huge pages", text, advice
