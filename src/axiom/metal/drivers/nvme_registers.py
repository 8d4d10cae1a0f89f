"""NVMe as it lies in registers and memory. Source: NVM Express Base Specification 2.0c.

Registers: section 3.1.3. Submission queue entry: 3.3.3.1. Completion queue entry: 3.3.3.2. Status field:
3.3.3.2.1. Opcodes: figures 138 (admin) and 346 of the NVM Command Set Specification 1.0c.
"""

from enum import IntEnum

from axiom.lang import at, mmio, struct, u16, u32, u64

ADMIN_ENTRIES = 16
IO_ENTRIES = 64
SUBMISSION_BYTES = 64
COMPLETION_BYTES = 16
PRP_LIST_BYTES = 4096
DEPTH = 16
DOORBELLS_OFFSET = 0x1000

ADMIN_SUBMISSION_OFFSET = 0
ADMIN_COMPLETION_OFFSET = 4096
IO_SUBMISSION_OFFSET = 8192
IO_COMPLETION_OFFSET = 12288
IDENTIFY_OFFSET = 16384
PRP_LISTS_OFFSET = 20480
DEVICE_QUEUE_BYTES = PRP_LISTS_OFFSET + DEPTH * PRP_LIST_BYTES

OPCODE_CREATE_SUBMISSION = 0x01
OPCODE_READ = 0x02
OPCODE_CREATE_COMPLETION = 0x05
OPCODE_IDENTIFY = 0x06
IDENTIFY_NAMESPACE = 0
IDENTIFY_CONTROLLER = 1
QUEUE_CONTIGUOUS = 1
FIRST_NAMESPACE = 1

CC_ENABLE = 1
CC_ENTRY_SIZES = (6 << 16) | (4 << 20)
CSTS_READY = 1
CSTS_FATAL = 2
ABSENT = 0xFFFFFFFF

CAP_MQES_MASK = 0xFFFF
CAP_TO_SHIFT = 24
CAP_DSTRD_SHIFT = 32
CAP_CSS_NVM_SHIFT = 37
CAP_MPSMIN_SHIFT = 48
TIMEOUT_UNIT_MS = 500

IDENTIFY_MDTS = 77
IDENTIFY_FLBAS = 26
IDENTIFY_LBA_FORMATS = 128


class NvmeStatus(IntEnum):
    """How it went; each failure names the register or the command that did not answer."""

    OK = 0
    CSTS_STAYED_READY = 1
    CSTS_NOT_READY = 2
    CSTS_FATAL = 3
    IDENTIFY_CONTROLLER_TIMEOUT = 4
    IDENTIFY_NAMESPACE_TIMEOUT = 5
    CREATE_COMPLETION_QUEUE_TIMEOUT = 6
    CREATE_SUBMISSION_QUEUE_TIMEOUT = 7
    READ_TIMEOUT = 8
    COMMAND_FAILED = 9
    PAGE_SIZE_NOT_OFFERED = 10
    UNKNOWN_BLOCK_SIZE = 11
    OUT_OF_RANGE = 12
    REGISTERS_ABSENT = 13
    COMMAND_SET_NOT_OFFERED = 14
    NO_NAMESPACE = 15
    WRONG_COMMAND_ID = 16
    REGISTERS_TOO_SHORT = 17


@mmio
class NvmeRegisters:
    """The controller's registers."""

    CAP: u64 = at(0x00)
    VS: u32 = at(0x08)
    INTMS: u32 = at(0x0C)
    CC: u32 = at(0x14)
    CSTS: u32 = at(0x1C)
    AQA: u32 = at(0x24)
    ASQ: u64 = at(0x28)
    ACQ: u64 = at(0x30)


@struct
class SubmissionEntry:
    """A command."""

    opcode: u16
    command_id: u16
    namespace_id: u32
    reserved: u64
    metadata: u64
    prp1: u64
    prp2: u64
    dword10: u32
    dword11: u32
    dword12: u32
    dword13: u32
    dword14: u32
    dword15: u32


@mmio
class CompletionEntry:
    """An answer; the lowest bit of STATUS is the phase tag."""

    RESULT: u32 = at(0)
    SUBMISSION_HEAD: u16 = at(8)
    SUBMISSION_ID: u16 = at(10)
    COMMAND_ID: u16 = at(12)
    STATUS: u16 = at(14)
