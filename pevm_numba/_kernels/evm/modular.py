"""Powers modulo a number of at most 32 bytes (EIP-198), as most contracts ask for; the host has those of longer ones."""

from __future__ import annotations

from ...evm.forks import Fork
from ..jit import kernel
from .arithmetic import bytes_used, divide
from .layout import CONTEXT
from .memory import (
    copy,
    fill,
    load,
    load_byte,
    wide_multiply,
    word_fits,
    word_from_bytes,
    word_set,
    word_to_bytes,
)  # fmt: skip

__all__ = ["modular_power"]

_context = CONTEXT.at
_BERLIN, _OSAKA = int(Fork.BERLIN), int(Fork.OSAKA)

#: Bytes of input that matter; places behind them in the buffer of native functions: bytes of a number, and four words.
_INPUT, _BYTES, _BASE, _EXPONENT, _MODULUS, _RESULT = 192, 192, 224, 256, 288, 320
#: Places in the context's scratch beyond those of `divide`.
_WIDE, _QUOTIENT = 512, 576


@kernel(bare=True)
def _read(word, source, size, room):
    """The word := a big-endian number of at most 32 bytes."""
    fill(room, 0, 32)
    copy(room + 32 - size, source, size)
    word_from_bytes(word, room)


@kernel(bare=True)
def _times(c, target, factor, modulus):
    """target := target * factor % modulus."""
    scratch = _context(c).scratch
    wide_multiply(scratch + _WIDE, target, factor)
    divide(scratch + _QUOTIENT, target, scratch + _WIDE, modulus, scratch, True)


@kernel(bare=True)
def _bit_length(word):
    n = bytes_used(word)
    bits, top = 8 * n, load_byte(word + n - 1) if n > 0 else 0x80
    while top < 0x80:
        top *= 2
        bits -= 1
    return bits


@kernel(bare=True)
def _price(c, size, bits):
    """Of numbers of `size` bytes at most, and an exponent of so many bits (EIP-198, 2565, 7883)."""
    fork, turns, words = _context(c).fork, max(1, bits - 1), (size + 7) >> 3
    if fork >= _OSAKA:
        return max(500, 16 * turns)
    if fork >= _BERLIN:
        return max(200, words * words * turns // 3)
    return size * size * turns // 20


@kernel(bare=True)
def modular_power(c, data, size, gas):
    """base ** exponent % modulus, where calls return to: the gas left, -1 if there was too little, -2 for the host."""
    context = _context(c)
    room, scratch = context.native, context.scratch
    base, exponent, modulus, result = room + _BASE, room + _EXPONENT, room + _MODULUS, room + _RESULT
    fill(room, 0, _INPUT)
    copy(room, data, min(size, _INPUT))
    for i in range(3):
        word_from_bytes(base, room + 32 * i)
        if not word_fits(base) or load(base) > 32:
            return -2
    word_from_bytes(base, room)
    word_from_bytes(exponent, room + 32)
    word_from_bytes(modulus, room + 64)
    n_base, n_exponent, n_modulus = load(base), load(exponent), load(modulus)
    if n_modulus == 0:
        return -2
    _read(base, room + 96, n_base, room + _BYTES)
    _read(exponent, room + 96 + n_base, n_exponent, room + _BYTES)
    _read(modulus, room + 96 + n_base + n_exponent, n_modulus, room + _BYTES)
    bits = _bit_length(exponent)
    left = gas - _price(c, max(n_base, n_modulus), bits)
    if left < 0:
        return -1
    word_set(result, 1)
    divide(scratch + _QUOTIENT, result, result, modulus, scratch, False)
    divide(scratch + _QUOTIENT, base, base, modulus, scratch, False)
    for i in range(bits - 1, -1, -1):
        _times(c, result, result, modulus)
        if (load_byte(exponent + (i >> 3)) >> (i & 7)) & 1:
            _times(c, result, base, modulus)
    word_to_bytes(room + _BYTES, result)
    copy(context.returned, room + _BYTES + 32 - n_modulus, n_modulus)
    context.returned_size = n_modulus
    return left
