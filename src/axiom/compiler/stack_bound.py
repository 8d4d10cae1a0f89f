"""The most stack that each entry point of an image can use, from its machine code.

The code is read as `objdump` prints it: what each function pushes and reserves, and whom it calls,
assembly included. There is no recursion and no call of an address that is only known at run time, so that
the deepest path of the call graph is a bound. A function that breaks these rules is named. Interrupts have
a stack of their own and are not counted here.
"""

import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

_FUNCTION = re.compile(r"^[0-9a-f]+ <(?P<name>[^>]+)>:$")
_INSTRUCTION = re.compile(r"^\s*[0-9a-f]+:\t(?P<text>.*)$")
_TARGET = re.compile(r"^(?P<verb>call|j\w+)\s+[0-9a-f]+ <(?P<name>[^>+]+)(?P<inside>\+0x[0-9a-f]+)?>")
_RESERVE = re.compile(r"^sub\s+\$0x(?P<bytes>[0-9a-f]+),%rsp")
_RESERVE_BY_ADDRESS = re.compile(r"^lea\s+-0x(?P<bytes>[0-9a-f]+)\(%rsp\),%rsp")
_ALIGN = re.compile(r"^and\s+\$0x(?P<mask>[0-9a-f]+),%rsp")
_OTHER_CHANGE = re.compile(r"^(?:sub|lea|and)\s+.*,%rsp$")
_LEAVES = re.compile(r"^(?:ret|jmp|ud2|hlt|iret|sysret|call)")
_PADDING = re.compile(r"^(?:data16|cs |nop|int3|xchg\s+%ax,%ax)")
_WORD_BYTES = 8
_REGISTER_BITS = 64


class StackError(Exception):
    """The image cannot be read, or a function of it has no bound."""


@dataclass
class _Code:
    """What a function does to the stack, as far as its instructions say."""

    frame_bytes: int = 0
    callees: set[str] = field(default_factory=set[str])
    unbounded: str = ""


@dataclass(frozen=True)
class StackBound:
    """The bytes that an entry point can use, and the deepest path, with the frame of each function on it.

    A frame counts the return address that its caller pushed.
    """

    bytes: int
    path: tuple[tuple[str, int], ...]


def stack_bounds(
    image: Path, entries: list[str], switches: frozenset[str], last_resort: str
) -> dict[str, StackBound]:
    """Return the bound of each entry point. Raises StackError when there is none.

    switches: functions that leave the stack for another one. last_resort: the panic handler, which whatever
    it calls may enter once more before it gives up.
    """
    program = shutil.which("objdump")
    if program is None:
        raise StackError("`objdump` is not installed")
    command = [program, "-d", "--no-show-raw-insn", str(image)]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    if finished.returncode != 0:
        raise StackError(f"`objdump` could not read {image}: {finished.stderr.strip()}")
    functions = _read(finished.stdout)
    for entry in (*entries, last_resort):
        if entry not in functions:
            raise StackError(f"the image has no function `{entry}`")
    for code in functions.values():
        code.callees -= switches
    known = {last_resort: _twice(last_resort, functions)}
    for entry in entries:
        _measure(entry, functions, known, [])
    return {entry: known[entry] for entry in entries}


def _twice(name: str, functions: dict[str, _Code]) -> StackBound:
    """Return the bound of a function that is entered again, once, from the end of its deepest path."""
    inner: dict[str, StackBound] = {}
    others = {
        other: _Code(code.frame_bytes, code.callees - {name}, code.unbounded)
        for other, code in functions.items()
    }
    _measure(name, others, inner, [])
    once = inner[name]
    return StackBound(2 * once.bytes, once.path + once.path)


def _read(listing: str) -> dict[str, _Code]:
    functions: dict[str, _Code] = {}
    code = _Code()
    last = "ret"
    for line in listing.splitlines():
        if found := _FUNCTION.match(line):
            # Labels of assembly fall through into each other; a function of the compiler never does.
            if not _LEAVES.match(last):
                code.callees.add(found["name"])
            code = functions.setdefault(found["name"], _Code())
        elif found := _INSTRUCTION.match(line):
            text = found["text"].strip()
            if not _PADDING.match(text):
                last = text
                _take(code, text)
    return functions


def _take(code: _Code, text: str) -> None:
    """Add what one instruction does."""
    if found := _TARGET.match(text):
        if found["verb"] == "call" or not found["inside"]:
            code.callees.add(found["name"])
    elif text.startswith("call"):
        code.unbounded = f"it calls an address known only at run time: `{text}`"
    elif text.startswith("push"):
        code.frame_bytes += _WORD_BYTES
    elif found := _RESERVE.match(text) or _RESERVE_BY_ADDRESS.match(text):
        code.frame_bytes += int(found["bytes"], 16)
    elif found := _ALIGN.match(text):
        code.frame_bytes += (1 << _REGISTER_BITS) - int(found["mask"], 16) - _WORD_BYTES
    elif _OTHER_CHANGE.match(text) and not text.startswith("lea"):
        code.unbounded = f"it reserves an amount known only at run time: `{text}`"


def _measure(name: str, functions: dict[str, _Code], known: dict[str, StackBound], path: list[str]) -> None:
    if name in known:
        return
    if name in path:
        chain = " -> ".join([*path[path.index(name) :], name])
        raise StackError(f"the call graph has a cycle: {chain}")
    code = functions[name]
    if code.unbounded:
        raise StackError(f"`{name}` has no stack bound: {code.unbounded}")
    deepest = StackBound(0, ())
    for callee in sorted(code.callees - {name}):
        if callee in functions:
            _measure(callee, functions, known, [*path, name])
            deepest = max(deepest, known[callee], key=lambda bound: bound.bytes)
    own = code.frame_bytes + _WORD_BYTES
    known[name] = StackBound(own + deepest.bytes, ((name, own), *deepest.path))
