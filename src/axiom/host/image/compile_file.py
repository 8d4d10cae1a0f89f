"""Compile one file of the language, to look at what becomes of it."""

import importlib.util
import linecache
import re
import sys
import traceback
from pathlib import Path
from typing import Any, Literal, get_args

from axiom.compiler.diagnostics import CompileError
from axiom.compiler.frontend.calls import parameter_patterns
from axiom.compiler.frontend.context import function_scope
from axiom.compiler.llvm.debug import PACKAGE_PARENT, SOURCE_ROOT
from axiom.compiler.objects import compile_kept, compile_listing, compile_unoptimised
from axiom.compiler.types import Type
from axiom.host.errors import ProgramError, UserError
from axiom.lang import AARCH64, BASELINE, NEOVERSE_N1, X86_64_V3, X86_64_V4_AMX, X86_64_V4_VNNI
from axiom.lang.functions import Function

Form = Literal["ir", "asm", "obj", "listing"]
ALL_TARGETS = (BASELINE, X86_64_V3, X86_64_V4_VNNI, X86_64_V4_AMX, AARCH64, NEOVERSE_N1)
TARGETS = {target.name: target for target in ALL_TARGETS}
_FILE = re.compile(r'^\s*\.file\s+(?P<number>\d+) "(?P<folder>[^"]*)"(?: "(?P<name>[^"]*)")?')
_LINE = re.compile(r"^\s*\.loc\s+(?P<file>\d+) (?P<line>\d+)")


def compile_file(path: Path, form: str, processor: str, level: int) -> bytes:
    """Return what becomes of the functions of a file that have a run-time type for every parameter.

    form: `ir` is the text that LLVM is given, `asm` its assembly, `listing` the same below the lines of
    Python that it comes from, `obj` an ELF object. Raises ProgramError, or UserError for a bad request.
    """
    if form not in get_args(Form):
        raise UserError(f"there is no form {form!r}.", f"choose one of {', '.join(get_args(Form))}")
    if processor not in TARGETS:
        raise UserError(f"there is no processor {processor!r}.", f"choose one of {', '.join(TARGETS)}")
    functions, target = _functions(path), TARGETS[processor]
    try:
        if form == "obj":
            return compile_kept(functions, target, level)
        if form == "ir":
            return compile_unoptimised(functions, target).encode()
        listing = compile_listing(functions, target, level)
    except CompileError as error:
        raise ProgramError(str(error)) from None
    return (listing if form == "asm" else interleave(listing)).encode()


def _functions(path: Path) -> list[Any]:
    """Run a file as a module; return its functions that can be compiled by themselves."""
    if not path.is_file():
        raise UserError(f"there is no file {path}.")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise UserError(f"{path} is not a Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(path.stem, module)
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise ProgramError(f"{path}:{error.lineno}: error: {error.msg}") from None
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        line = next((f.lineno for f in reversed(frames) if Path(f.filename) == path), 0)
        raise ProgramError(f"{path}:{line}: error: {type(error).__name__}: {error}") from None
    own = [f for f in vars(module).values() if isinstance(f, Function) and f.__module__ == path.stem]
    found = [f for f in own if _is_whole(f)]
    if not found:
        raise UserError(
            f"{path} has no function that can be compiled by itself.",
            "decorate one with @fn and give each of its parameters a run-time type",
        )
    return found


def _is_whole(function: Function) -> bool:
    patterns = parameter_patterns(function, function_scope(function))
    return all(isinstance(kind, Type) for _, kind in patterns)


def interleave(listing: str) -> str:
    """Put each line of Python above the instructions that it became, as a comment."""
    files: dict[str, str] = {}
    made: list[str] = []
    shown = ("", "")
    for line in listing.splitlines():
        if found := _FILE.match(line):
            folder, name = found["folder"], found["name"]
            path = f"{folder}/{name}" if name else folder
            files[found["number"]] = path.replace(SOURCE_ROOT, str(PACKAGE_PARENT), 1)
        elif found := _LINE.match(line):
            here = (found["file"], found["line"])
            file = files.get(found["file"], "")
            text = linecache.getline(file, int(found["line"])).rstrip()
            if here != shown and text:
                made.append(f"# {Path(file).name}:{found['line']}: {text}")
                shown = here
        elif not line.strip().startswith((".cfi", "#DEBUG_VALUE", "#", ".Ltmp", ".p2align")):
            made.append(line)
    end = next((i for i, line in enumerate(made) if line.strip().startswith(".section\t.debug")), len(made))
    return "\n".join(made[:end]) + "\n"
