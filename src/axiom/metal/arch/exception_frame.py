"""The interrupted state as the exception stubs of `vectors` leave it."""

from axiom.abi.crash import N_REGISTERS, REGISTER_NAMES
from axiom.lang import Array, array, fn, struct, struct_at, symbol_address, u64, unsafe

RBP = REGISTER_NAMES.index("rbp")


@struct
class ExceptionFrame:
    """What the processor pushed, CR2, the core's number, and the registers as in REGISTER_NAMES."""

    vector: u64
    error_code: u64
    instruction: u64
    code_segment: u64
    flags: u64
    stack_pointer: u64
    stack_segment: u64
    fault_address: u64
    core: u64
    registers: Array[u64] = array(u64, N_REGISTERS)


@fn
def exception_frame() -> ExceptionFrame:
    """Return a copy of the state at the exception that is being reported."""
    # SAFETY: the symbol names storage of exactly this layout, which the stubs fill for one processor only.
    with unsafe:
        return struct_at(ExceptionFrame, symbol_address("axiom_exception_frame"))
