"""Kernel behind the benchmark's probe: one access of a 32-byte row each, the least that any pass over keys pays."""

from __future__ import annotations

from .jit import kernel

__all__ = ["touch_rows"]


@kernel
def touch_rows(order, rows):
    """Read, change and write row order[i] of rows (n, 4) int64, for each i; no access waits for the value of another.

    Afterwards rows[k, 0] has grown by the number of times that k is in order.
    """
    for i in range(order.shape[0]):
        rows[order[i], 0] += 1
