"""What LLVM is told of an architecture: its triple, its least processor, its data layout."""

import functools

import llvmlite.binding as llvm

from axiom.lang.targets import Target

TRIPLES = {"x86_64": "x86_64-unknown-none-elf", "aarch64": "aarch64-unknown-none-elf"}
_LEAST_PROCESSOR = {"x86_64": "x86-64", "aarch64": "generic"}
# What the optimiser knows of memory. On x86-64 that is LLVM's default: little-endian, pointers of 64 bits,
# natural alignment.
_LAYOUTS = {
    "aarch64": "e-m:e-p270:32:32-p271:32:32-p272:64:64-i8:8:32-i16:16:32-i64:64-i128:128-n32:64-S128-Fn32",
}


def triple_of(target: Target) -> str:
    """Return the triple of a machine with nothing beneath the program."""
    return TRIPLES[target.architecture]


def architecture_of(triple: str) -> str:
    """Return the architecture that a triple names."""
    return triple.partition("-")[0]


def least_processor(triple: str) -> str:
    """Return the processor of code that names none; functions name their own."""
    return _LEAST_PROCESSOR[architecture_of(triple)]


def layout_line(triple: str) -> list[str]:
    """Return the line of a module that gives its data layout, where it has one."""
    layout = _LAYOUTS.get(architecture_of(triple))
    return [] if layout is None else [f'target datalayout = "{layout}"']


@functools.cache
def start(architecture: str) -> None:
    """Initialise LLVM for an architecture, once."""
    if architecture == "x86_64":
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        llvm.initialize_native_asmparser()
    else:
        llvm.initialize_all_targets()
        llvm.initialize_all_asmprinters()
