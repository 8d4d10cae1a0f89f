"""The crash record: what a kernel that stopped leaves behind, in memory and on the serial line.

The record lies in a page of its own, which a reset does not clear. The serial form is lines between
`CRASH_BEGIN` and `CRASH_END`, each a name and hexadecimal words:

    kind KIND REASON FIRST SECOND       of the panic: lang.PanicReason and its two values
    lane NUMBER                         which processor it happened on
    fault VECTOR ERROR_CODE ADDRESS     of the exception
    at INSTRUCTION STACK_POINTER
    frame RETURN_ADDRESS                innermost first; look it up at the address before it
    register NAME VALUE
    message TEXT
    stack BYTES                         of the stack for exceptions, all that was ever used

When reporting itself fails, one line says so: CRASH_AGAIN VECTOR INSTRUCTION. Both are read by
host.machine.crash_report.
"""

from enum import IntEnum

from axiom.lang import Array, array, struct, u8, u32, u64

CRASH_MAGIC = 0x4853415243_4D5841
CRASH_BEGIN = "AXIOM CRASH BEGIN"
CRASH_END = "AXIOM CRASH END"
CRASH_AGAIN = "AXIOM CRASH AGAIN"
MAX_FRAMES = 32
MESSAGE_BYTES = 160
REGISTER_NAMES = (
    "rax",
    "rbx",
    "rcx",
    "rdx",
    "rsi",
    "rdi",
    "rbp",
    "r8",
    "r9",
    "r10",
    "r11",
    "r12",
    "r13",
    "r14",
    "r15",
)
N_REGISTERS = len(REGISTER_NAMES)


class CrashKind(IntEnum):
    """What stopped the kernel."""

    NONE = 0
    PANIC = 1
    EXCEPTION = 2
    STALLED = 3


@struct
class CrashRecord:
    """Everything that a debugger wants first; unused words are zero."""

    magic: u64
    kind: CrashKind
    reason: u32
    first: u64
    second: u64
    vector: u64
    error_code: u64
    fault_address: u64
    instruction: u64
    stack_pointer: u64
    n_frames: u64
    message_bytes: u64
    lane: u64
    stack_bytes: u64
    registers: Array[u64] = array(u64, N_REGISTERS)
    frames: Array[u64] = array(u64, MAX_FRAMES)
    message: Array[u8] = array(u8, MESSAGE_BYTES)
