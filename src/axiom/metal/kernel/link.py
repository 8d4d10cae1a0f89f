"""The kernel's end of the link: frames in and frames out over the two rings of the link region.

A frame whose checksum does not fit is answered and never acted on; the reader then looks for the next
magic number, one byte further on. A gap in the sequence numbers is answered too. Frames out are sent
whole or not at all, so that a full ring only delays them. Over a serial port `kernel.serial_link` moves
the same bytes between the port and the rings.
"""

from axiom.abi.link import (
    FRAME_MAGIC,
    HEADER_BYTES,
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
from axiom.metal.kernel.byte_ring import ring_publish, ring_read, ring_take, ring_used, ring_write


@struct
class Link:
    """The link region, the frame received last, and what was counted so far."""

    memory: Slice[u8]
    kind: u32
    payload_bytes: u64
    next_received: u32
    next_sent: u32
    received: u64
    sent: u64
    bad: u64
    header: FrameHeader
    inbox: Array[u8] = array(u8, HEADER_BYTES + MAX_REQUEST_PAYLOAD)


link = static_var(zeroed(Link), align=64)


@fn
def start_link(memory: Slice[u8]) -> None:
    """Empty both rings and show the host that the link is ready. `memory` is LINK_BYTES long."""
    link.memory = memory
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
    while True:
        waiting = ring_used(control, u64(REQUEST_BYTES))
        if waiting < HEADER_BYTES:
            return False
        ring_read(control, data, link.inbox.all.part(0, HEADER_BYTES))
        header = struct_in(FrameHeader, link.inbox.all, 0)
        length = u64(header.length)
        if header.magic != FRAME_MAGIC or length > MAX_REQUEST_PAYLOAD:
            _reject(control)
        else:
            total = HEADER_BYTES + _padded(length)
            if waiting < total:
                return False
            ring_read(control, data, link.inbox.all.part(0, HEADER_BYTES + length))
            if _accept(length):
                ring_take(control, total)
                return True
            _reject(control)


@fn
def _accept(length: u64) -> bool:
    """Check the frame in the inbox; note it as received when it is good."""
    header = struct_in(FrameHeader, link.inbox.all, 0)
    told = header.crc
    header.crc = u32(0)
    if crc32c_update(u32(0), link.inbox.all.part(0, HEADER_BYTES + length)) != told:
        return False
    if header.sequence != link.next_received:
        link.bad += 1
        send_error(ErrorCode.LOST_FRAME, u32(0), u64(header.sequence))
    link.next_received = wrapping_add(header.sequence, u32(1))
    link.kind = u32(header.kind)
    link.payload_bytes = length
    link.received += 1
    return True


@fn
def _reject(control: RingControl) -> None:
    """Answer a bad frame and look for the next one behind its first byte."""
    link.bad += 1
    send_error(ErrorCode.BAD_FRAME, u32(0), u64(link.next_received))
    data = link.memory.part(REQUEST_OFFSET, REQUEST_BYTES)
    ring_take(control, u64(1))
    searching = True
    while searching and ring_used(control, u64(REQUEST_BYTES)) >= 2:
        ring_read(control, data, link.inbox.all.part(0, 2))
        if reinterpret(u16, link.inbox.all.part(0, 2))[0] == FRAME_MAGIC:
            searching = False
        else:
            ring_take(control, u64(1))


@fn
def has_room(count: u64) -> bool:
    """Tell whether a frame with that many payload bytes can be sent now."""
    control = struct_in(RingControl, link.memory, REPLY_CONTROL_OFFSET)
    free = u64(REPLY_BYTES) - ring_used(control, u64(REPLY_BYTES))
    return free >= HEADER_BYTES + _padded(count)


@fn
def send_frame(kind: MessageType, first: Slice[u8], second: Slice[u8]) -> bool:
    """Send a frame whose payload is two parts after each other; False when there is no room now."""
    length = first.length + second.length
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
    """Tell the host what was not done."""
    message = ErrorMessage(code=u32(code), sequence_id=sequence_id, detail=detail)
    return send_frame(MessageType.ERROR, bytes_of(message), link.memory.part(0, 0))
