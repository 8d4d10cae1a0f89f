"""A submission queue and its completion queue, shared with a controller that runs beside us.

The driver fills entries, then a release fence, then the doorbell. The controller writes a completion and
turns its phase tag last; the driver sees the tag, then an acquire fence, then reads the rest. Nobody
waits here. Source: NVM Express Base Specification 2.0c, sections 3.1.4 (doorbells) and 3.3.1 (queues).
"""

from axiom.lang import (
    Slice,
    acquire_fence,
    bytes_of,
    copy,
    fill_zero,
    fn,
    reinterpret,
    release_fence,
    struct,
    struct_in,
    u8,
    u16,
    u32,
    u64,
    volatile_store,
)
from axiom.metal.drivers.nvme_registers import (
    COMPLETION_BYTES,
    DOORBELLS_OFFSET,
    SUBMISSION_BYTES,
    CompletionEntry,
    SubmissionEntry,
)


@struct
class QueuePair:
    """Where the two queues and their doorbells lie, and how far they are."""

    submissions: Slice[u8]
    completions: Slice[u8]
    submission_doorbell: Slice[u32]
    completion_doorbell: Slice[u32]
    entries: u32
    tail: u32
    head: u32
    phase: u32


@struct
class Completion:
    """What the controller said about one command; `status` is 0 for success."""

    command_id: u32
    status: u32


@fn(phase="init")
def doorbell(registers: Slice[u8], index: u64, stride_bytes: u64) -> Slice[u32]:
    """Return a doorbell register: `index` is 2 * queue, + 1 for a completion queue."""
    return reinterpret(u32, registers.part(DOORBELLS_OFFSET + index * stride_bytes, 4))


@fn(phase="init")
def start_queue(queue: QueuePair, submissions: Slice[u8], completions: Slice[u8], entries: u32) -> None:
    """Empty both queues; a completion is new when its phase tag is 1 in the first round."""
    fill_zero(completions)
    queue.submissions = submissions.part(0, entries * SUBMISSION_BYTES)
    queue.completions = completions.part(0, entries * COMPLETION_BYTES)
    queue.entries = entries
    queue.tail = u32(0)
    queue.head = u32(0)
    queue.phase = u32(1)


@fn
def put_command(queue: QueuePair, entry: SubmissionEntry) -> u32:
    """Put a command in, unseen until `show_commands`; return its id, the place in the queue.

    The caller keeps fewer commands in flight than the queue has entries.
    """
    id = queue.tail
    entry.command_id = u16(id)
    copy(queue.submissions.part(id * SUBMISSION_BYTES, SUBMISSION_BYTES), bytes_of(entry))
    queue.tail = (id + 1) % queue.entries
    return id


@fn
def show_commands(queue: QueuePair) -> None:
    """Let the controller see all commands put in so far."""
    release_fence()
    volatile_store(queue.submission_doorbell, 0, queue.tail)


@fn
def take_completion(queue: QueuePair, taken: Completion) -> bool:
    """Take the next completion into `taken`; False when none has arrived."""
    entry = struct_in(CompletionEntry, queue.completions, queue.head * COMPLETION_BYTES)
    status = u32(entry.STATUS)
    if status & 1 != queue.phase:
        return False
    acquire_fence()
    taken.status = status >> 1
    taken.command_id = u32(entry.COMMAND_ID)
    queue.head = (queue.head + 1) % queue.entries
    if queue.head == 0:
        queue.phase = queue.phase ^ 1
    return True


@fn
def acknowledge(queue: QueuePair) -> None:
    """Give the places of taken completions back to the controller."""
    volatile_store(queue.completion_doorbell, 0, queue.head)
