"""A packed model that the machine's maker has mapped into memory: nothing is read, everything is checked.

The header and the digest table are checked at once, the weights chunk by chunk when there is time: a small
model's before the kernel says that it is ready, the rest between requests and, at the latest, before the
machine shuts down. So a start costs no pass over the weights, and damage never goes unnoticed.
"""

from axiom.abi.packed_model import HEADER_BYTES, PackedHeader
from axiom.lang import (
    Slice,
    copy,
    fn,
    minimum,
    reinterpret,
    static_var,
    struct,
    struct_in,
    u8,
    u32,
    u64,
    zeroed,
)
from axiom.metal.arch.crc32c import crc32c_update
from axiom.metal.drivers.model_loader import LoadStatus, check_header

EAGER_BYTES = 16 << 20


@struct
class MappedWeights:
    """The weights, their digests, and how many chunks have been compared so far."""

    weights: Slice[u8]
    digests: Slice[u32]
    chunk_bytes: u64
    n_checked: u64
    damaged: bool

    @fn
    def all_checked(self) -> bool:
        """Tell whether there is nothing left to compare."""
        return self.n_checked == self.digests.length

    @fn
    def checked_bytes(self) -> u64:
        """Return how many bytes from the start on are known to be as they were packed."""
        return minimum(self.n_checked * self.chunk_bytes, self.weights.length)


mapped = static_var(zeroed(MappedWeights))


@fn(phase="init")
def open_mapped(
    scratch: Slice[u8], start: Slice[u8], weights: Slice[u8], weights_bytes: u64, layout_id: u64
) -> LoadStatus:
    """Check all but the weights of a mapped model, and the first EAGER_BYTES of these.

    scratch: a page of memory for the header. start: the file up to the weights. weights: the
    weights region, at least `weights_bytes` long.
    """
    page = scratch.part(0, HEADER_BYTES)
    copy(page, start.part(0, HEADER_BYTES))
    status = check_header(page, layout_id, weights_bytes, start.length + weights_bytes)
    if status != LoadStatus.OK:
        return status
    header = struct_in(PackedHeader, page, 0)
    table_bytes = u64(header.n_digests) * 4
    if header.weights_offset != start.length or header.digest_offset + table_bytes > start.length:
        return LoadStatus.CONTRADICTORY_HEADER
    table = start.part(header.digest_offset, table_bytes)
    if crc32c_update(u32(0), table) != header.digest_table_crc32c:
        return LoadStatus.DIGESTS_DAMAGED
    mapped.weights = weights.part(0, weights_bytes)
    mapped.digests = reinterpret(u32, table)
    mapped.chunk_bytes = u64(header.digest_chunk_bytes)
    mapped.n_checked = u64(0)
    mapped.damaged = False
    while not mapped.all_checked() and mapped.checked_bytes() < EAGER_BYTES:
        if not check_chunk():
            return LoadStatus.WEIGHTS_DAMAGED
    return LoadStatus.OK


@fn
def check_chunk() -> bool:
    """Compare the next chunk with its digest; False when it is damaged. There must be one left."""
    start = mapped.n_checked * mapped.chunk_bytes
    part = mapped.weights.part(start, minimum(mapped.weights.length - start, mapped.chunk_bytes))
    if crc32c_update(u32(0), part) != mapped.digests[mapped.n_checked]:
        mapped.damaged = True
        return False
    mapped.n_checked += 1
    return True
