"""Numbers with as many significant bits as an f16 has, eleven, whatever their size.

Where f16 has normal numbers they are what f16 makes of an f32; elsewhere nothing overflows or loses bits.
What else llama.cpp has in f16 is rounded alike with them, and logits are nearer to its: see decision 10.
"""

from axiom.lang import Vec, bitcast, f32, fn, u32


@fn(inline="always")
def eleven_bits(number: f32) -> f32:
    """Return the nearest number of eleven significant bits; the even one of two."""
    bits = bitcast(u32, number)
    return bitcast(f32, (bits + 0xFFF + ((bits >> 13) & 1)) & 0xFFFFE000)


@fn(inline="always")
def eleven_bits_each(numbers: Vec[f32]) -> Vec[f32]:
    """Do what `eleven_bits` does for every lane."""
    bits = bitcast(u32, numbers)
    return bitcast(f32, (bits + 0xFFF + ((bits >> 13) & 1)) & 0xFFFFE000)
