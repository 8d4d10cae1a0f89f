"""A program as several objects, each kept by its LLVM text, so that a change compiles only what it touches.

Functions of certain modules (large ones that others call, such as operations on matrices) become units: a
unit is one such function as its callers see it, with copies of what it calls. All else is one unit more.
Units without a kept object are compiled at the same time, each in a process of its own.
"""

import hashlib
import subprocess
import sys
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from os import cpu_count

from axiom.compiler import ir
from axiom.compiler.llvm.codegen import emit_object, llvm_version
from axiom.compiler.llvm.emit import emit_program
from axiom.compiler.object_cache import StoredObject, read_object, write_object


def split_texts(
    program: ir.Program,
    modules: Collection[str],
    triple: str,
    assembly: list[str],
    as_written: tuple[str, ...] = (),
) -> list[str]:
    """Return the LLVM text of each unit; the last is the one with the roots and the assembly.

    as_written: packages whose functions LLVM leaves as they are.
    """
    entries = {id(i): i for i in _entries(program, modules)}
    texts: list[str] = []
    for entry in list(entries.values()):
        entry.kept = True
        members = _reached(program, [entry], entries.keys() - {id(entry)})
        unit = ir.Program(members, [entry])
        module = emit_program(unit, triple, as_written=as_written)
        if module.has_state:
            # Storage that several functions change stays in one place.
            entry.kept = False
            del entries[id(entry)]
            continue
        texts.append(module.text())
    rest = ir.Program(_reached(program, program.roots, entries.keys()), program.roots)
    return [*texts, emit_program(rest, triple, assembly, as_written=as_written).text()]


def _entries(program: ir.Program, modules: Collection[str]) -> list[ir.Instance]:
    """Return the functions of `modules` that functions of other modules call."""
    found: dict[int, ir.Instance] = {}
    for caller in program.instances:
        for callee in caller.callees:
            home = callee.function.__module__
            inlined = callee.options.inline == "always" or callee.options.export
            if home in modules and home != caller.function.__module__ and not inlined:
                found[id(callee)] = callee
    return list(found.values())


def _reached(program: ir.Program, starts: list[ir.Instance], beyond: Collection[int]) -> list[ir.Instance]:
    """Return what `starts` reach without passing through `beyond`, in the program's order."""
    seen = {id(start) for start in starts}
    pending = list(starts)
    while pending:
        for callee in pending.pop().callees:
            if id(callee) not in seen and id(callee) not in beyond:
                seen.add(id(callee))
                pending.append(callee)
    return [instance for instance in program.instances if id(instance) in seen]


def compile_units(texts: list[str], triple: str, level: int) -> list[bytes]:
    """Return the object of each text, kept ones first of all."""

    def one(text: str) -> bytes:
        key = hashlib.sha256(f"{triple}|{level}|{llvm_version()}|{text}".encode()).hexdigest()[:40]
        kept = read_object(key)
        if kept is not None:
            return kept.data
        made = emit_object(text, triple, level) if text is texts[-1] else _in_process(text, triple, level)
        return write_object(key, StoredObject(made, [])).data

    # The largest first, and the rest of the program, which is compiled here, beside the others.
    order = sorted(range(len(texts)), key=lambda i: (i != len(texts) - 1, -len(texts[i])))
    with ThreadPoolExecutor(max_workers=max(2, cpu_count() or 1)) as pool:
        objects = dict(zip(order, pool.map(one, [texts[i] for i in order]), strict=True))
    return [objects[i] for i in range(len(texts))]


def _in_process(text: str, triple: str, level: int) -> bytes:
    """Compile in a process of its own: LLVM does one thing at a time in each."""
    command = [sys.executable, "-m", "axiom.compiler.llvm.worker", triple, str(level)]
    return subprocess.run(command, input=text.encode(), stdout=subprocess.PIPE, check=True).stdout
