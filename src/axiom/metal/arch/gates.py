"""Gates to ring 0: the few things that ring 3 cannot do. Each costs tens of thousands of cycles on a
virtual machine nested in software, so they are for start-up and statistics only. Read first: `gate_stubs`.
"""

from axiom.lang import asm_value, fn, struct, truncate, u32, u64, unsafe
from axiom.metal.arch.gate_stubs import GATE_MAGIC, Gate

# R10 is cleared behind the gate, so that no later invalid opcode passes for one.
_INSTRUCTIONS = f"movl $${GATE_MAGIC}, %r10d; ud2; xorl %r10d, %r10d"
_CONSTRAINTS = "={rax},{rax},{rdi},{rsi},~{r10},~{rcx},~{rdx},~{cc},~{memory}"


@struct
class ProcessorLeaf:
    """What CPUID gave for one leaf."""

    eax: u32
    ebx: u32
    ecx: u32
    edx: u32


@fn
def _gate(gate: Gate, first: u64, second: u64) -> u64:
    # SAFETY: the stubs keep every register but RAX, RCX and RDX, and touch no memory but what the gate
    # is for.
    with unsafe:
        return asm_value(u64, _INSTRUCTIONS, _CONSTRAINTS, u64(gate), first, second)


@fn
def read_msr(register: u32) -> u64:
    """Read a model-specific register; one that does not exist is a general-protection fault."""
    return _gate(Gate.READ_MSR, u64(register), u64(0))


@fn
def write_msr(register: u32, value: u64) -> None:
    """Write a model-specific register."""
    _gate(Gate.WRITE_MSR, u64(register), value)


@fn
def load_page_tables(address: u64) -> None:
    """Load CR3, which also forgets every cached translation."""
    _gate(Gate.LOAD_CR3, address, u64(0))


@fn
def processor_leaf(leaf: u32, subleaf: u32) -> ProcessorLeaf:
    """Execute CPUID in ring 0 (in ring 3 a nested monitor may show another processor)."""
    low = _gate(Gate.CPUID_AB, u64(leaf), u64(subleaf))
    high = _gate(Gate.CPUID_CD, u64(leaf), u64(subleaf))
    return ProcessorLeaf(
        eax=truncate(u32, low),
        ebx=truncate(u32, low >> 32),
        ecx=truncate(u32, high),
        edx=truncate(u32, high >> 32),
    )


@fn
def enable_interrupts() -> None:
    """Set the interrupt flag."""
    _gate(Gate.INTERRUPTS_ON, u64(0), u64(0))


@fn
def disable_interrupts() -> None:
    """Clear the interrupt flag."""
    _gate(Gate.INTERRUPTS_OFF, u64(0), u64(0))


@fn
def ring0_stack_used(core: u32) -> u64:
    """Return how many bytes of a processor's ring-0 stack were ever used."""
    return _gate(Gate.RING0_STACK_USED, u64(core), u64(0))


@fn
def halt() -> None:
    """Stop the processor for good; never returns."""
    _gate(Gate.HALT, u64(0), u64(0))
