"""Gather one row of a packed matrix: the embedding of a token."""

from axiom.lang import (
    Slice,
    bitcast,
    f16,
    f32,
    fn,
    i8,
    i32,
    load_bytes,
    static,
    truncate,
    u8,
    u16,
    u32,
    u64,
    urange,
)
from axiom.metal.ops.matrix import (
    NIBBLE_BLOCKS,
    Q4_K_QUANTS_AT,
    Q5_K_BITS_AT,
    Q5_K_QUANTS_AT,
    Q6_K_BYTES,
    Q6_K_QUANTS_AT,
    Q8_BLOCK_BYTES,
    Matrix,
    NibbleBlock,
)
from axiom.metal.ops.quants import added


@fn
def embed_row(matrix: Matrix, weights: Slice[u8], row: u64, out: Slice[f32]) -> None:
    """Write the `columns` numbers of one row to out, each f32(d) * f32(q) or converted to f32.

    Minimums are added to that, not fused. Super-blocks: each (f32(d) * f32(sc)) * f32(q), less
    f32(d_min) * f32(m) where there are minimums.
    """
    group = weights.part(row // 16 * matrix.group_bytes, matrix.group_bytes)
    if matrix.layout == "q8_0x16":
        embed_q8_0x16(matrix, group, row % 16, out)
    elif matrix.layout in NIBBLE_BLOCKS:
        form = NIBBLE_BLOCKS[matrix.layout]
        embed_nibbles(form, added(matrix), matrix, group, row % 16, out)
    elif matrix.layout == "q6_kx16":
        embed_q6_k(matrix, group, row % 16, out)
    elif matrix.quantised:
        embed_with_minimums(matrix, group, row % 16, out)
    else:
        embed_float(matrix, group, row % 16, out)


@fn
def embed_q8_0x16(matrix: Matrix, group: Slice[u8], lane: u64, out: Slice[f32]) -> None:
    """Gather a row of 8-bit weights; `lane` is the row within the group."""
    for b in urange(matrix.n_blocks):
        block = group.part(b * Q8_BLOCK_BYTES, Q8_BLOCK_BYTES)
        target = out.part(b * 32, 32)
        scale = f32(load_bytes(f16, block, lane * 2))
        for v in urange(8):
            quants = block.part(v * 64 + lane * 4 + 32, 4)
            for e in static(range(4)):
                target[v * 4 + e] = f32(i32(quants[e]) - 128) * scale


@fn
def embed_nibbles(
    form: NibbleBlock, zero: int, matrix: Matrix, group: Slice[u8], lane: u64, out: Slice[f32]
) -> None:
    """Gather a row of weights in nibbles; `lane`: the row within the group, `zero`: their offset."""
    for b in urange(matrix.n_blocks):
        block = group.part(b * form.bytes, form.bytes)
        target = out.part(b * 32, 32)
        scale = f32(load_bytes(f16, block, lane * 2))
        minimum = f32(load_bytes(f16, block, lane * 2 + 32)) if form.minimum else f32(0.0)
        for v in static(range(8)):
            quants = block.part(lane * 4 + (form.quants_at + v % 4 * 64), 4)
            for e in static(range(4)):
                q = i32(quants[e] & 15 if v < 4 else quants[e] >> 4)
                if form.fifth_bit:
                    q = q + i32((block[lane * 4 + (form.bits_at + e)] >> v) & 1) * 16
                number = f32(q - zero) * scale
                target[4 * v + e] = number + minimum if form.minimum else number


@fn
def embed_with_minimums(matrix: Matrix, group: Slice[u8], lane: u64, out: Slice[f32]) -> None:
    """Gather a row of 4-bit or 5-bit super-blocks; `lane` is the row within the group."""
    fifth_bit = matrix.layout == "q5_kx16"
    quants_at = Q5_K_QUANTS_AT if fifth_bit else Q4_K_QUANTS_AT
    for b in urange(matrix.n_units):
        block = group.part(b * matrix.unit_bytes, matrix.unit_bytes)
        target = out.part(b * 256, 256)
        d = f32(load_bytes(f16, block, lane * 2))
        d_min = f32(load_bytes(f16, block, lane * 2 + 32))
        for p in urange(4):
            low = d * f32(block[p * 32 + lane + 64])
            low_least = d_min * f32(block[p * 32 + lane + 192])
            high = d * f32(block[p * 32 + lane + 80])
            high_least = d_min * f32(block[p * 32 + lane + 208])
            for v in urange(8):
                quants = block.part(p * 512 + v * 64 + lane * 4 + quants_at, 4)
                for e in static(range(4)):
                    column = p * 64 + v * 4 + e
                    q_low = quants[e] & 15
                    q_high = quants[e] >> 4
                    if fifth_bit:
                        bits = block[v * 64 + lane * 4 + (Q5_K_BITS_AT + e)] >> truncate(u8, p * 2)
                        q_low = q_low + (bits & 1) * 16
                        q_high = q_high + ((bits >> 1) & 1) * 16
                    target[column] = low * f32(q_low) - low_least
                    target[column + 32] = high * f32(q_high) - high_least


@fn
def embed_q6_k(matrix: Matrix, group: Slice[u8], lane: u64, out: Slice[f32]) -> None:
    """Gather a row of 6-bit super-blocks; `lane` is the row within the group."""
    for b in urange(matrix.n_units):
        block = group.part(b * Q6_K_BYTES, Q6_K_BYTES)
        target = out.part(b * 256, 256)
        d = f32(load_bytes(f16, block, lane * 2))
        for h in urange(2):
            for v in urange(8):
                words = block.part(h * 1536 + v * 192 + lane * 4 + Q6_K_QUANTS_AT, 132)
                # Of this quarter of the columns 128h to 128h + 127: two scales for 32 columns.
                scale_at = h * 128 + v // 4 * 16 + lane + 32
                for quarter in static(range(4)):
                    scale = d * f32(load_bytes(i8, block, scale_at + 32 * quarter))
                    for e in static(range(4)):
                        nibbles = words[quarter % 2 * 64 + e]
                        nibble = nibbles & 15 if quarter < 2 else nibbles >> 4
                        bits = (words[128 + e] >> (2 * quarter)) & 3
                        q = i32(nibble) + i32(bits) * 16 - 32
                        target[h * 128 + v * 4 + (32 * quarter + e)] = scale * f32(q)


@fn
def embed_float(matrix: Matrix, group: Slice[u8], lane: u64, out: Slice[f32]) -> None:
    """Gather a row in f16, bf16 or f32; `lane` is the row within the group."""
    for k in urange(matrix.columns):
        at = (k * 16 + lane) * matrix.float_bytes
        if matrix.layout == "f32x16":
            out[k] = load_bytes(f32, group, at)
        elif matrix.layout == "f16x16":
            out[k] = f32(load_bytes(f16, group, at))
        else:
            out[k] = bitcast(f32, u32(load_bytes(u16, group, at)) << 16)
