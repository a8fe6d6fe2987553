"""A call's memory: it grows by whole words of 32 bytes, is paid for when it grows, and is zero where nothing was written.

A range of no bytes costs nothing, wherever it begins. Offsets and sizes come as words; what no gas could pay for is
told apart before anything is added up, so nothing overflows.
"""

from __future__ import annotations

from ..jit import kernel
from .layout import CONTEXT, FRAME, FULL
from .memory import copy, fill, load, word_fits, word_zero

__all__ = ["BEYOND", "copy_padded", "copy_to_memory", "end_of_range", "grow"]

_context, _frame = CONTEXT.at, FRAME.at

#: End of a range that no gas could pay for.
BEYOND = -1

#: Memory beyond this costs more gas than any block has: 2**32 bytes are 2**45 gas and more.
_MOST = 1 << 32


@kernel(bare=True)
def end_of_range(offset, size):
    """One past the last byte of a range given by two words: 0 if it is empty, BEYOND if no gas could pay for it."""
    if word_zero(size):
        return 0
    if not word_fits(offset) or not word_fits(size):
        return BEYOND
    return load(offset) + load(size)


@kernel(bare=True)
def grow(c, f, gas, end):
    """Gas left after the frame's memory has grown to hold `end` bytes (Yellow Paper, equation 326); below 0 if too little."""
    frame = _frame(f)
    if end <= frame.memory_size:
        return gas
    if end > _MOST or end < 0:
        return -1
    context = _context(c)
    before, after = frame.memory_size >> 5, (end + 31) >> 5
    gas -= context.memory_word * (after - before) + after * after // 512 - before * before // 512
    if gas < 0:
        return gas
    if frame.memory + 32 * after + 64 > context.memory_end:
        context.status = FULL
        return -1
    fill(frame.memory + frame.memory_size, 0, 32 * (after - before))
    frame.memory_size = 32 * after
    return gas


@kernel(bare=True)
def copy_padded(target, source, available, offset, size):
    """`size` bytes to target, from the word `offset` on of a source of `available` bytes, zeros beyond its end."""
    if not word_fits(offset) or load(offset) >= available:
        fill(target, 0, size)
        return
    begin = load(offset)
    there = min(size, available - begin)
    copy(target, source + begin, there)
    fill(target + there, 0, size - there)


@kernel(bare=True)
def copy_to_memory(c, f, gas, operands, source, available, strict):
    """CALLDATACOPY and its like: the operands are at the top of the stack, which ends at `operands`; the gas left.

    With `strict` a range beyond the source's end is a failure (RETURNDATACOPY, EIP-211), even if it is empty.
    """
    to, offset, size = operands - 32, operands - 64, operands - 96
    if strict and (not word_fits(offset) or not word_fits(size) or load(offset) + load(size) > available):
        return -1
    end = end_of_range(to, size)
    if end <= 0:
        return gas if end == 0 else -1
    gas = grow(c, f, gas - _context(c).copy_word * ((load(size) + 31) >> 5), end)
    if gas >= 0:
        copy_padded(_frame(f).memory + load(to), source, available, offset, load(size))
    return gas
