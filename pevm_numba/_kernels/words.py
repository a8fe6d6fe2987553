"""256-bit words as four uint64 scalars, least significant first; in arrays, as rows of four."""

from __future__ import annotations

from .jit import U64, kernel

__all__ = ["add", "fold", "step", "subtract"]

_GOLDEN = 0x9E3779B97F4A7C15


@kernel(inline=True)
def _rotate(x, n):
    return (x << U64(n)) | (x >> U64(64 - n))


@kernel(inline=True)
def fold(digest, w0, w1, w2, w3):
    """Fold a word that was read into a digest (DESIGN §2)."""
    mixed = _rotate(digest, 5) ^ w0 ^ _rotate(w1, 17) ^ _rotate(w2, 31) ^ _rotate(w3, 47)
    return mixed * U64(_GOLDEN)


@kernel(inline=True)
def step(x):
    """One step of stand-in work: depends on the one before, and no closed form for n of them is known to a compiler."""
    return (x ^ (x >> U64(29))) * U64(_GOLDEN)


@kernel(inline=True)
def add(a0, a1, a2, a3, b0, b1, b2, b3):
    """Sum modulo 2**256, limb by limb; there is a carry where a sum is below its summand."""
    s0 = a0 + b0
    carry = U64(s0 < a0)
    s1 = a1 + b1
    over = U64(s1 < a1)
    s1 += carry
    carry = over | U64(s1 < carry)
    s2 = a2 + b2
    over = U64(s2 < a2)
    s2 += carry
    carry = over | U64(s2 < carry)
    return s0, s1, s2, a3 + b3 + carry


@kernel(inline=True)
def subtract(a0, a1, a2, a3, b0, b1, b2, b3):
    """Difference modulo 2**256."""
    d0 = a0 - b0
    borrow = U64(a0 < b0)
    d1 = a1 - b1
    under = U64(a1 < b1)
    borrow, d1 = under | U64(d1 < borrow), d1 - borrow
    d2 = a2 - b2
    under = U64(a2 < b2)
    borrow, d2 = under | U64(d2 < borrow), d2 - borrow
    return d0, d1, d2, a3 - b3 - borrow
