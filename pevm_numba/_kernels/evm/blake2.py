"""BLAKE2's function F as a precompile (EIP-152): rounds are the caller's to choose, and a block's gas can buy millions."""

from __future__ import annotations

import numpy as np

from ..jit import U64, kernel
from .layout import BLOCK, CONTEXT
from .memory import copy, load_acquire, load_byte, load_u64, store_u64

__all__ = ["BLAKE2_SIZE", "IV", "SIGMA", "blake2", "last_flag"]

#: Constants of BLAKE2b (RFC 7693, sections 2.6 and 2.7).
IV = (
    0x6A09E667F3BCC908, 0xBB67AE8584CAA73B, 0x3C6EF372FE94F82B, 0xA54FF53A5F1D36F1,
    0x510E527FADE682D1, 0x9B05688C2B3E6C1F, 0x1F83D9ABFB41BD6B, 0x5BE0CD19137E2179,
)  # fmt: skip
SIGMA = (
    (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
    (14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3),
    (11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4),
    (7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8),
    (9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13),
    (2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9),
    (12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11),
    (13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10),
    (6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5),
    (10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0),
)

_context = CONTEXT.at
_STOP = BLOCK.numbers["stop"]
#: Rounds after which it looks whether the run was stopped: some ten milliseconds.
_PACE = 1 << 18

#: Bytes of the input: rounds (4, big-endian), h (64), m (128), t (16, little-endian), and the flag of the last block.
BLAKE2_SIZE = 213
#: Places of m and t where the input without the rounds was copied.
_M, _T = 64, 192

_SIGMA = np.array(SIGMA, np.int64).reshape(-1)
_IV0, _IV1, _IV2, _IV3, _IV4, _IV5, _IV6, _IV7 = (np.uint64(value) for value in IV)


@kernel(bare=True)
def _rotated(x, n):
    return (x >> U64(n)) | (x << U64(64 - n))


@kernel(bare=True)
def _mixed(a, b, c, d, x, y):
    """RFC 7693, G."""
    a = a + b + x
    d = _rotated(d ^ a, 32)
    c = c + d
    b = _rotated(b ^ c, 24)
    a = a + b + y
    d = _rotated(d ^ a, 16)
    c = c + d
    return a, _rotated(b ^ c, 63), c, d


@kernel(bare=True)
def _word(m, at):
    return load_u64(m + 8 * _SIGMA[at])


@kernel(bare=True)
def blake2(c, data, rounds, last):
    """Put the new h where calls return to."""
    context = _context(c)
    h = context.native
    copy(h, data + 4, BLAKE2_SIZE - 4)
    m = h + _M
    v0, v1, v2, v3 = load_u64(h), load_u64(h + 8), load_u64(h + 16), load_u64(h + 24)
    v4, v5, v6, v7 = load_u64(h + 32), load_u64(h + 40), load_u64(h + 48), load_u64(h + 56)
    v8, v9, v10, v11, v12, v13, v14, v15 = _IV0, _IV1, _IV2, _IV3, _IV4, _IV5, _IV6, _IV7
    v12 ^= load_u64(h + _T)
    v13 ^= load_u64(h + _T + 8)
    if last:
        v14 = ~v14
    for i in range(rounds):
        if i % _PACE == _PACE - 1 and load_acquire(context.block + _STOP) != 0:
            break
        s = 16 * (i % 10)
        v0, v4, v8, v12 = _mixed(v0, v4, v8, v12, _word(m, s), _word(m, s + 1))
        v1, v5, v9, v13 = _mixed(v1, v5, v9, v13, _word(m, s + 2), _word(m, s + 3))
        v2, v6, v10, v14 = _mixed(v2, v6, v10, v14, _word(m, s + 4), _word(m, s + 5))
        v3, v7, v11, v15 = _mixed(v3, v7, v11, v15, _word(m, s + 6), _word(m, s + 7))
        v0, v5, v10, v15 = _mixed(v0, v5, v10, v15, _word(m, s + 8), _word(m, s + 9))
        v1, v6, v11, v12 = _mixed(v1, v6, v11, v12, _word(m, s + 10), _word(m, s + 11))
        v2, v7, v8, v13 = _mixed(v2, v7, v8, v13, _word(m, s + 12), _word(m, s + 13))
        v3, v4, v9, v14 = _mixed(v3, v4, v9, v14, _word(m, s + 14), _word(m, s + 15))
    out = context.returned
    store_u64(out, load_u64(h) ^ v0 ^ v8)
    store_u64(out + 8, load_u64(h + 8) ^ v1 ^ v9)
    store_u64(out + 16, load_u64(h + 16) ^ v2 ^ v10)
    store_u64(out + 24, load_u64(h + 24) ^ v3 ^ v11)
    store_u64(out + 32, load_u64(h + 32) ^ v4 ^ v12)
    store_u64(out + 40, load_u64(h + 40) ^ v5 ^ v13)
    store_u64(out + 48, load_u64(h + 48) ^ v6 ^ v14)
    store_u64(out + 56, load_u64(h + 56) ^ v7 ^ v15)
    context.returned_size = 64


@kernel(bare=True)
def last_flag(data):
    """Whether it is the last block; -1 for neither yes nor no."""
    flag = load_byte(data + BLAKE2_SIZE - 1)
    return flag if flag <= 1 else -1
