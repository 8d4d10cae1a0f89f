"""Scalars: `u8` .. `i64`, `f16`, `f32`, `f64`.

A scalar has a width and never changes its type silently. A Python `int` or `float` literal takes the
type of what it meets, if it fits. `+ - *` panic when the result does not fit; `wrapping_*` in
`axiom.lang.arithmetic` drop the carry on purpose. `T(x)` converts and panics when the value changes
(a float is cut towards zero first).
"""

import math
import struct
from typing import Any, ClassVar, Self, TypeVar

from axiom.lang.panic import Panic, PanicReason


class Scalar:
    """Base of every scalar; `value` is the Python number that it stands for."""

    __slots__ = ("value",)
    type_name: ClassVar[str] = "scalar"
    bits: ClassVar[int] = 0
    size_bytes: ClassVar[int] = 0
    struct_code: ClassVar[str] = ""

    value: Any

    def __init__(self, value: "int | float | Scalar" = 0) -> None:
        raise TypeError("choose a scalar of a stated width, such as u32 or f32")

    def __hash__(self) -> int:
        return hash(self.value)

    def __repr__(self) -> str:
        return f"{self.type_name}({self.value})"

    def __format__(self, spec: str) -> str:
        return format(self.value, spec)

    def __float__(self) -> float:
        return float(self.value)


class Integer(Scalar):
    """An integer of fixed width."""

    __slots__ = ()
    signed: ClassVar[bool] = False
    minimum: ClassVar[int] = 0
    maximum: ClassVar[int] = 0

    value: int

    def __init__(self, value: "int | float | Scalar" = 0) -> None:
        number = value.value if isinstance(value, Scalar) else value
        if isinstance(number, float):
            if not math.isfinite(number):
                raise Panic(PanicReason.CONVERSION, f"{number} to {self.type_name}")
            number = math.trunc(number)
        if not self.minimum <= number <= self.maximum:
            raise Panic(PanicReason.CONVERSION, f"{number} to {self.type_name}")
        self.value = int(number)

    def _operand(self, other: "Integer | int") -> int:
        if isinstance(other, Integer):
            if type(other) is not type(self):
                raise TypeError(f"{self.type_name} meets {other.type_name}: convert one of them")
            return other.value
        if not self.minimum <= other <= self.maximum:
            raise TypeError(f"constant {other} does not fit {self.type_name}")
        return int(other)

    def _result(self, number: int) -> Self:
        if not self.minimum <= number <= self.maximum:
            raise Panic(PanicReason.OVERFLOW, f"{number} in {self.type_name}")
        return type(self)(number)

    @classmethod
    def wrap(cls, number: int) -> Self:
        """Keep the low bits of `number`."""
        number &= (1 << cls.bits) - 1
        return cls(number - (1 << cls.bits) if number > cls.maximum else number)

    def __index__(self) -> int:
        return self.value

    def __int__(self) -> int:
        return self.value

    def __add__(self, other: Self | int) -> Self:
        return self._result(self.value + self._operand(other))

    def __radd__(self, other: int) -> Self:
        return self._result(self._operand(other) + self.value)

    def __sub__(self, other: Self | int) -> Self:
        return self._result(self.value - self._operand(other))

    def __rsub__(self, other: int) -> Self:
        return self._result(self._operand(other) - self.value)

    def __mul__(self, other: Self | int) -> Self:
        return self._result(self.value * self._operand(other))

    def __rmul__(self, other: int) -> Self:
        return self._result(self._operand(other) * self.value)

    def __floordiv__(self, other: Self | int) -> Self:
        divisor = self._operand(other)
        if divisor == 0:
            raise Panic(PanicReason.DIVIDE_BY_ZERO)
        return self._result(self.value // divisor)

    def __mod__(self, other: Self | int) -> Self:
        divisor = self._operand(other)
        if divisor == 0:
            raise Panic(PanicReason.DIVIDE_BY_ZERO)
        return self._result(self.value % divisor)

    def __and__(self, other: Self | int) -> Self:
        return type(self)(self.value & self._operand(other))

    def __or__(self, other: Self | int) -> Self:
        return type(self)(self.value | self._operand(other))

    def __xor__(self, other: Self | int) -> Self:
        return type(self)(self.value ^ self._operand(other))

    def _shift_amount(self, other: "Integer | int") -> int:
        amount = self._operand(other)
        if not 0 <= amount < self.bits:
            raise Panic(PanicReason.SHIFT, f"{amount} in {self.type_name}")
        return amount

    def __lshift__(self, other: Self | int) -> Self:
        return self.wrap(self.value << self._shift_amount(other))

    def __rshift__(self, other: Self | int) -> Self:
        return type(self)(self.value >> self._shift_amount(other))

    def __invert__(self) -> Self:
        return self.wrap(~self.value)

    def __neg__(self) -> Self:
        return self._result(-self.value)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, (Integer, int)):
            return self.value == self._operand(other)
        return NotImplemented

    __hash__ = Scalar.__hash__

    def __lt__(self, other: Self | int) -> bool:
        return self.value < self._operand(other)

    def __le__(self, other: Self | int) -> bool:
        return self.value <= self._operand(other)

    def __gt__(self, other: Self | int) -> bool:
        return self.value > self._operand(other)

    def __ge__(self, other: Self | int) -> bool:
        return self.value >= self._operand(other)


class Float(Scalar):
    """A binary floating-point number; every result is rounded to the type, to nearest even."""

    __slots__ = ()

    value: float

    def __init__(self, value: "int | float | Scalar" = 0.0) -> None:
        self.value = self.rounded(value.value if isinstance(value, Scalar) else value)

    @classmethod
    def rounded(cls, number: int | float) -> float:
        """Round `number` to this type; overflow gives an infinity."""
        try:
            return struct.unpack(cls.struct_code, struct.pack(cls.struct_code, number))[0]
        except OverflowError:
            return math.copysign(math.inf, number)

    def _operand(self, other: "Float | int | float") -> float:
        if isinstance(other, Float):
            if type(other) is not type(self):
                raise TypeError(f"{self.type_name} meets {other.type_name}: convert one of them")
            return other.value
        return self.rounded(other)

    def __add__(self, other: Self | int | float) -> Self:
        return type(self)(self.value + self._operand(other))

    def __radd__(self, other: int | float) -> Self:
        return type(self)(self._operand(other) + self.value)

    def __sub__(self, other: Self | int | float) -> Self:
        return type(self)(self.value - self._operand(other))

    def __rsub__(self, other: int | float) -> Self:
        return type(self)(self._operand(other) - self.value)

    def __mul__(self, other: Self | int | float) -> Self:
        return type(self)(self.value * self._operand(other))

    def __rmul__(self, other: int | float) -> Self:
        return type(self)(self._operand(other) * self.value)

    def _quotient(self, dividend: float, divisor: float) -> Self:
        if divisor == 0.0:
            if dividend == 0.0 or math.isnan(dividend):
                return type(self)(math.nan)
            sign = math.copysign(1.0, dividend) * math.copysign(1.0, divisor)
            return type(self)(math.copysign(math.inf, sign))
        return type(self)(dividend / divisor)

    def __truediv__(self, other: Self | int | float) -> Self:
        return self._quotient(self.value, self._operand(other))

    def __rtruediv__(self, other: int | float) -> Self:
        return self._quotient(self._operand(other), self.value)

    def __neg__(self) -> Self:
        return type(self)(-self.value)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, (Float, int, float)):
            return self.value == self._operand(other)
        return NotImplemented

    __hash__ = Scalar.__hash__

    def __lt__(self, other: Self | int | float) -> bool:
        return self.value < self._operand(other)

    def __le__(self, other: Self | int | float) -> bool:
        return self.value <= self._operand(other)

    def __gt__(self, other: Self | int | float) -> bool:
        return self.value > self._operand(other)

    def __ge__(self, other: Self | int | float) -> bool:
        return self.value >= self._operand(other)


IntegerT = TypeVar("IntegerT", bound=Integer)
FloatT = TypeVar("FloatT", bound=Float)
ScalarT = TypeVar("ScalarT", bound=Scalar)


class u8(Integer):
    __slots__ = ()
    type_name, bits, size_bytes, struct_code = "u8", 8, 1, "<B"
    maximum = 2**8 - 1


class u16(Integer):
    __slots__ = ()
    type_name, bits, size_bytes, struct_code = "u16", 16, 2, "<H"
    maximum = 2**16 - 1


class u32(Integer):
    __slots__ = ()
    type_name, bits, size_bytes, struct_code = "u32", 32, 4, "<I"
    maximum = 2**32 - 1


class u64(Integer):
    __slots__ = ()
    type_name, bits, size_bytes, struct_code = "u64", 64, 8, "<Q"
    maximum = 2**64 - 1


class i8(Integer):
    __slots__ = ()
    type_name, bits, size_bytes, struct_code = "i8", 8, 1, "<b"
    signed, minimum, maximum = True, -(2**7), 2**7 - 1


class i16(Integer):
    __slots__ = ()
    type_name, bits, size_bytes, struct_code = "i16", 16, 2, "<h"
    signed, minimum, maximum = True, -(2**15), 2**15 - 1


class i32(Integer):
    __slots__ = ()
    type_name, bits, size_bytes, struct_code = "i32", 32, 4, "<i"
    signed, minimum, maximum = True, -(2**31), 2**31 - 1


class i64(Integer):
    __slots__ = ()
    type_name, bits, size_bytes, struct_code = "i64", 64, 8, "<q"
    signed, minimum, maximum = True, -(2**63), 2**63 - 1


class f16(Float):
    __slots__ = ()
    type_name, bits, size_bytes, struct_code = "f16", 16, 2, "<e"


class f32(Float):
    __slots__ = ()
    type_name, bits, size_bytes, struct_code = "f32", 32, 4, "<f"


class f64(Float):
    __slots__ = ()
    type_name, bits, size_bytes, struct_code = "f64", 64, 8, "<d"
