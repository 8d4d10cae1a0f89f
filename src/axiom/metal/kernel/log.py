"""The serial log: lines of text on COM1, for people. `write_to(log, f"...")` and then `log.end()`."""

from axiom.lang import Array, Slice, array, fn, i64, static_var, struct, u8, u16, u64, urange, utf8, zeroed
from axiom.metal.arch.uart import COM1, uart_write

LINE_BYTES = 240


@struct
class Log:
    """One line being put together; what does not fit is cut off."""

    used: u64
    line: Array[u8] = array(u8, LINE_BYTES)

    @fn
    def bytes(self, piece: Slice[u8]) -> None:
        """Append bytes."""
        for i in urange(piece.length):
            if self.used < LINE_BYTES:
                self.line[self.used] = piece[i]
                self.used += 1

    @fn
    def text(self, piece: str) -> None:
        """Append a literal."""
        self.bytes(utf8(piece))

    @fn
    def unsigned(self, number: u64) -> None:
        """Append a number in decimal."""
        digits = array(u8, 20)
        at = u64(20)
        rest = number
        while rest > 0 or at == 20:
            at -= 1
            digits[at] = u8(rest % 10) + 48
            rest = rest // 10
        self.bytes(digits.all.part(at, 20 - at))

    @fn
    def signed(self, number: i64) -> None:
        """Append a number in decimal, with its sign."""
        if number < 0:
            self.text("-")
            self.unsigned(u64(-(number + 1)) + 1)
        else:
            self.unsigned(u64(number))

    @fn
    def hexadecimal(self, number: u64) -> None:
        """Append a number in hexadecimal."""
        digits = array(u8, 16)
        at = u64(16)
        rest = number
        while rest > 0 or at == 16:
            at -= 1
            digit = u8(rest & 15)
            digits[at] = digit + 48 if digit < 10 else digit + 87
            rest = rest >> 4
        self.bytes(digits.all.part(at, 16 - at))

    @fn
    def end(self) -> None:
        """Send the line."""
        uart_write(u16(COM1), self.line.all.part(0, self.used))
        uart_write(u16(COM1), utf8("\r\n"))
        self.used = u64(0)


log = static_var(zeroed(Log))
