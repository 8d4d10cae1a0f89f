"""The row-interleaved layouts of a packed matrix of R rows and K columns.

Sixteen rows make a *group*; the lanes of a vector are the rows of a group, so that a row is summed in
one order whatever the width of the machine's vectors. Rows are padded with zeros to whole groups.

- `q8_0x16`: per group, per block of 32 columns: 16 f16 scales, then for v in 0..7 64 bytes, byte
  4*r + e = the weight of row r, column 4*v + e, plus 128.
- `q4_0x16`: per group, per block: 16 f16 scales, then for v in 0..3 64 bytes, byte 4*r + e: low nibble
  column 4*v + e, high nibble column 16 + 4*v + e, each plus 8.
- `f16x16`, `f32x16`: per group, per column (padded with zeros to a multiple of 4): 16 numbers.
"""

from dataclasses import dataclass

ROWS = 16
BLOCK_COLUMNS = 32
COLUMN_STEP = 4
Q8_BLOCK_BYTES = 2 * ROWS + BLOCK_COLUMNS * ROWS
Q4_BLOCK_BYTES = 2 * ROWS + BLOCK_COLUMNS * ROWS // 2


def round_up(number: int, multiple: int) -> int:
    """Return the least multiple of `multiple` that is not below `number`."""
    return -(-number // multiple) * multiple


@dataclass(frozen=True)
class Matrix:
    """A matrix as the ops are specialised for it."""

    layout: str
    rows: int
    columns: int

    @property
    def n_groups(self) -> int:
        """The number of row groups."""
        return round_up(self.rows, ROWS) // ROWS

    @property
    def n_blocks(self) -> int:
        """The number of 32-column blocks of a quantised row."""
        return self.columns // BLOCK_COLUMNS

    @property
    def padded_columns(self) -> int:
        """The columns of a float layout, including padding."""
        return round_up(self.columns, COLUMN_STEP)

    @property
    def quantised(self) -> bool:
        """Whether it takes quantised activations."""
        return self.layout in ("q8_0x16", "q4_0x16")

    @property
    def group_bytes(self) -> int:
        """The bytes of one row group."""
        match self.layout:
            case "q8_0x16":
                return self.n_blocks * Q8_BLOCK_BYTES
            case "q4_0x16":
                return self.n_blocks * Q4_BLOCK_BYTES
            case "f16x16":
                return self.padded_columns * ROWS * 2
            case "f32x16":
                return self.padded_columns * ROWS * 4
            case _:
                raise ValueError(f"no such matrix layout: {self.layout}")

    @property
    def bytes(self) -> int:
        """The bytes of the whole matrix."""
        return self.n_groups * self.group_bytes
