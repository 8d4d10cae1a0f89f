"""CRC-32C (Castagnoli) by the instruction of SSE4.2 or of AArch64.

Sources: Intel SDM volume 2, CRC32; Arm Architecture Reference Manual, CRC32CB and CRC32CX; RFC 3720, B.4.
"""

from axiom.lang import (
    Slice,
    current_target,
    fn,
    llvm_intrinsic,
    load_bytes,
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


@fn
def crc32c_update(crc: u32, data: Slice[u8]) -> u32:
    """Continue a CRC-32C over more bytes; start with 0. Equal to `google_crc32c.extend`."""
    state = u64(~crc)
    words = data.length // 8
    for i in urange(words):
        state = crc32c_word(state, load_bytes(u64, data, i * 8))
    short = truncate(u32, state)
    for i in urange(words * 8, data.length):
        short = crc32c_byte(short, data[i])
    return ~short
