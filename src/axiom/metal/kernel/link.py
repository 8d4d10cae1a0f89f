"""The kernel's end of the link: frames in and frames out over the two rings of the link region.

A frame whose checksum does not fit is answered and never acted on; the reader then looks for the next
magic number. A gap in the sequence numbers is answered too, and so is a frame that begins and does not
go on. Nothing more is taken in while such an answer waits for room. Frames out are sent whole or not at
all, so that a full ring only delays them. Over a serial port `kernel.serial_link` moves the same bytes
between the port and the rings. Read first: `abi.link`, `byte_ring`.
"""

from axiom.abi.link import (
    FRAME_MAGIC,
    HEADER_BYTES,
    LINK_BYTES,
    LINK_READY,
    MAX_REQUEST_PAYLOAD,
    REPLY_BYTES,
    REPLY_CONTROL_OFFSET,
    REPLY_OFFSET,
    REQUEST_BYTES,
    REQUEST_CONTROL_OFFSET,
    REQUEST_OFFSET,
    STATE_OFFSET,
    ErrorCode,
    ErrorMessage,
    FrameHeader,
    MessageType,
    RingControl,
)
from axiom.lang import (
    Array,
    Slice,
    array,
    bytes_of,
    fn,
    reinterpret,
    release_fence,
    static_var,
    struct,
    struct_in,
    u8,
    u16,
    u32,
    u64,
    volatile_store,
    wrapping_add,
    zeroed,
)
from axiom.metal.arch.crc32c import crc32c_update
from axiom.metal.kernel.byte_ring import (
    ring_drop_all,
    ring_free,
    ring_publish,
    ring_read,
    ring_take,
    ring_used,
    ring_write,
)
from axiom.metal.kernel.clock import has_passed, milliseconds, now_cycles

PARTIAL_FRAME_MS = 1000


@struct
class Link:
    """The link region, the frame received last, and what was counted so far.

    `owed` is an answer to a bad frame that found no room yet. `partial_bytes` is how much of an
    unfinished frame was there at `partial_since`.
    """

    memory: Slice[u8]
    kind: u32
    payload_bytes: u64
    next_received: u32
    next_sent: u32
    received: u64
    sent: u64
    bad: u64
    partial_bytes: u64
    partial_since: u64
    owed: ErrorMessage
    header: FrameHeader
    inbox: Array[u8] = array(u8, HEADER_BYTES + MAX_REQUEST_PAYLOAD)


link = static_var(zeroed(Link), align=64)


@fn
def start_link(memory: Slice[u8]) -> None:
    """Empty both rings and show the host that the link is ready. `memory` is the LINK region."""
    assert memory.length >= LINK_BYTES, "the link region is too short"
    link.memory = memory
    link.next_received = u32(0)
    link.next_sent = u32(0)
    link.received = u64(0)
    link.sent = u64(0)
    link.bad = u64(0)
    link.partial_bytes = u64(0)
    link.owed.code = u32(0)
    request = struct_in(RingControl, link.memory, REQUEST_CONTROL_OFFSET)
    request.HEAD = u32(0)
    request.TAIL = u32(0)
    reply = struct_in(RingControl, link.memory, REPLY_CONTROL_OFFSET)
    reply.HEAD = u32(0)
    reply.TAIL = u32(0)
    release_fence()
    volatile_store(reinterpret(u32, link.memory.part(STATE_OFFSET, 4)), 0, u32(LINK_READY))


@fn
def payload() -> Slice[u8]:
    """Return the payload of the frame received last."""
    return link.inbox.all.part(HEADER_BYTES, link.payload_bytes)


@fn
def _padded(count: u64) -> u64:
    return (count + 3) & ~u64(3)


@fn
def poll_frame() -> bool:
    """Take the next frame, if a whole and good one has arrived; it is then in `link.kind`, `payload()`."""
    control = struct_in(RingControl, link.memory, REQUEST_CONTROL_OFFSET)
    data = link.memory.part(REQUEST_OFFSET, REQUEST_BYTES)
    while _settle():
        waiting = ring_used(control, u64(REQUEST_BYTES))
        if waiting == 0:
            return False
        if waiting > REQUEST_BYTES:
            ring_drop_all(control)
            _answer_bad_frame()
        elif waiting < HEADER_BYTES:
            if not _has_stalled(waiting):
                return False
            _reject(control, data)
        else:
            ring_read(control, data, link.inbox.all.part(0, HEADER_BYTES))
            header = struct_in(FrameHeader, link.inbox.all, 0)
            length = u64(header.length)
            possible = header.magic == FRAME_MAGIC and length <= MAX_REQUEST_PAYLOAD
            if possible and waiting < HEADER_BYTES + _padded(length) and not _has_stalled(waiting):
                return False
            if possible and waiting >= HEADER_BYTES + _padded(length):
                ring_read(control, data, link.inbox.all.part(0, HEADER_BYTES + length))
                if _accept(length):
                    ring_take(control, HEADER_BYTES + _padded(length))
                    link.partial_bytes = u64(0)
                    return True
            _reject(control, data)
    return False


@fn
def _has_stalled(waiting: u64) -> bool:
    """Tell whether an unfinished frame has got no byte longer for PARTIAL_FRAME_MS."""
    if waiting != link.partial_bytes:
        link.partial_bytes = waiting
        link.partial_since = now_cycles()
        return False
    return has_passed(link.partial_since, milliseconds(u64(PARTIAL_FRAME_MS)))


@fn
def _accept(length: u64) -> bool:
    """Check the frame in the inbox; note it as received when it is good.

    The header was read again with the payload, so its length is compared again: the writer may be
    out of its mind.
    """
    header = struct_in(FrameHeader, link.inbox.all, 0)
    told = header.crc
    header.crc = u32(0)
    if crc32c_update(u32(0), link.inbox.all.part(0, HEADER_BYTES + length)) != told:
        return False
    if header.magic != FRAME_MAGIC or u64(header.length) != length:
        return False
    if header.sequence != link.next_received:
        link.bad += 1
        _owe(ErrorCode.LOST_FRAME, u64(link.next_received))
    link.next_received = wrapping_add(header.sequence, u32(1))
    link.kind = u32(header.kind)
    link.payload_bytes = length
    link.received += 1
    return True


@fn
def _reject(control: RingControl, data: Slice[u8]) -> None:
    """Answer a bad frame and look for the next magic number behind its first byte."""
    link.partial_bytes = u64(0)
    ring_take(control, u64(1))
    found = False
    while not found:
        waiting = ring_used(control, u64(REQUEST_BYTES))
        if waiting == 0 or waiting > REQUEST_BYTES or _may_be_magic(control, data, waiting):
            found = True
        else:
            ring_take(control, u64(1))
    _answer_bad_frame()


@fn
def _may_be_magic(control: RingControl, data: Slice[u8], waiting: u64) -> bool:
    """Tell whether the waiting bytes start with the magic number, or with the first byte of it alone."""
    ring_read(control, data, link.inbox.all.part(0, 1))
    if link.inbox[0] != FRAME_MAGIC & 0xFF or waiting == 1:
        return link.inbox[0] == FRAME_MAGIC & 0xFF
    ring_read(control, data, link.inbox.all.part(0, 2))
    return link.inbox[1] == FRAME_MAGIC >> 8


@fn
def _answer_bad_frame() -> None:
    link.bad += 1
    _owe(ErrorCode.BAD_FRAME, u64(link.next_received))


@fn
def _owe(code: ErrorCode, detail: u64) -> None:
    link.owed.code = u32(code)
    link.owed.detail = detail
    _settle()


@fn
def _settle() -> bool:
    """Send the answer that is owed, if any; False when there is still no room for it."""
    if link.owed.code != u32(ErrorCode.NONE):
        if not send_frame(MessageType.ERROR, bytes_of(link.owed), link.memory.part(0, 0)):
            return False
        link.owed.code = u32(ErrorCode.NONE)
    return True


@fn
def has_room(count: u64) -> bool:
    """Tell whether a frame with that many payload bytes can be sent now."""
    return ring_free(
        struct_in(RingControl, link.memory, REPLY_CONTROL_OFFSET), u64(REPLY_BYTES)
    ) >= HEADER_BYTES + _padded(count)


@fn
def send_frame(kind: MessageType, first: Slice[u8], second: Slice[u8]) -> bool:
    """Send a frame whose payload is two parts after each other; False when there is no room now."""
    length = first.length + second.length
    assert HEADER_BYTES + _padded(length) <= REPLY_BYTES, "a frame is longer than its ring"
    if not has_room(length):
        return False
    header = link.header
    header.magic = u16(FRAME_MAGIC)
    header.kind = u16(u32(kind))
    header.length = u32(length)
    header.sequence = link.next_sent
    header.crc = u32(0)
    crc = crc32c_update(u32(0), bytes_of(header))
    header.crc = crc32c_update(crc32c_update(crc, first), second)
    control = struct_in(RingControl, link.memory, REPLY_CONTROL_OFFSET)
    data = link.memory.part(REPLY_OFFSET, REPLY_BYTES)
    at = ring_write(data, control.HEAD, bytes_of(header))
    at = ring_write(data, at, first)
    at = ring_write(data, at, second)
    ring_publish(control, wrapping_add(at, u32(_padded(length) - length)))
    link.next_sent = wrapping_add(link.next_sent, u32(1))
    link.sent += 1
    return True


@fn
def send_error(code: ErrorCode, sequence_id: u32, detail: u64) -> bool:
    """Tell the host what was not done; False when there is no room now."""
    message = ErrorMessage(code=u32(code), sequence_id=sequence_id, detail=detail)
    return send_frame(MessageType.ERROR, bytes_of(message), link.memory.part(0, 0))
