"""Structs of `axiom.abi` to and from plain Python values, by the one layout that the kernel uses."""

import struct
from typing import Any, cast

from axiom.lang.layout import (
    ArrayType,
    is_enum_type,
    is_scalar_type,
    size_of,
    struct_layout,
)


def _code(kind: Any) -> str:
    """Return the struct code of a number, or of an array of numbers."""
    if isinstance(kind, ArrayType):
        return f"{kind.count}{_code(kind.element)}"
    if is_enum_type(kind):
        return "I"
    if is_scalar_type(kind):
        return cast(str, kind.struct_code)[1:]
    raise TypeError(f"{kind!r} does not travel over the link")


class Record:
    """Packs and unpacks one `@struct` class of numbers and arrays of numbers."""

    def __init__(self, kind: type[Any]) -> None:
        layout = struct_layout(kind)
        if layout is None:
            raise TypeError(f"{kind!r} is not a struct")
        self.bytes = layout.size
        self._counts: dict[str, int] = {}
        codes = "<"
        end = 0
        for field in layout.fields.values():
            codes += "x" * (field.offset - end) + _code(field.type)
            end = field.offset + size_of(field.type)
            self._counts[field.name] = field.type.count if isinstance(field.type, ArrayType) else 0
        self._struct = struct.Struct(codes + "x" * (layout.size - end))

    def unpack(self, data: bytes | bytearray | memoryview, offset: int = 0) -> dict[str, Any]:
        """Return the fields by name; an array is a tuple. Raises struct.error when `data` is too short."""
        values = iter(self._struct.unpack_from(data, offset))
        return {
            name: tuple(next(values) for _ in range(count)) if count else next(values)
            for name, count in self._counts.items()
        }

    def pack(self, **fields: Any) -> bytes:
        """Return the bytes; what is not given is zero, and an array given short is filled with zeros."""
        flat: list[Any] = []
        for name, count in self._counts.items():
            if count:
                given = tuple(fields.pop(name, ()))
                flat += given + (0,) * (count - len(given))
            else:
                flat.append(fields.pop(name, 0))
        if fields:
            raise TypeError(f"no such fields: {', '.join(fields)}")
        return self._struct.pack(*flat)
