"""What the command line tells the kernel: whether, and where, the packed model lies in memory already.

`model=ADDRESS,BYTES,OFFSET`, three numbers in hexadecimal: where the file begins in physical memory, its
length, and the offset of its weights. Everything else on the line is left alone.
"""

from axiom.lang import Slice, fn, struct, u8, u64, urange, utf8

MODEL_OPTION = "model="
MAX_DIGITS = 16
BLANK, COMMA, ZERO, NINE, LETTER_A, LETTER_F = b" ,09af"


@struct
class MappedModel:
    """A packed model in physical memory, outside of what firmware calls usable."""

    address: u64
    bytes: u64
    weights_offset: u64


@struct
class Cursor:
    """A place in a text."""

    at: u64


@fn(phase="init")
def _find(line: Slice[u8], word: Slice[u8]) -> u64:
    """Return the position behind `word` where it begins the line or follows a blank; 0 when it does not."""
    if line.length < word.length:
        return u64(0)
    for start in urange(line.length - word.length + 1):
        same = start == 0 or line[start - 1] == BLANK
        for i in urange(word.length):
            same = same and line[start + i] == word[i]
        if same:
            return start + word.length
    return u64(0)


@fn(phase="init")
def _number(line: Slice[u8], cursor: Cursor) -> u64:
    """Read hexadecimal digits at the cursor and the comma behind them, if there is one; 0 for none."""
    value = u64(0)
    for _ in urange(MAX_DIGITS):
        if cursor.at >= line.length:
            return value
        letter = u64(line[cursor.at])
        if letter >= ZERO and letter <= NINE:
            value = value << 4 | letter - ZERO
        elif letter >= LETTER_A and letter <= LETTER_F:
            value = value << 4 | letter - LETTER_A + 10
        else:
            break
        cursor.at += 1
    if cursor.at < line.length and line[cursor.at] == COMMA:
        cursor.at += 1
    return value


@fn(phase="init")
def find_mapped_model(line: Slice[u8], model: MappedModel) -> bool:
    """Fill in where the model lies; False when the command line does not speak of one."""
    start = _find(line, utf8(MODEL_OPTION))
    if start == 0:
        return False
    cursor = Cursor(at=start)
    model.address = _number(line, cursor)
    model.bytes = _number(line, cursor)
    model.weights_offset = _number(line, cursor)
    return True
