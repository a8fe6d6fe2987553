"""Words of rows of a database, sealed: each with a checksum of its key and itself."""

from __future__ import annotations

from .jit import U64, kernel
from .table import KEY, WORD

__all__ = ["open_rows", "seal_rows"]

_ODD = U64(0x9E3779B97F4A7C15)
_FIRST = U64(0xD6E8FEB86659FD93)


@kernel
def _row_sum(keys, words, i):
    """Checksum of a key and its word."""
    h = _FIRST
    for k in range(KEY):
        h = (h ^ keys[i, k]) * _ODD
        h ^= h >> U64(29)
    for k in range(WORD):
        h = (h ^ words[i, k]) * _ODD
        h ^= h >> U64(29)
    return h


@kernel
def seal_rows(keys, words, out):
    """Words with their checksums: (n, KEY) and (n, WORD) -> (n, WORD + 1) uint64."""
    for i in range(len(keys)):
        for k in range(WORD):
            out[i, k] = words[i, k]
        out[i, WORD] = _row_sum(keys, words, i)


@kernel
def open_rows(keys, sealed, out):
    """The opposite; a row of zeros is of a key that is not there. Returns how many are, or -1 - the first that is damaged."""
    found = 0
    for i in range(len(keys)):
        some = U64(0)
        for k in range(WORD + 1):
            some |= sealed[i, k]
        if some != U64(0):
            if sealed[i, WORD] != _row_sum(keys, sealed, i):
                return -1 - i
            found += 1
        for k in range(WORD):
            out[i, k] = sealed[i, k]
    return found
