"""CRC-32C (Castagnoli) by the instruction of SSE4.2 or of AArch64.

The instruction takes three cycles and one can begin in each, so that long data are taken in three streams.
A CRC is linear: that of A followed by B is what A's state becomes over as many zeros as B has bytes,
exclusive or B's own from a state of zero. For zeros of one length that step is four look-ups.

Sources: Intel SDM volume 2, CRC32; Arm Architecture Reference Manual, CRC32CB and CRC32CX; RFC 3720, B.4.
"""

from axiom.lang import (
    Slice,
    current_target,
    fn,
    llvm_intrinsic,
    load_bytes,
    table,
    truncate,
    u8,
    u32,
    u64,
    urange,
)

POLYNOMIAL = 0x82F63B78


def _table() -> tuple[int, ...]:
    entries: list[int] = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = value >> 1 ^ (POLYNOMIAL if value & 1 else 0)
        entries.append(value)
    return tuple(entries)


_TABLE = _table()
N_STREAMS = 3
STREAM_BYTES = 4096


def _applied(columns: list[int], state: int) -> int:
    """Return what a linear map makes of a state; columns: what it makes of each bit."""
    made = 0
    for column in columns:
        made ^= column if state & 1 else 0
        state >>= 1
    return made


def _over_zeros(n_bytes: int) -> list[int]:
    """Return what so many bytes of zero make of a state, by its bytes, the lowest first: 4 tables of 256.

    n_bytes: a power of two.
    """
    columns = [_TABLE[1 << bit & 255] ^ 1 << bit >> 8 for bit in range(32)]
    for _ in range(n_bytes.bit_length() - 1):
        columns = [_applied(columns, column) for column in columns]
    entries: list[int] = []
    for place in range(4):
        part = [0] * 256
        for byte in range(1, 256):
            lowest = byte & -byte
            part[byte] = part[byte ^ lowest] ^ columns[8 * place + lowest.bit_length() - 1]
        entries += part
    return entries


_STREAM_OF_ZEROS = table(u32, _over_zeros(STREAM_BYTES))


def _byte_taken(crc: u32, byte: u8) -> u32:
    return u32(_TABLE[(crc.value ^ byte.value) & 255] ^ crc.value >> 8)


def _word_taken(crc: u32, word: u64) -> u32:
    for byte in word.value.to_bytes(8, "little"):
        crc = _byte_taken(crc, u8(byte))
    return crc


@llvm_intrinsic("llvm.x86.sse42.crc32.32.8")
def crc32_byte(crc: u32, byte: u8) -> u32:
    """Take one byte into a CRC (SSE4.2 CRC32)."""
    return _byte_taken(crc, byte)


@llvm_intrinsic("llvm.x86.sse42.crc32.64.64")
def crc32_word(crc: u64, word: u64) -> u64:
    """Take eight bytes into a CRC (SSE4.2 CRC32)."""
    return u64(_word_taken(u32(crc.value & 0xFFFFFFFF), word).value)


@llvm_intrinsic("llvm.aarch64.crc32cb")
def crc32cb(crc: u32, byte: u32) -> u32:
    """Take one byte, the lowest of a word, into a CRC (AArch64 CRC32CB)."""
    return _byte_taken(crc, u8(byte.value & 255))


@llvm_intrinsic("llvm.aarch64.crc32cx")
def crc32cx(crc: u32, word: u64) -> u32:
    """Take eight bytes into a CRC (AArch64 CRC32CX)."""
    return _word_taken(crc, word)


@fn(inline="always")
def crc32c_byte(crc: u32, byte: u8) -> u32:
    """Take one byte into a CRC."""
    if current_target().architecture == "aarch64":
        return crc32cb(crc, u32(byte))
    return crc32_byte(crc, byte)


@fn(inline="always")
def crc32c_word(crc: u64, word: u64) -> u64:
    """Take eight bytes into a CRC."""
    if current_target().architecture == "aarch64":
        return u64(crc32cx(truncate(u32, crc), word))
    return crc32_word(crc, word)


@fn(inline="always")
def _past_stream(state: u64) -> u64:
    """Return what STREAM_BYTES of zero make of a state."""
    low = _STREAM_OF_ZEROS[state & 255] ^ _STREAM_OF_ZEROS[256 + (state >> 8 & 255)]
    high = _STREAM_OF_ZEROS[512 + (state >> 16 & 255)] ^ _STREAM_OF_ZEROS[768 + (state >> 24 & 255)]
    return u64(low ^ high)


@fn(inline="always")
def _streams_taken(state: u64, data: Slice[u8]) -> u64:
    """Take N_STREAMS streams of bytes, which is what `data` holds."""
    first = state
    second = u64(0)
    third = u64(0)
    for i in urange(u64(STREAM_BYTES // 8)):
        first = crc32c_word(first, load_bytes(u64, data, i * 8))
        second = crc32c_word(second, load_bytes(u64, data, i * 8 + STREAM_BYTES))
        third = crc32c_word(third, load_bytes(u64, data, i * 8 + 2 * STREAM_BYTES))
    return _past_stream(_past_stream(first) ^ second) ^ third


@fn
def crc32c_update(crc: u32, data: Slice[u8]) -> u32:
    """Continue a CRC-32C over more bytes; start with 0. Equal to `google_crc32c.extend`."""
    state = u64(~crc)
    size = u64(N_STREAMS * STREAM_BYTES)
    blocks = data.length // size
    for block in urange(blocks):
        state = _streams_taken(state, data.part(block * size, size))
    words = data.length // 8
    for i in urange(blocks * (size // 8), words):
        state = crc32c_word(state, load_bytes(u64, data, i * 8))
    short = truncate(u32, state)
    for i in urange(words * 8, data.length):
        short = crc32c_byte(short, data[i])
    return ~short
