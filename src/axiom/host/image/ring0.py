"""Ring 0's stubs, as machine code: they stay among themselves and touch no vector register.

An interrupt comes between any two instructions. A stub saves what it uses itself, which is a few general
registers: it must not reach a function of Python, which would use vector registers, nor go where only the
program at run time knows. Handlers written in Python are checked by the compiler (`compiler.checks`).
"""

import re
import shutil
import subprocess
from pathlib import Path

from axiom.host.errors import MachineError

FIRST_STUB = "axiom_vectors"
SECTION = ".ring0.text"
_FUNCTION = re.compile(r"^[0-9a-f]+ <(?P<name>[^>]+)>:$")
_INSTRUCTION = re.compile(r"^\s*[0-9a-f]+:\t(?P<text>.*)$")
_TARGET = re.compile(r"^(?:lock )?(?:call|loop|j)\w*\s+[0-9a-f]+ <(?P<name>[^>+]+)")
_INDIRECT = re.compile(r"^(?:call|jmp)\s+\*")
_VECTOR_REGISTER = re.compile(r"%(?:[xyz]?mm\d|k[0-7]\b|st\b)")
_ENDS = re.compile(r"^(?:jmp|iret|ret|ud2|\(bad\))")


def check_ring0(image: Path) -> None:
    """Raise MachineError naming the stub that does what no stub may."""
    stubs = _read(image)
    pending, seen = [FIRST_STUB], {FIRST_STUB}
    while pending:
        name = pending.pop()
        if name not in stubs:
            raise MachineError(f"ring 0 of the image goes to `{name}`, which is not one of its stubs.")
        for text in stubs[name]:
            if _VECTOR_REGISTER.search(text):
                raise MachineError(f"the stub `{name}` of ring 0 touches a vector register: `{text}`.")
            if _INDIRECT.match(text):
                raise MachineError(f"the stub `{name}` of ring 0 goes where nothing is known: `{text}`.")
            target = _TARGET.match(text)
            if target and target["name"] not in seen:
                seen.add(target["name"])
                pending.append(target["name"])


def _read(image: Path) -> dict[str, list[str]]:
    """Return the instructions of each stub; one that runs into the next is made to jump there."""
    program = shutil.which("objdump")
    if program is None:
        raise MachineError("`objdump` is not installed", "install binutils (apt-get install binutils)")
    command = [program, "-d", "--no-show-raw-insn", "-j", SECTION, str(image)]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    if finished.returncode != 0:
        raise MachineError(f"`objdump` could not read {image}: {finished.stderr.strip()}")
    stubs: dict[str, list[str]] = {}
    code: list[str] = []
    for line in finished.stdout.splitlines():
        if found := _FUNCTION.match(line):
            if code and not _ENDS.match(code[-1]):
                code.append(f"jmp 0 <{found['name']}>")
            code = stubs.setdefault(found["name"], [])
        elif found := _INSTRUCTION.match(line):
            code.append(found["text"].strip())
    return stubs
