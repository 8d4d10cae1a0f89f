"""`Vec[T]`: SIMD values of a fixed number of lanes.

The number of lanes is part of the compiled type, not of the Python one: functions that take vectors
are specialised for it. Integer lanes wrap; float lanes round to nearest even, each operation on its
own (nothing is contracted or reassociated). The oracle keeps the lanes in a NumPy array.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from axiom.lang.later import Later
from axiom.lang.layout import size_of
from axiom.lang.memory import Index, Slice
from axiom.lang.panic import Panic, PanicReason
from axiom.lang.primitive import primitive
from axiom.lang.scalars import Float, Scalar, u8

T = TypeVar("T")
U = TypeVar("U")
if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Lanes = NDArray[Any]
else:
    np, Lanes = Later("numpy"), Any


def dtype_of(element: Any) -> "np.dtype[Any]":
    """Return the NumPy type of a scalar type's lanes."""
    if element is bool:
        return np.dtype(np.bool_)
    kind = "f" if issubclass(element, Float) else "i" if element.signed else "u"
    return np.dtype(f"<{kind}{element.size_bytes}")


class Vec(Generic[T]):
    """A vector of scalars, or of bools (a mask, made by a comparison)."""

    __slots__ = ("data", "element")

    def __init__(self, element: Any, data: Lanes) -> None:
        self.element = element
        self.data = np.asarray(data, dtype_of(element))

    @property
    def lanes(self) -> int:
        """The number of lanes, a compile-time constant."""
        return len(self.data)

    def _other(self, other: "Vec[Any] | int | float") -> Lanes:
        if isinstance(other, Vec):
            if other.element is not self.element or len(other.data) != len(self.data):
                raise TypeError(f"{self!r} meets {other!r}")
            return other.data
        return np.full(len(self.data), other, dtype_of(self.element))

    def _map(self, operation: Callable[[Lanes, Lanes], Lanes], other: "Vec[T] | int | float") -> "Vec[T]":
        with np.errstate(all="ignore"):
            return Vec[T](self.element, operation(self.data, self._other(other)))

    def _compare(
        self, operation: Callable[[Lanes, Lanes], Lanes], other: "Vec[T] | int | float"
    ) -> "Vec[bool]":
        return Vec[bool](bool, operation(self.data, self._other(other)))

    def __add__(self, other: "Vec[T] | int | float") -> "Vec[T]":
        return self._map(np.add, other)

    def __sub__(self, other: "Vec[T] | int | float") -> "Vec[T]":
        return self._map(np.subtract, other)

    def __mul__(self, other: "Vec[T] | int | float") -> "Vec[T]":
        return self._map(np.multiply, other)

    def __truediv__(self, other: "Vec[T] | int | float") -> "Vec[T]":
        return self._map(np.divide, other)

    def __and__(self, other: "Vec[T] | int") -> "Vec[T]":
        return self._map(np.bitwise_and, other)

    def __or__(self, other: "Vec[T] | int") -> "Vec[T]":
        return self._map(np.bitwise_or, other)

    def __xor__(self, other: "Vec[T] | int") -> "Vec[T]":
        return self._map(np.bitwise_xor, other)

    def _shift(self, other: int) -> int:
        if not 0 <= other < 8 * size_of(self.element):
            raise Panic(PanicReason.SHIFT, f"{other}")
        return other

    def __lshift__(self, other: int) -> "Vec[T]":
        return self._map(np.left_shift, self._shift(other))

    def __rshift__(self, other: int) -> "Vec[T]":
        return self._map(np.right_shift, self._shift(other))

    def __neg__(self) -> "Vec[T]":
        with np.errstate(all="ignore"):
            return Vec[T](self.element, np.negative(self.data))

    def __invert__(self) -> "Vec[T]":
        return Vec[T](self.element, np.invert(self.data))

    def __lt__(self, other: "Vec[T] | int | float") -> "Vec[bool]":
        return self._compare(np.less, other)

    def __le__(self, other: "Vec[T] | int | float") -> "Vec[bool]":
        return self._compare(np.less_equal, other)

    def __gt__(self, other: "Vec[T] | int | float") -> "Vec[bool]":
        return self._compare(np.greater, other)

    def __ge__(self, other: "Vec[T] | int | float") -> "Vec[bool]":
        return self._compare(np.greater_equal, other)

    def __repr__(self) -> str:
        return f"Vec[{getattr(self.element, '__name__', self.element)}]{self.data.tolist()}"


def _read(element: Any, lanes: int, source: Slice[Any], offset: int) -> Vec[Any]:
    raw = np.frombuffer(source.place_memory.data, dtype_of(element), lanes, offset)
    return Vec[Any](element, raw.copy())


@primitive
def splat(element: type[T], lanes: int, value: T | int | float) -> Vec[T]:
    """Return a vector with every lane equal to `value`."""
    number: Any = value.value if isinstance(value, Scalar) else value
    return Vec[T](element, np.full(lanes, number, dtype_of(element)))


@primitive
def lane_numbers(element: type[T], lanes: int) -> Vec[T]:
    """Return the vector 0, 1, 2, ..."""
    return Vec[T](element, np.arange(lanes, dtype=dtype_of(element)))


@primitive
def vload(source: Slice[T], index: Index, lanes: int) -> Vec[T]:
    """Load `lanes` elements from element `index`, of any alignment; panic when not all inside."""
    at = source.part(index, lanes)
    return _read(source.element, lanes, at, at.place_offset)


@primitive
def vstore(target: Slice[T], index: Index, value: Vec[T]) -> None:
    """Store a vector from element `index`, of any alignment; panic when not all inside."""
    at = target.part(index, len(value.data))
    raw = value.data.tobytes()
    at.place_memory.data[at.place_offset : at.place_offset + len(raw)] = raw


@primitive
def vload_bytes(element: type[T], lanes: int, source: Slice[u8], offset: Index) -> Vec[T]:
    """Load a vector from a byte offset, of any alignment; panic when not all inside."""
    at = source.part(offset, lanes * size_of(element))
    return _read(element, lanes, at, at.place_offset)


@primitive
def vstore_bytes(target: Slice[u8], offset: Index, value: Vec[Any]) -> None:
    """Store a vector at a byte offset, of any alignment; panic when not all inside."""
    raw = value.data.tobytes()
    at = target.part(offset, len(raw))
    at.place_memory.data[at.place_offset : at.place_offset + len(raw)] = raw


@primitive
def convert(element: type[U], value: Vec[Any]) -> Vec[U]:
    """Convert every lane.

    Integer to integer keeps the low bits; integer to float and float to float round to nearest
    even; float to `i32` cuts towards zero, NaN gives 0, and what is outside gives the nearest of
    -2**31 and 2147483520 (the largest f32 below 2**31). Float to other integers is not offered.
    """
    data = value.data
    if value.data.dtype.kind == "f" and dtype_of(element).kind != "f":
        clean = np.nan_to_num(data, nan=0.0, posinf=2147483520.0, neginf=-2147483648.0)
        data = np.trunc(np.clip(clean, -2147483648.0, 2147483520.0))
    with np.errstate(all="ignore"):
        return Vec[U](element, data.astype(dtype_of(element)))


@primitive
def shuffle(value: Vec[T], lanes: Sequence[int]) -> Vec[T]:
    """Return the lanes of `value` that the compile-time sequence names, in its order."""
    return Vec[T](value.element, value.data[np.array(list(lanes))])


@primitive
def concat(first: Vec[T], second: Vec[T]) -> Vec[T]:
    """Return the lanes of both, `first` in front."""
    return Vec[T](first.element, np.concatenate([first.data, second.data]))


@primitive
def select(mask: Vec[bool], yes: Vec[T], no: Vec[T]) -> Vec[T]:
    """Take each lane from `yes` where the mask is true, else from `no`."""
    return Vec[T](yes.element, np.where(mask.data, yes.data, no.data))


@primitive
def equal(first: Vec[T], second: Vec[T]) -> Vec[bool]:
    """Compare lane by lane."""
    return Vec[bool](bool, first.data == second.data)


@primitive
def extract(value: Vec[T], lane: int) -> T:
    """Return one lane; `lane` is a compile-time constant."""
    item: Any = value.element
    return item(value.data[lane].item())


@primitive
def reduce_add(value: Vec[T]) -> T:
    """Add the lanes pairwise: the upper half onto the lower half, until one is left.

    The order is part of the meaning, so that floats give the same bits everywhere. The number of
    lanes is a power of two.
    """
    data = value.data
    with np.errstate(all="ignore"):
        while len(data) > 1:
            half = len(data) // 2
            data = data[:half] + data[half:]
    item: Any = value.element
    return item(data[0].item())


@primitive
def reduce_max(value: Vec[T]) -> T:
    """Return the largest lane, pairwise as `reduce_add`, each step `maximum(upper, lower)`."""
    data = value.data
    while len(data) > 1:
        half = len(data) // 2
        data = np.where(data[half:] > data[:half], data[half:], data[:half])
    item: Any = value.element
    return item(data[0].item())


@primitive
def any_lane(mask: Vec[bool]) -> bool:
    """Tell whether any lane of a mask is true."""
    return bool(mask.data.any())
