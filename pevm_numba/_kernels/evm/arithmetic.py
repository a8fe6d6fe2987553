"""Division, powers and sign extension of words. A division by zero gives 0, and numbers are signed only where it says so.

Division is Knuth's algorithm D on 32-bit digits, 60 to 85 ns; LLVM's own of 256-bit numbers goes bit by bit and takes
ten times as long (measured). `scratch` is 512 bytes that nobody else uses meanwhile.
"""

from __future__ import annotations

import numpy as np

from ..jit import U64, kernel
from .memory import (
    copy,
    fill,
    load,
    load_byte,
    load_digit,
    load_u64,
    store_digit,
    store_u64,
    word_copy,
    word_multiply,
    word_negate,
    word_negative,
    word_set,
)

__all__ = ["SCRATCH", "bytes_used", "divide", "divide_signed", "power", "sign_extend"]

#: Bytes of scratch space.
SCRATCH = 512

_LOW, _BITS, _TOP_BIT, _ONE, _NONE = U64(0xFFFFFFFF), U64(32), U64(0x80000000), U64(1), U64(0)


@kernel(bare=True)
def _digits_used(p, n):
    """Number of digits up to the highest that is not 0, among n."""
    while n > 0 and load_digit(p + 4 * n - 4) == 0:
        n -= 1
    return n


@kernel(inline=True, bare=True)
def _digit(p):
    return U64(load_digit(p))


@kernel(bare=True)
def _by_digit(quotient, u, n, divisor):
    """quotient := u // divisor, u := the rest, of n digits and one digit."""
    rest = _NONE
    for i in range(n - 1, -1, -1):
        part = (rest << _BITS) | _digit(u + 4 * i)
        q = part // divisor
        rest = part - q * divisor
        store_digit(quotient + 4 * i, np.int64(q))
        store_digit(u + 4 * i, 0)
    store_digit(u, np.int64(rest))


@kernel(bare=True)
def _shifted(target, source, n, shift):
    """target := source << shift, n digits, shift in [0, 31]; returns the digit that falls out at the top."""
    carry = _NONE
    for i in range(n):
        part = (_digit(source + 4 * i) << shift) | carry
        store_digit(target + 4 * i, np.int64(part & _LOW))
        carry = part >> _BITS
    return carry


@kernel(bare=True)
def _subtract_multiple(window, divisor, m, q):
    """window -= q * divisor, m digits and one more; returns whether it went below 0."""
    borrow, carry = np.int64(0), _NONE
    for i in range(m):
        carry += q * _digit(divisor + 4 * i)
        digit = load_digit(window + 4 * i) - borrow - np.int64(carry & _LOW)
        carry >>= _BITS
        store_digit(window + 4 * i, digit)
        borrow = np.int64(1) if digit < 0 else np.int64(0)
    digit = load_digit(window + 4 * m) - borrow - np.int64(carry)
    store_digit(window + 4 * m, digit)
    return digit < 0


@kernel(bare=True)
def _add_back(window, divisor, m):
    """window += divisor, the carry out of the top left aside."""
    carry = _NONE
    for i in range(m):
        part = _digit(window + 4 * i) + _digit(divisor + 4 * i) + carry
        store_digit(window + 4 * i, np.int64(part & _LOW))
        carry = part >> _BITS
    store_digit(window + 4 * m, load_digit(window + 4 * m) + np.int64(carry))


@kernel(bare=True)
def _knuth(quotient, u, n, v, m, scratch):
    """quotient := u // v, u := u % v; n digits and m of them, 2 <= m <= n, the top one of v not 0."""
    shift = _NONE
    while (_digit(v + 4 * m - 4) << shift) & _TOP_BIT == _NONE:
        shift += _ONE
    divisor, rest = scratch, scratch + 4 * m
    _shifted(divisor, v, m, shift)
    store_digit(rest + 4 * n, np.int64(_shifted(rest, u, n, shift)))
    first, second = _digit(divisor + 4 * m - 4), _digit(divisor + 4 * m - 8)
    for j in range(n - m, -1, -1):
        window = rest + 4 * j
        part = (_digit(window + 4 * m) << _BITS) | _digit(window + 4 * m - 4)
        q = part // first
        r = part - q * first
        following = _digit(window + 4 * m - 8)
        while q > _LOW or q * second > ((r << _BITS) | following):
            q -= _ONE
            r += first
            if r > _LOW:
                break
        if _subtract_multiple(window, divisor, m, q):
            q -= _ONE
            _add_back(window, divisor, m)
        store_digit(quotient + 4 * j, np.int64(q))
    for i in range(n):
        part = _digit(rest + 4 * i) | (_digit(rest + 4 * i + 4) << _BITS) if i < m else _NONE
        store_digit(u + 4 * i, np.int64((part >> shift) & _LOW))


@kernel(bare=True)
def divide(quotient, rest, a, b, scratch, wide):
    """quotient, rest := a // b, a % b, words; a has 64 bytes if `wide`, and then its quotient is cut to a word."""
    n_digits = 16 if wide else 8
    copy(scratch, a, 4 * n_digits)
    m, n = _digits_used(b, 8), _digits_used(scratch, n_digits)
    fill(scratch + 64, 0, 72)
    if m == 0:
        fill(scratch, 0, 32)
    elif n >= m:
        if n <= 2:
            x, y = load_u64(scratch), load_u64(b)
            store_u64(scratch + 64, x // y)
            store_u64(scratch, x - x // y * y)
        elif m == 1:
            _by_digit(scratch + 64, scratch, n, _digit(b))
        else:
            _knuth(scratch + 64, scratch, n, b, m, scratch + 192)
    word_copy(quotient, scratch + 64)
    word_copy(rest, scratch)


@kernel(bare=True)
def divide_signed(quotient, rest, a, b, scratch):
    """quotient, rest := a / b towards zero, and the rest, which has the sign of a."""
    x, y = scratch + 448, scratch + 480
    minus_a, minus_b = word_negative(a), word_negative(b)
    if minus_a:
        word_negate(x, a)
    else:
        word_copy(x, a)
    if minus_b:
        word_negate(y, b)
    else:
        word_copy(y, b)
    divide(quotient, rest, x, y, scratch, False)
    if minus_a != minus_b:
        word_negate(quotient, quotient)
    if minus_a:
        word_negate(rest, rest)


@kernel(bare=True)
def bytes_used(p):
    """Number of bytes up to the highest that is not 0: in [0, 32]."""
    n = 4 * _digits_used(p, 8)
    while n > 0 and load_byte(p + n - 1) == 0:
        n -= 1
    return n


@kernel(bare=True)
def power(target, base, exponent, scratch):
    """target := base ** exponent, by squaring."""
    result, factor, bits = scratch, scratch + 32, scratch + 64
    word_copy(factor, base)
    word_copy(bits, exponent)
    word_set(result, 1)
    for i in range(8 * bytes_used(bits) - 1, -1, -1):
        word_multiply(result, result, result)
        if (load_byte(bits + (i >> 3)) >> (i & 7)) & 1:
            word_multiply(result, result, factor)
    word_copy(target, result)


@kernel(bare=True)
def sign_extend(target, place, value):
    """target := value with its bit 8 * place + 7 repeated above; value itself if there is nothing above."""
    high = load(place + 8) | load(place + 16) | load(place + 24)
    k = load(place)
    word_copy(target, value)
    if high == 0 and 0 <= k <= 30:
        sign = 0xFF if load_byte(target + k) & 0x80 else 0
        fill(target + k + 1, sign, 31 - k)
