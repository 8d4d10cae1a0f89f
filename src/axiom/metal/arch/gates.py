"""Gates to ring 0: the few things that ring 3 cannot do. Each costs tens of thousands of cycles on a
virtual machine nested in software, so they are for start-up and statistics only.
"""

from axiom.lang import asm_value, fn, struct, truncate, u32, u64, unsafe
from axiom.metal.arch.vectors import GATE_MAGIC

_CONSTRAINTS = "={rax},{rax},{rdi},{rsi},{r10},~{rcx},~{rdx},~{memory}"


@struct
class ProcessorLeaf:
    """What CPUID gave for one leaf."""

    eax: u32
    ebx: u32
    ecx: u32
    edx: u32


@fn
def _gate(number: u64, first: u64, second: u64) -> u64:
    # SAFETY: the stubs of `vectors` keep every register but RAX, RCX and RDX, and touch no memory but
    # what the gate is for.
    with unsafe:
        return asm_value(u64, "ud2", _CONSTRAINTS, number, first, second, u64(GATE_MAGIC))


@fn
def read_msr(register: u32) -> u64:
    """Read a model-specific register; one that does not exist is a general-protection fault."""
    return _gate(u64(1), u64(register), u64(0))


@fn
def write_msr(register: u32, value: u64) -> None:
    """Write a model-specific register."""
    _gate(u64(2), u64(register), value)


@fn
def load_page_tables(address: u64) -> None:
    """Load CR3, which also forgets every cached translation."""
    _gate(u64(3), address, u64(0))


@fn
def processor_leaf(leaf: u32, subleaf: u32) -> ProcessorLeaf:
    """Execute CPUID in ring 0 (in ring 3 a nested monitor may show another processor)."""
    low = _gate(u64(4), u64(leaf), u64(subleaf))
    high = _gate(u64(5), u64(leaf), u64(subleaf))
    return ProcessorLeaf(
        eax=truncate(u32, low),
        ebx=truncate(u32, low >> 32),
        ecx=truncate(u32, high),
        edx=truncate(u32, high >> 32),
    )


@fn
def enable_interrupts() -> None:
    """Set the interrupt flag."""
    _gate(u64(6), u64(0), u64(0))


@fn
def disable_interrupts() -> None:
    """Clear the interrupt flag."""
    _gate(u64(7), u64(0), u64(0))
