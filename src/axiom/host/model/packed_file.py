"""The packed model file: header page, digest table, weights, metadata. The kernel reads all but the last.

Layout: abi/packed_model.py has the header. The metadata are a line of JSON whose first member is the
CRC-32C of all that follows it, and the tables of the vocabulary (vocabulary_table.py). The weights are
checked, chunk by chunk, by whoever loads them.
"""

import json
import struct
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, NamedTuple

import google_crc32c

from axiom.abi.model_shape import ModelShape, TensorSpec
from axiom.abi.packed_model import HEADER_BYTES, HEADER_CRC_OFFSET, PACKED_MAGIC, PACKED_VERSION
from axiom.host.model.vocabulary import Vocabulary
from axiom.host.model.vocabulary_table import (
    read_vocabulary_tables,
    vocabulary_facts,
    vocabulary_tables,
)
from axiom.host.serve.tokenizer import Tokenizer

DIGEST_CHUNK_BYTES = 2 << 20
WEIGHTS_ALIGN = 2 << 20
MAX_METADATA_BYTES = 256 << 20
_FORMAT = struct.Struct("<QIIQ32sQQQIIIIQQ")
_CRC_PREFIX, _CRC_DIGITS = b'{"crc32c": "', 8


class Header(NamedTuple):
    """The fields of abi.packed_model.PackedHeader that vary. Offsets count from the start of the file."""

    layout_id: int
    content_id: bytes
    weights_offset: int
    weights_bytes: int
    digest_offset: int
    n_digests: int
    digest_table_crc32c: int
    metadata_offset: int
    metadata_bytes: int

    def page(self) -> bytes:
        """Return the header page with its checksum."""
        packed = _FORMAT.pack(
            PACKED_MAGIC,
            PACKED_VERSION,
            0,
            self.layout_id,
            self.content_id,
            self.weights_offset,
            self.weights_bytes,
            self.digest_offset,
            DIGEST_CHUNK_BYTES,
            self.n_digests,
            self.digest_table_crc32c,
            0,
            self.metadata_offset,
            self.metadata_bytes,
        )
        page = bytearray(packed.ljust(HEADER_BYTES, b"\0"))
        struct.pack_into("<I", page, HEADER_CRC_OFFSET, google_crc32c.value(bytes(page)))
        return bytes(page)


def parse_header(page: bytes) -> Header | None:
    """Return the header of a page; None when it is damaged or of another kind."""
    if len(page) != HEADER_BYTES:
        return None
    fields = _FORMAT.unpack_from(page)
    magic, version, crc, layout_id, content_id, weights_offset, weights_bytes, digest_offset = fields[:8]
    chunk_bytes, n_digests, table_crc, _, metadata_offset, metadata_bytes = fields[8:]
    clean = bytearray(page)
    clean[HEADER_CRC_OFFSET : HEADER_CRC_OFFSET + 4] = bytes(4)
    if magic != PACKED_MAGIC or version != PACKED_VERSION or google_crc32c.value(bytes(clean)) != crc:
        return None
    if chunk_bytes != DIGEST_CHUNK_BYTES:
        return None
    return Header(
        layout_id,
        content_id,
        weights_offset,
        weights_bytes,
        digest_offset,
        n_digests,
        table_crc,
        metadata_offset,
        metadata_bytes,
    )


class ModelFacts(NamedTuple):
    """What is worth knowing of a model beside its weights.

    quantisation: how many matrices there are of each GGUF type.
    """

    name: str
    source_name: str
    quantisation: dict[str, int]
    chat_template: str | None
    vocabulary: Vocabulary


class PackedModel:
    """A packed model on disk. Tensor offsets count from the start of the weights region."""

    def __init__(
        self,
        path: Path,
        header: Header,
        shape: ModelShape,
        tensors: tuple[TensorSpec, ...],
        facts: ModelFacts,
    ) -> None:
        self.path, self.header, self.shape, self.tensors, self.facts = path, header, shape, tensors, facts

    @property
    def layout_id(self) -> int:
        """What an image must be built for."""
        return self.header.layout_id

    @property
    def content_id(self) -> bytes:
        """The SHA-256 of the GGUF file."""
        return self.header.content_id

    @property
    def weights_offset(self) -> int:
        """Where the weights region begins in the file."""
        return self.header.weights_offset

    @property
    def weights_bytes(self) -> int:
        """The size of the weights region, a multiple of 4 KiB."""
        return self.header.weights_bytes

    @property
    def name(self) -> str:
        """The model's own name."""
        return self.facts.name

    @property
    def source_name(self) -> str:
        """The name of the GGUF file."""
        return self.facts.source_name

    @property
    def quantisation(self) -> dict[str, int]:
        """How many matrices there are of each GGUF type."""
        return self.facts.quantisation

    @property
    def chat_template(self) -> str | None:
        """The Jinja template of conversations, when the model has one."""
        return self.facts.chat_template

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The model's tokenizer."""
        return Tokenizer(self.facts.vocabulary)


def read_packed(path: Path) -> PackedModel | None:
    """Open a packed model; None when it is missing, cut off, or damaged elsewhere than in its weights."""
    try:
        with path.open("rb") as file:
            header = parse_header(file.read(HEADER_BYTES))
            raw = None if header is None else _checked_metadata(file, header)
    except OSError:
        return None
    if header is None or raw is None:
        return None
    try:
        head, rest = raw
        line_bytes = rest.index(b"\n") + 1
        metadata = json.loads(head + rest[:line_bytes])
        shape = ModelShape(**metadata["shape"]).checked()
        tensors = tuple(TensorSpec(**entry) for entry in metadata["tensors"])
        facts = metadata["facts"]
        vocabulary = read_vocabulary_tables(facts.pop("vocabulary"), memoryview(rest)[line_bytes:])
        return PackedModel(path, header, shape, tensors, ModelFacts(**facts, vocabulary=vocabulary))
    except (ValueError, TypeError, KeyError):
        return None


def _checked_metadata(file: BinaryIO, header: Header) -> tuple[bytes, bytes] | None:
    """Return the metadata, up to their digest and from there on, when the file is whole.

    That is its size, its digest table and its metadata.
    """
    weights_end = header.weights_offset + header.weights_bytes
    size = file.seek(0, 2)
    if (
        header.metadata_offset != weights_end
        or not len(_CRC_PREFIX) + _CRC_DIGITS <= header.metadata_bytes <= MAX_METADATA_BYTES
        or header.n_digests != -(-header.weights_bytes // DIGEST_CHUNK_BYTES)
        or header.digest_offset + 4 * header.n_digests > header.weights_offset
        or size < -(-(weights_end + header.metadata_bytes) // WEIGHTS_ALIGN) * WEIGHTS_ALIGN
    ):
        return None
    file.seek(header.digest_offset)
    if google_crc32c.value(file.read(4 * header.n_digests)) != header.digest_table_crc32c:
        return None
    file.seek(header.metadata_offset)
    # In two parts: the second, of some megabytes, is not copied.
    start = len(_CRC_PREFIX) + _CRC_DIGITS
    head, rest = file.read(start), file.read(header.metadata_bytes - start)
    return (head, rest) if head == _CRC_PREFIX + _crc_digits(rest) else None


def metadata_bytes(shape: ModelShape, tensors: tuple[TensorSpec, ...], facts: ModelFacts) -> bytes:
    """Return the metadata as they are written."""
    named = facts._asdict() | {"vocabulary": vocabulary_facts(facts.vocabulary)}
    whole = {"shape": shape._asdict(), "tensors": [t._asdict() for t in tensors], "facts": named}
    line = json.dumps(whole, sort_keys=True).encode() + b"\n"
    rest = b'", ' + line[1:] + vocabulary_tables(facts.vocabulary)
    return _CRC_PREFIX + _crc_digits(rest) + rest


def _crc_digits(data: bytes) -> bytes:
    return format(google_crc32c.value(data), f"0{_CRC_DIGITS}x").encode()
