"""Where the parts of the image lie, and linking it with GNU `ld`.

The image starts at `IMAGE_ADDRESS`. Each part begins on a page of its own, because the kernel gives each
its own permissions: ring 0's code and data first (out of ring 3's reach), then code, read-only data, data.
The symbols `axiom_<part>_start` and `axiom_<part>_end` tell the kernel where they are. Reference: PVH
(Xen's x86/HVM direct boot ABI), which finds the entry in a note of type 18 (XEN_ELFNOTE_PHYS32_ENTRY).
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from axiom.abi.boot import IMAGE_ADDRESS, PAGE_BYTES
from axiom.host.errors import MachineError

_PARTS = (
    ("ring0_code", ".ring0.text", "5", "*(.ring0.text)"),
    ("ring0_data", ".ring0.data", "6", "*(.ring0.data)"),
    ("code", ".text", "5", "*(.text .text.* .plt .iplt)"),
    ("rodata", ".rodata", "4", "*(.rodata .rodata.*)"),
    ("data", ".data", "6", "*(.data .data.* .got .got.plt .igot .igot.plt)"),
)
_DEBUG = (
    *("abbrev", "addr", "frame", "info", "line", "line_str", "loc", "loclists", "names"),
    *("pubnames", "pubtypes", "ranges", "rnglists", "str", "str_offsets"),
)
_TABLES = (".symtab", ".strtab", ".shstrtab")


def link_script() -> str:
    """Return the linker script of every image."""
    headers = [f"  {name} PT_LOAD FLAGS({flags});" for name, _, flags, _ in _PARTS]
    sections: list[str] = []
    for name, section, _, inputs in _PARTS:
        sections += [f"  . = ALIGN({PAGE_BYTES});", f"  axiom_{name}_start = .;"]
        sections.append(f"  {section} : {{ {inputs} }} :{name}")
        if name == "rodata":
            sections.append("  .note.pvh : { *(.note.pvh) } :rodata :note")
            sections.append("  .rela.dyn : { *(.rela.*) } :rodata")
        if name == "data":
            sections.append("  .bss : { *(.bss .bss.* COMMON) } :data")
        sections += [f"  . = ALIGN({PAGE_BYTES});", f"  axiom_{name}_end = .;"]
    debug = [f".debug_{name}" for name in _DEBUG]
    unloaded = [f"  {section} 0 : {{ *({section}) }}" for section in (*debug, *_TABLES)]
    return "\n".join(
        [
            "ENTRY(axiom_start32)",
            "PHDRS {",
            "  note PT_NOTE FLAGS(4);",
            *headers,
            "}",
            "SECTIONS {",
            f"  . = {IMAGE_ADDRESS:#x};",
            *sections,
            *unloaded,
            "  /DISCARD/ : { *(.comment .eh_frame .note.GNU-stack .llvm_addrsig) }",
            "}",
            'ASSERT(SIZEOF(.rela.dyn) == 0, "the image needs relocation at run time")',
            "",
        ]
    )


def link(objects: Sequence[bytes], output: Path) -> None:
    """Link ELF objects into an image at `output`; a symbol that is left undefined is an error.

    Raises MachineError when `ld` is missing or refuses.
    """
    program = shutil.which("ld")
    if program is None:
        raise MachineError(
            "the linker `ld` is not installed", "install binutils (apt-get install binutils)"
        )
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.name}-") as folder:
        place = Path(folder)
        script = place / "image.ld"
        script.write_text(link_script())
        inputs = [place / f"{number}.o" for number in range(len(objects))]
        for path, data in zip(inputs, objects, strict=True):
            path.write_bytes(data)
        made = place / "image.elf"
        options = ["-n", "--fatal-warnings", "--no-undefined", "--orphan-handling=error", "--build-id=none"]
        finished = subprocess.run(
            [program, *options, "-z", "noexecstack", "-T", script, "-o", made, *inputs],
            capture_output=True,
            text=True,
            check=False,
        )
        if finished.returncode != 0:
            raise MachineError(f"`ld` could not link the image: {_first_complaint(finished.stderr)}")
        os.replace(made, output)


def _first_complaint(text: str) -> str:
    """Return the first line of what `ld` said that names a cause."""
    lines = [line for line in text.splitlines() if line.strip()]
    for line in lines:
        if "undefined reference" in line:
            return line.split(": ", 1)[-1]
    return lines[0] if lines else "it gave no reason"
