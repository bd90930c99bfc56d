"""Sets of lines as bits of int32 words, whose bit 31 is the sign.

In plain arithmetic: the instructions for it have other names on every maker's GPU.
"""

import triton
import triton.language as tl

from gossamer.ops.keys.gpu.parts import either


@triton.jit
def popcount(bits):
    """How many bits are set."""
    # A shift carries the sign down, and every mask behind a shift takes it off again.
    twos = bits - ((bits >> 1) & 0x55555555)
    fours = (twos & 0x33333333) + ((twos >> 2) & 0x33333333)
    eights = (fours + (fours >> 4)) & 0x0F0F0F0F
    sixteens = eights + (eights >> 8)
    return (sixteens + (sixteens >> 16)) & 0x3F


@triton.jit
def trailing_zeros(bits):
    """The number of the lowest bit that is set; there is one."""
    # A power of two is exact in float32, and its exponent is the number wanted.
    power = (bits & -bits).to(tl.uint32).to(tl.float32)
    return ((power.to(tl.int32, bitcast=True) >> 23) & 0xFF) - 127


@triton.jit
def lines_of_tile(word, BLOCKS: tl.constexpr):
    """Which of 32 lines the slots of BLOCKS neighbouring blocks have, together.

    Args:
        word: pointer to the masks of the first block.
    """
    return tl.reduce(tl.load(word + tl.arange(0, BLOCKS)), 0, either)


@triton.jit
def count_of_tile(masks, block, blocks, BLOCKS: tl.constexpr, WORDS: tl.constexpr):
    """How many lines the slots of BLOCKS blocks from `block` on have, together.

    Args:
        masks: [WORDS, blocks] int32.
    """
    count = 0
    for word in range(WORDS):
        count += popcount(lines_of_tile(masks + word * blocks + block, BLOCKS))
    return count
