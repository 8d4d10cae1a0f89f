"""The crash record: what a kernel that stopped leaves behind, in memory and on the serial line.

The record lies in a page of its own, which a reset does not clear. The serial form is lines between
`CRASH_BEGIN` and `CRASH_END`, each a name and hexadecimal words; host.machine.crash_report reads it.
"""

from enum import IntEnum

from axiom.lang import Array, array, struct, u8, u32, u64

CRASH_MAGIC = 0x4853415243_4D5841
CRASH_BEGIN = "AXIOM CRASH BEGIN"
CRASH_END = "AXIOM CRASH END"
MAX_FRAMES = 32
MESSAGE_BYTES = 160


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
    registers: Array[u64] = array(u64, 16)
    frames: Array[u64] = array(u64, MAX_FRAMES)
    message: Array[u8] = array(u8, MESSAGE_BYTES)
