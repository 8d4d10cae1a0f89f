"""Structs to and from plain values, by the layout that the kernel uses."""

import struct

import pytest

from axiom.abi.link import MAX_EOS_IDS, StartMessage, TokenMessage
from axiom.host.machine.wire import Record
from axiom.lang import struct as language_struct
from axiom.lang import u8, u64, view_of


@language_struct
class Gappy:
    small: u8
    large: u64
    last: u8


def test_numbers_and_arrays_come_back() -> None:
    record = Record(StartMessage)
    data = record.pack(sequence_id=7, temperature=0.5, seed=1 << 63, eos_ids=(1, 2))
    fields = record.unpack(data)
    assert len(data) == record.bytes
    assert (fields["sequence_id"], fields["temperature"], fields["seed"]) == (7, 0.5, 1 << 63)
    assert fields["eos_ids"] == (1, 2) + (0,) * (MAX_EOS_IDS - 2)
    assert fields["top_k"] == 0


def test_gaps_between_fields_are_where_the_language_puts_them() -> None:
    data = Record(Gappy).pack(small=1, large=2, last=3)
    place = view_of(Gappy, bytearray(data))
    assert (int(place.small), int(place.large), int(place.last)) == (1, 2, 3)
    assert len(data) == 24


def test_wrong_names_and_short_data_are_errors() -> None:
    with pytest.raises(TypeError, match="no such fields: tokn"):
        Record(TokenMessage).pack(tokn=1)
    with pytest.raises(struct.error):
        Record(TokenMessage).unpack(bytes(23))
