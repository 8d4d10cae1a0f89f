"""CRC-32C (Castagnoli) by the SSE4.2 instruction. Source: Intel SDM volume 2, CRC32; RFC 3720, B.4."""

from axiom.lang import Slice, fn, llvm_intrinsic, load_bytes, truncate, u8, u32, u64, urange

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


@llvm_intrinsic("llvm.x86.sse42.crc32.32.8")
def crc32c_byte(crc: u32, byte: u8) -> u32:
    """Take one byte into a CRC."""
    return u32(_TABLE[(crc.value ^ byte.value) & 255] ^ crc.value >> 8)


@llvm_intrinsic("llvm.x86.sse42.crc32.64.64")
def crc32c_word(crc: u64, word: u64) -> u64:
    """Take eight bytes into a CRC."""
    value = u32(crc.value & 0xFFFFFFFF)
    for byte in word.value.to_bytes(8, "little"):
        value = crc32c_byte(value, u8(byte))
    return u64(value.value)


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
