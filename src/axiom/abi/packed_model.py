"""The header of a packed model: one 4 KiB page in front of the digests and the weights."""

from axiom.lang import Array, array, struct, u8, u32, u64

PACKED_MAGIC = int.from_bytes(b"AXIOMPM1", "little")
PACKED_VERSION = 1
HEADER_BYTES = 4096
HEADER_CRC_OFFSET = 12


@struct
class PackedHeader:
    """All offsets count bytes from the start of the file.

    header_crc32c: CRC-32C of the whole header page with this field zero. layout_id: what an image was
    built for must equal it. The digest table holds one CRC-32C per chunk of the weights region.
    """

    magic: u64
    version: u32
    header_crc32c: u32
    layout_id: u64
    content_id: Array[u8] = array(u8, 32)
    weights_offset: u64
    weights_bytes: u64
    digest_offset: u64
    digest_chunk_bytes: u32
    n_digests: u32
    digest_table_crc32c: u32
    reserved: u32
    metadata_offset: u64
    metadata_bytes: u64
