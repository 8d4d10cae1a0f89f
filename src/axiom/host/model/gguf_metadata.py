"""The key-value pairs of a GGUF file, asked for by kind: a missing or odd value is one clear sentence."""

import math
from collections.abc import Sequence
from typing import cast

from axiom.host.errors import UserError
from axiom.host.model.shown import shown


class Metadata:
    """Checked access to the values of a GGUF file. `source` names the file in errors.

    Every method raises UserError naming the key when its value is of another kind, or when it is absent
    and no default is given.
    """

    def __init__(self, source: str, values: dict[str, object]) -> None:
        self.source = source
        self._values = values

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def keys(self) -> Sequence[str]:
        """Return the keys in the order of the file."""
        return tuple(self._values)

    def integer(self, key: str, default: int | None = None) -> int:
        """Return a whole number."""
        value = self._value(key, default)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self._odd(key, value, "a whole number")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        """Return a finite number."""
        value = self._value(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise self._odd(key, value, "a finite number")
        return float(value)

    def flag(self, key: str, default: bool | None = None) -> bool:
        """Return a truth value."""
        value = self._value(key, default)
        if not isinstance(value, bool):
            raise self._odd(key, value, "true or false")
        return value

    def text(self, key: str, default: str | None = None) -> str:
        """Return a string."""
        value = self._value(key, default)
        if not isinstance(value, str):
            raise self._odd(key, value, "a string")
        return value

    def texts(self, key: str) -> list[str]:
        """Return an array of strings."""
        values = self._array(key)
        if not all(isinstance(value, str) for value in values):
            raise self._odd(key, values, "an array of strings")
        return cast(list[str], values)

    def integers(self, key: str) -> list[int]:
        """Return an array of whole numbers."""
        values = self._array(key)
        if not all(type(value) is int for value in values):
            raise self._odd(key, values, "an array of whole numbers")
        return cast(list[int], values)

    def numbers(self, key: str) -> list[float]:
        """Return an array of finite numbers."""
        values = self._array(key)
        if not all(isinstance(value, float) and math.isfinite(value) for value in values):
            raise self._odd(key, values, "an array of finite floating-point numbers")
        return cast(list[float], values)

    def _array(self, key: str) -> list[object]:
        value = self._value(key, None)
        if not isinstance(value, list):
            raise self._odd(key, value, "an array")
        return cast(list[object], value)

    def _value(self, key: str, default: object) -> object:
        value = self._values.get(key, default)
        if value is None:
            raise UserError(f"{self.source} lacks the key {key}; convert the model again.")
        return value

    def _odd(self, key: str, value: object, wanted: str) -> UserError:
        is_array = isinstance(value, list)
        what = f"an array of {len(cast(list[object], value))}" if is_array else shown(value)
        return UserError(f"{self.source}: the key {key} is {what}, and {wanted} is needed.")
