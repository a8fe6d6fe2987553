"""Sorting one transaction's set: ids are in first-touch order, so most entries come sorted or nearly so."""

from __future__ import annotations

import numpy as np

from .jit import kernel

__all__ = ["sort_set"]


@kernel
def sort_set(keys, modes, start, stop):
    """Sort entries start:stop by key, modes along: a few by insertion, many packed into one integer each."""
    if stop - start <= 24:
        for i in range(start + 1, stop):
            key, mode = keys[i], modes[i]
            j = i - 1
            while j >= start and keys[j] > key:
                keys[j + 1] = keys[j]
                modes[j + 1] = modes[j]
                j -= 1
            keys[j + 1] = key
            modes[j + 1] = mode
        return
    both = np.empty(stop - start, np.int64)
    for i in range(start, stop):
        both[i - start] = (np.int64(keys[i]) << 3) | np.int64(modes[i])
    both.sort()
    for i in range(start, stop):
        keys[i] = both[i - start] >> 3
        modes[i] = both[i - start] & 7
