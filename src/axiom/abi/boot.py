"""What the host plans and the kernel reports about start-up: regions, stages, counters, exit codes."""

from enum import IntEnum

from axiom.abi.exit_code import ExitCode as ExitCode
from axiom.lang import Array, array, struct, u32, u64

MAX_REGIONS = 20
MAX_LANES = 64
PERMIT_READ = 1
PERMIT_WRITE = 2
PERMIT_EXECUTE = 4
PAGE_BYTES = 4096
HUGE_PAGE_BYTES = 2 << 20
GIANT_PAGE_BYTES = 1 << 30
IMAGE_ADDRESS = 2 << 20
LANE_STACK_BYTES = 128 << 10
LANE_STACK_STRIDE = PAGE_BYTES + LANE_STACK_BYTES


class RegionKind(IntEnum):
    """What a region of physical memory is for, in the order in which they lie.

    LANE_STACKS lies before PAGE_TABLES: for each lane but the first a guard page and a stack above it.
    MODEL_HEADER lies before WEIGHTS where the machine's maker has mapped the packed model into memory: the
    file up to its weights.
    """

    RING0_CODE = 0
    RING0_DATA = 1
    IMAGE_CODE = 2
    IMAGE_RODATA = 3
    IMAGE_DATA = 4
    GUARD_BELOW = 5
    STACK = 6
    GUARD_ABOVE = 7
    PAGE_TABLES = 8
    CRASH_RECORD = 9
    LINK = 10
    ARENA = 11
    DEVICE_QUEUES = 12
    ACTIVATIONS = 13
    KV_CACHE = 14
    WEIGHTS = 15
    LANE_STACKS = 16
    MODEL_HEADER = 17


class BootStage(IntEnum):
    """Milestones of start-up, each with the cycle counter when it was reached."""

    ENTRY = 0
    RING3 = 1
    MEMORY_MAPPED = 2
    DEVICES_FOUND = 3
    DRIVE_READY = 4
    MODEL_LOADED = 5
    SEALED = 6
    READY = 7


class BootFailure(IntEnum):
    """Why the kernel refused to start; the detail number is beside it in the report."""

    NONE = 0
    PROCESSOR_TOO_OLD = 1
    NO_MEMORY_MAP = 2
    OUT_OF_MEMORY = 3
    REGION_MISPLACED = 4
    NO_ECAM = 5
    NO_DRIVE = 6
    DRIVE_FAILED = 7
    MODEL_REFUSED = 8
    CLOCK_UNKNOWN = 9


@struct
class RegionRequest:
    """A region that the plan asks for; `bytes` is a multiple of 4 KiB."""

    kind: RegionKind
    reserved: u32
    align: u64
    bytes: u64


@struct
class RegionRecord:
    """A region as it is: where, how long, mapped how."""

    kind: RegionKind
    permissions: u32
    address: u64
    bytes: u64
    page_bytes: u64


@struct
class RegionTable:
    """All regions in order of address."""

    count: u64
    records: Array[RegionRecord] = array(RegionRecord, MAX_REGIONS)


@struct
class BootReport:
    """Sent once, when the kernel is ready or has refused to start.

    n_lanes: how many processors work. lane_start_cycles: how long the others took to start. mapped: 1
    when the model was in memory already; then checked_bytes of its weights have been compared with
    their digests so far. drive_opcode, drive_status: the NVMe command that failed, and its status field.
    """

    failure: BootFailure
    failure_detail: u32
    tsc_hz: u64
    load_bytes: u64
    load_cycles: u64
    vector_bytes: u32
    giant_pages: u32
    n_lanes: u32
    mapped: u32
    lane_start_cycles: u64
    checked_bytes: u64
    drive_opcode: u32
    drive_status: u32
    stage_cycles: Array[u64] = array(u64, 8)
    regions: RegionTable


@struct
class Counters:
    """Everything that ever interrupted the kernel, and what the scheduler noticed.

    ..._stack_bytes: how much was ever used of a stack, for lanes and for ring 0 of the fullest one.
    """

    timer_interrupts: u64
    other_interrupts: u64
    exceptions: u64
    gate_calls: u64
    task_overruns: u64
    frames_received: u64
    frames_sent: u64
    frames_bad: u64
    refused_allocations: u64
    boot_stack_bytes: u64
    run_stack_bytes: u64
    lane_stack_bytes: u64
    ring0_stack_bytes: u64


def lane_stacks_bytes(n_lanes: int) -> int:
    """Return the length of the region of the other lanes' stacks."""
    return (n_lanes - 1) * LANE_STACK_STRIDE
