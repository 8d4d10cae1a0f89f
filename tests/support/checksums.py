"""CRC-32C by an independent implementation, in a typed form."""

from collections.abc import Callable
from typing import Any, cast

import google_crc32c

_value = cast(Callable[[bytes], int], cast(Any, google_crc32c).value)


def crc32c(data: bytes) -> int:
    """Return the CRC-32C of `data`."""
    return _value(data)
