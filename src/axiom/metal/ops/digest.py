"""A digest of logits that any change of a bit changes."""

from axiom.lang import Slice, f32, fn, reinterpret, u8, u32
from axiom.metal.arch.crc32c import crc32c_update


@fn
def logits_digest(digest: u32, logits: Slice[f32]) -> u32:
    """Return the CRC-32C `digest` (0 at first) continued over the bytes of the logits."""
    return crc32c_update(digest, reinterpret(u8, logits))
