"""Amounts that are added to words, as sums."""

from __future__ import annotations

import numpy as np

from .jit import kernel
from .words import add

__all__ = ["add_up"]


@kernel
def add_up(key, credit, value, before):
    """Replace amounts by what they lead to: (n,) int64 ascending, (n,) bool, (n, 4) uint64, and (m, 4) uint64 by key.

    A value without `credit` is what the key then has; keys from `m` on have 0 before.
    """
    now = np.zeros(4, np.uint64)
    last = np.int64(-1)
    for i in range(len(key)):
        if key[i] != last:
            last = key[i]
            for k in range(4):
                now[k] = before[last, k] if last < len(before) else np.uint64(0)
        if credit[i]:
            now[0], now[1], now[2], now[3] = add(
                now[0], now[1], now[2], now[3], value[i, 0], value[i, 1], value[i, 2], value[i, 3]
            )
            for k in range(4):
                value[i, k] = now[k]
        else:
            for k in range(4):
                now[k] = value[i, k]
