"""Longest paths of windows of a block, a sample of what dependencies allow."""

from __future__ import annotations

import numpy as np

from .codes import CREDITED, READ
from .conflicts import access_group
from .jit import kernel

__all__ = ["FINISHES", "sampled_path"]

#: Columns of a key's row: latest finish of its readers, writers and crediters, and, where versions are kept, of whoever
#: changes it.
FINISHES = 4
_CHANGED = 3


@kernel(inline=True)
def _row_of(key, epoch, met, finishes):
    """The row of a key in a table of a power of two rows; `met` holds which key of which window has which row."""
    mask = met.shape[0] - 1
    name = (np.int64(epoch) << 32) | np.int64(key)
    slot = np.int64(key) & mask
    while met[slot] != name:
        if met[slot] >> 32 != epoch:
            met[slot] = name
            for c in range(FINISHES):
                finishes[slot, c] = 0
        else:
            slot = (slot + 1) & mask
    return slot


@kernel
def sampled_path(order, n_windows, size, epoch, indptr, keys, modes, work, met, finishes, slots):
    """(longest paths, longest paths with versions, work) of some windows of `size` transactions, all three summed.

    The windows are evenly spaced in the serial order. With versions nobody waits for readers, nor a mere credit for anybody.
    met (n_rows,) int64, zero at first, and finishes (n_rows, FINISHES) int64, n_rows a power of two, and slots
    (n_rows,) int32, are scratch; a window ends early when the next transaction could fill more than half of the rows. Windows
    are numbered from epoch on, at least 1. O(accesses of the windows).
    """
    total = longest = longest_versioned = np.int64(0)
    n_tx = order.shape[0]
    for w in range(n_windows):
        first = (n_tx - size) * w // max(1, n_windows - 1)
        latest, latest_versioned, accesses = np.int64(0), np.int64(0), np.int64(0)
        for position in range(first, first + size):
            t = order[position]
            accesses += indptr[t + 1] - indptr[t]
            if accesses > met.shape[0] // 2:
                break
            begin, begin_versioned = np.int64(0), np.int64(0)
            start, end = indptr[t], indptr[t + 1]
            for e in range(start, end):
                slot = _row_of(keys[e], epoch + w, met, finishes)
                slots[e - start] = slot
                row = finishes[slot]
                group = access_group(modes[e])
                begin = max(begin, row[1])
                if group != 0:
                    begin = max(begin, row[0])
                if group != 2:
                    begin = max(begin, row[2])
                if modes[e] != CREDITED:
                    begin_versioned = max(begin_versioned, row[_CHANGED])
            finish, finish_versioned = begin + work[t], begin_versioned + work[t]
            total += work[t]
            latest, latest_versioned = max(latest, finish), max(latest_versioned, finish_versioned)
            for e in range(start, end):
                row = finishes[slots[e - start]]
                group = access_group(modes[e])
                row[group] = max(row[group], finish)
                if modes[e] != READ:
                    row[_CHANGED] = max(row[_CHANGED], finish_versioned)
        longest += latest
        longest_versioned += latest_versioned
    return longest, longest_versioned, total
