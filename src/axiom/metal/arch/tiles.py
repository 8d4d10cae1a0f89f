"""Matrix tiles (AMX): 16 tokens by 16 rows of exact integer sums at a time.

Source: Intel SDM volume 1, chapter 18, and volume 2, LDTILECFG and TDPBSSD. Only code for a target with
`has_tiles` may call what is here; such a processor's operating system has turned the tiles on (XCR0 bits
17 and 18; under Linux each process asks for them, see `host.machine.tile_permission`).

The tiles are shared out once: the sums; activations and weights of a block of 32 columns; activations and
weights of half a block.
"""

from dataclasses import dataclass

from axiom.lang import Slice, address_of, array, asm, fn, i32, static, store_bytes, u8, u16, u64, unsafe

TILE_TOKENS = 16
TILE_ROWS = 16
ROW_BYTES = 64
_CONFIGURATION_BYTES = 64
_COLUMN_BYTES_AT = 16
_ROWS_AT = 48
_INPUTS = "r,r,r,r,r,r,~{memory}"


@dataclass(frozen=True)
class TileUse:
    """How many columns a product has, and the tiles of its factors; tile 0 takes the sums."""

    columns: int
    x: int
    w: int

    @property
    def text(self) -> str:
        """The instructions: operands are x, its stride, w, its stride, the sums, a row of starts."""
        return (
            f"tileloadd ($5), %tmm0; tileloadd ($0,$1,1), %tmm{self.x}; tileloadd ($2,$3,1), %tmm{self.w};"
            f" tdpbssd %tmm{self.w}, %tmm{self.x}, %tmm0; tilestored %tmm0, ($4,$3,1)"
        )


BLOCK = TileUse(columns=32, x=1, w=2)
HALF_BLOCK = TileUse(columns=16, x=3, w=4)


@fn
def start_tiles() -> None:
    """Share the tiles out, on the processor that this runs on."""
    shape = array(u8, _CONFIGURATION_BYTES)
    shape[0] = u8(1)
    _shape_tile(shape.all, 0, TILE_TOKENS, ROW_BYTES)
    for use in static((BLOCK, HALF_BLOCK)):
        _shape_tile(shape.all, use.x, TILE_TOKENS, use.columns)
        _shape_tile(shape.all, use.w, use.columns // 4, ROW_BYTES)
    # SAFETY: the configuration is a valid one of palette 1.
    with unsafe:
        asm("ldtilecfg ($0)", "r,~{memory}", address_of(shape.all))


@fn(inline="always")
def _shape_tile(shape: Slice[u8], tile: int, n_rows: int, column_bytes: int) -> None:
    store_bytes(shape, _COLUMN_BYTES_AT + 2 * tile, u16(column_bytes))
    shape[_ROWS_AT + tile] = u8(n_rows)


@fn(inline="always")
def stop_tiles() -> None:
    """Let go of the tiles, so that there is nothing to save when another thread takes the processor."""
    # SAFETY: nothing reads a tile across calls.
    with unsafe:
        asm("tilerelease", "~{memory}")


@fn(inline="always")
def multiply_tile(
    use: TileUse, x: Slice[u8], x_stride: int, w: Slice[u8], start: Slice[i32], sums: Slice[i32]
) -> None:
    """Store sums[16 * t + r]: start[r], and the products of columns c, x[t * x_stride + c] * w[r, c].

    x, w: signed bytes; w: for every four columns 64 bytes, byte 4 * r + e for row r. start: what the
    sums of 16 rows start from. Requires `start_tiles`.
    """
    x_part = x.part(0, (TILE_TOKENS - 1) * x_stride + use.columns)
    w_part = w.part(0, TILE_ROWS * use.columns)
    out = sums.part(0, TILE_ROWS * TILE_TOKENS)
    first = start.part(0, TILE_ROWS)
    # SAFETY: the four parts are what the tiles' shapes reach.
    with unsafe:
        asm(
            use.text,
            _INPUTS,
            address_of(x_part),
            u64(x_stride),
            address_of(w_part),
            u64(ROW_BYTES),
            address_of(out),
            address_of(first),
        )
