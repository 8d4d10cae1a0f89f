"""The row-interleaved layouts of a packed matrix of R rows and K columns.

Sixteen rows make a *group*; the lanes of a vector are the rows of a group, so that a row is summed in
one order whatever the width of the machine's vectors. Rows are padded with zeros to whole groups.

- `q8_0x16`: per group, per block of 32 columns: 16 f16 scales, then for v in 0..7 64 bytes, byte
  4*r + e = the weight of row r, column 4*v + e, plus 128.
- `q4_0x16`: per group, per block: 16 f16 scales, then for v in 0..3 64 bytes, byte 4*r + e: low nibble
  column 4*v + e, high nibble column 16 + 4*v + e, each plus 8.
- `q4_1x16`: as q4_0x16, with 16 f16 minimums after the scales and no 8 added.
- `q5_0x16`, `q5_1x16`: as q4_0x16 with 16 added, and as q4_1x16, with 64 bytes in front of the nibbles: bit
  v of byte 4*r + e is the fifth bit of row r, column 4*v + e.
- `q4_kx16`: per group, per super-block of 256 columns: 16 f16 scales, 16 f16 scales of the minimums, for
  each of 8 blocks 16 byte scales, for each of 8 blocks 16 byte minimums, then for p in 0..3, v in 0..7 64
  bytes, byte 4*r + e: low nibble column 64*p + 4*v + e, high nibble column 64*p + 32 + 4*v + e.
- `q6_kx16`: per group, per super-block: 16 f16 scales, for each of 16 half blocks 16 signed byte scales,
  then for h in 0..1, v in 0..7 three times 64 bytes, byte 4*r + e, of the columns 128*h + 4*v + e and those
  32, 64 and 96 further on: low nibbles of the first, and of the third in the high half; likewise of the
  second and the fourth; then two more bits of each, the first's lowest. The numbers are plus 32.
- `q5_kx16`: as q4_kx16, with eight times 64 bytes in front of the nibbles: bit b of byte 4*r + e of the
  v-th is the fifth bit of row r, column 32*b + 4*v + e.
- `f16x16`, `bf16x16`, `f32x16`: per group, per column (padded with zeros to a multiple of 4): 16 numbers.
"""

from dataclasses import dataclass

ROWS = 16
BLOCK_COLUMNS = 32
COLUMN_STEP = 4
Q8_BLOCK_BYTES = 2 * ROWS + BLOCK_COLUMNS * ROWS
SUPER_COLUMNS = 256
# The scales of a super-block lie in front of its quants.
Q4_K_QUANTS_AT = 2 * 2 * ROWS + 2 * 8 * ROWS
Q4_K_BYTES = Q4_K_QUANTS_AT + SUPER_COLUMNS * ROWS // 2
Q5_K_BITS_AT = Q4_K_QUANTS_AT
Q5_K_QUANTS_AT = Q5_K_BITS_AT + SUPER_COLUMNS * ROWS // 8
Q5_K_BYTES = Q5_K_QUANTS_AT + SUPER_COLUMNS * ROWS // 2
Q6_K_QUANTS_AT = 2 * ROWS + 16 * ROWS
Q6_K_BYTES = Q6_K_QUANTS_AT + SUPER_COLUMNS * ROWS * 3 // 4


@dataclass(frozen=True)
class NibbleBlock:
    """Which parts a block of 32 columns in nibbles has, and where."""

    minimum: bool
    fifth_bit: bool

    @property
    def bits_at(self) -> int:
        """Where the fifth bits start."""
        return 4 * ROWS if self.minimum else 2 * ROWS

    @property
    def quants_at(self) -> int:
        """Where the nibbles start."""
        return self.bits_at + (4 * ROWS if self.fifth_bit else 0)

    @property
    def bytes(self) -> int:
        """The bytes of the block in 16 rows."""
        return self.quants_at + BLOCK_COLUMNS * ROWS // 2


NIBBLE_BLOCKS = {
    "q4_0x16": NibbleBlock(minimum=False, fifth_bit=False),
    "q4_1x16": NibbleBlock(minimum=True, fifth_bit=False),
    "q5_0x16": NibbleBlock(minimum=False, fifth_bit=True),
    "q5_1x16": NibbleBlock(minimum=True, fifth_bit=True),
}
FLOAT_BYTES = {"f16x16": 2, "bf16x16": 2, "f32x16": 4}
# Columns and bytes of what a quantised layout repeats along a group.
UNITS = {
    "q8_0x16": (BLOCK_COLUMNS, Q8_BLOCK_BYTES),
    **{layout: (BLOCK_COLUMNS, form.bytes) for layout, form in NIBBLE_BLOCKS.items()},
    "q4_kx16": (SUPER_COLUMNS, Q4_K_BYTES),
    "q5_kx16": (SUPER_COLUMNS, Q5_K_BYTES),
    "q6_kx16": (SUPER_COLUMNS, Q6_K_BYTES),
}


def round_up(number: int, multiple: int) -> int:
    """Return the least multiple of `multiple` that is not below `number`."""
    return -(-number // multiple) * multiple


def row_stride(count: int) -> int:
    """Return the numbers from one token's row of `count` f32 to the next: an odd number of cache lines.

    With an even one, above all a power of two, the lines that `gemm` writes for a row group and many tokens
    would compete for a few sets of the caches.
    """
    return round_up(count, 16) | 16


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
    def unit_columns(self) -> int:
        """The columns of what a quantised layout repeats along a group."""
        return UNITS[self.layout][0]

    @property
    def scale_columns(self) -> int:
        """How many of the activations that a quantised layout takes share a scale: those of a unit."""
        return self.unit_columns

    @property
    def unit_bytes(self) -> int:
        """The bytes of what a quantised layout repeats along a group."""
        return UNITS[self.layout][1]

    @property
    def n_units(self) -> int:
        """How often a quantised layout repeats along a group."""
        return self.columns // self.unit_columns

    @property
    def padded_columns(self) -> int:
        """The columns of a float layout, including padding."""
        return round_up(self.columns, COLUMN_STEP)

    @property
    def quantised(self) -> bool:
        """Whether it takes quantised activations."""
        return self.layout in UNITS

    @property
    def float_bytes(self) -> int:
        """The bytes of a weight of a float layout."""
        if self.layout not in FLOAT_BYTES:
            raise ValueError(f"no such matrix layout: {self.layout}")
        return FLOAT_BYTES[self.layout]

    @property
    def group_bytes(self) -> int:
        """The bytes of one row group."""
        if self.quantised:
            return self.n_units * self.unit_bytes
        return self.padded_columns * ROWS * self.float_bytes

    @property
    def bytes(self) -> int:
        """The bytes of the whole matrix."""
        return self.n_groups * self.group_bytes
