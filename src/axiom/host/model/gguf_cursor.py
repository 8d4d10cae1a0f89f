"""Reading GGUF's primitive values from bytes that nobody vouches for.

Guarantees: never reads outside of the file, never makes more objects than the budget allows, and raises
nothing but UserError. Source: the GGUF specification in the ggml repository (docs/gguf.md).
"""

import mmap
import struct
from typing import cast

from gguf.constants import GGUFValueType

from axiom.host.errors import UserError
from axiom.host.model.shown import shown

MAX_HEAD_BYTES = 512 << 20  # metadata and tensor directory
MAX_ELEMENTS = 1 << 25  # of all arrays together
MAX_NESTING = 2
MAX_NAME_LENGTH = 256
SCALARS: dict[int, struct.Struct] = {
    int(kind): struct.Struct("<" + code)
    for kind, code in (
        (GGUFValueType.UINT8, "B"),
        (GGUFValueType.INT8, "b"),
        (GGUFValueType.UINT16, "H"),
        (GGUFValueType.INT16, "h"),
        (GGUFValueType.UINT32, "I"),
        (GGUFValueType.INT32, "i"),
        (GGUFValueType.FLOAT32, "f"),
        (GGUFValueType.BOOL, "?"),
        (GGUFValueType.UINT64, "Q"),
        (GGUFValueType.INT64, "q"),
        (GGUFValueType.FLOAT64, "d"),
    )
}
_STRING, _ARRAY = int(GGUFValueType.STRING), int(GGUFValueType.ARRAY)
_U32, _U64 = struct.Struct("<I"), struct.Struct("<Q")


class Cursor:
    """A position in a file that never leaves it. `what` names the thing being read, for errors."""

    def __init__(self, source: str, data: mmap.mmap) -> None:
        self.source, self.data, self.at = source, data, 0
        self.end = min(len(data), MAX_HEAD_BYTES)
        self._elements_left = MAX_ELEMENTS

    def fail(self, what: str) -> UserError:
        """Return the error that says what is wrong with the file."""
        return UserError(
            f"{self.source} is not a usable GGUF file: {what}.", "copy or download the file again"
        )

    @property
    def left(self) -> int:
        """Bytes that may still be read."""
        return self.end - self.at

    def take(self, count: int, what: str) -> bytes:
        """Read bytes."""
        if count > self.left:
            raise self.fail(f"it ends within {what} (at byte {self.at} of {len(self.data)})")
        start, self.at = self.at, self.at + count
        return self.data[start : self.at]

    def u32(self, what: str) -> int:
        """Read a 32-bit count or kind."""
        return cast(int, _U32.unpack(self.take(4, what))[0])

    def u64(self, what: str) -> int:
        """Read a 64-bit count or offset."""
        return cast(int, _U64.unpack(self.take(8, what))[0])

    def string(self, what: str) -> str:
        """Read a length and that many bytes of UTF-8."""
        try:
            return self.take(self.u64(what), what).decode()
        except UnicodeDecodeError:
            raise self.fail(f"{what} is not UTF-8") from None

    def name(self, what: str) -> str:
        """Read a string that is a name: short, printable, not empty, so that errors can show it."""
        name = self.string(what)
        if not 0 < len(name) <= MAX_NAME_LENGTH or not name.isprintable():
            raise self.fail(f"{what} is {shown(name)}; a short, printable name is needed")
        return name

    def value(self, what: str) -> object:
        """Read a kind and a value of it."""
        return self._value(self.u32(what), what, 0)

    def _value(self, kind: int, what: str, depth: int) -> object:
        scalar = SCALARS.get(kind)
        if scalar is not None:
            return scalar.unpack(self.take(scalar.size, what))[0]
        if kind == _STRING:
            return self.string(what)
        if kind == _ARRAY and depth < MAX_NESTING:
            return self._array(what, depth)
        raise self.fail(f"{what} has the unknown value type {kind}")

    def _array(self, what: str, depth: int) -> list[object]:
        kind, count = self.u32(what), self.u64(what)
        scalar = SCALARS.get(kind)
        least = scalar.size if scalar is not None else 8
        if count > self.left // least or count > self._elements_left:
            raise self.fail(f"{what} claims {count} elements, more than it can hold")
        self._elements_left -= count
        if scalar is not None:
            raw = self.take(count * scalar.size, what)
            return list(struct.unpack(f"<{count}{scalar.format[1:]}", raw))
        if kind == _STRING:
            return self._strings(count, what)
        return [self._value(kind, what, depth + 1) for _ in range(count)]

    def _strings(self, count: int, what: str) -> list[object]:
        # A vocabulary has 400,000 of them: the loop avoids a call for each.
        data, at, end, unpack = self.data, self.at, self.end, _U64.unpack_from
        made: list[object] = []
        try:
            for _ in range(count):
                if end - at < 8:
                    raise self.fail(f"it ends within {what}")
                (length,) = unpack(data, at)
                at += 8
                if length > end - at:
                    raise self.fail(f"it ends within {what}")
                made.append(data[at : at + length].decode())
                at += length
        except UnicodeDecodeError:
            raise self.fail(f"{what} holds a string that is not UTF-8") from None
        self.at = at
        return made
