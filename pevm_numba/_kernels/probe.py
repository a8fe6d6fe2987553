"""Kernels behind the benchmarks' probes: the least that a pass over keys pays, and what two cores are worth just now."""

from __future__ import annotations

import numpy as np
from numba import prange

from .atomics import load_acquire, pause, store_release
from .jit import U64, kernel, parallel_kernel
from .system import now
from .words import step

__all__ = ["hand_over", "step_on_all", "touch_rows", "wake_up"]


@kernel
def touch_rows(order, rows):
    """Read, change and write row order[i] of rows (n, 4) int64, for each i; no access waits for the value of another.

    Afterwards rows[k, 0] has grown by the number of times that k is in order.
    """
    for i in range(order.shape[0]):
        rows[order[i], 0] += 1


@kernel(bare=True)
def _hand_over(worker, turn, n, patience):
    for i in range(n):
        looks = 0
        while load_acquire(turn, 0) != 2 * i + worker:
            pause()
            looks += 1
            if looks > patience:  # the other is not running
                return
        store_release(turn, 0, np.int64(2 * i + worker + 1))


@parallel_kernel(bare=True)
def hand_over(turn, n, patience):
    """Two threads write turn[0] by turns, n times each; it ends as 2 n, or less if one waited `patience` looks in vain."""
    for worker in prange(2):
        _hand_over(np.int64(worker), turn, n, patience)


@kernel(bare=True)
def _steps(worker, n, x, taken):
    start = now()
    value = x[worker * 16]
    for _ in range(n):
        value = step(value)
    x[worker * 16] = value
    taken[worker * 16] = now() - start


@parallel_kernel(bare=True)
def step_on_all(n_workers, n, x, taken):
    """n steps of stand-in work on each of so many threads at once; taken[16 w] is the time of worker w in nanoseconds.

    x (16 n_workers,) uint64 is where they start, and where the results go.
    """
    for worker in prange(n_workers):
        _steps(np.int64(worker), n, x, taken)


@kernel(bare=True)
def _nothing(worker, x):
    x[worker * 16] += U64(1)


@parallel_kernel(bare=True)
def wake_up(n_workers, x):
    """A parallel region with nothing to do, after which all threads are awake."""
    for worker in prange(n_workers):
        _nothing(np.int64(worker), x)
