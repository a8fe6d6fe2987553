"""Barrier waves on all threads. No estimate is trusted: a transaction never starts before its predecessors have finished.

Before the first wave one linear pass over the footprints compares the plan with what the transactions could touch; a
transaction that the plan would start too early is put off (`requeued`) and the accesses that would have collided are
counted (`runtime_conflicts`). Nothing runs twice, so wrong estimates cost waves, never results. Only a schedule that this
package made from the exact access sets of the very same block goes without that pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter_ns
from typing import Final

import numba
import numpy as np
from numpy.typing import NDArray

from .._kernels import policies as _k
from .._kernels.jit import DISABLED, inputs, launching, most_threads
from ..block import Block
from ..schedule.plan import Schedule
from .workspace import Workspace

__all__ = ["LEAST_WORK", "default_workers", "run_waves", "settle", "threads"]

#: Guessed work in nanoseconds below which a wave runs on one thread: a parallel region costs 2-4 microseconds to launch.
LEAST_WORK: Final = 8_000


def default_workers() -> int:
    """Numba's present number of threads."""
    return 1 if DISABLED else int(numba.get_num_threads())


@contextmanager
def threads(workers: int) -> Iterator[None]:
    """Run parallel kernels on this many threads (at most those that Numba has), alone; put the user's number back."""
    if DISABLED:
        yield
        return
    with launching:
        before = numba.get_num_threads()
        numba.set_num_threads(min(workers, most_threads()))
        try:
            yield
        finally:
            numba.set_num_threads(before)


def settle(block: Block, schedule: Schedule) -> tuple[NDArray[np.int64], NDArray[np.int32], int, int]:
    """Waves that keep every conflicting pair of the footprints in the promised order, as near the schedule as possible.

    Parameters
    ----------
    block : Block
    schedule : Schedule

    Returns
    -------
    wave_indptr : (n_waves + 1,) int64
    wave_tx : (n_tx,) int32
    runtime_conflicts, requeued : int
    """
    if schedule.proved_for is block:
        return schedule.wave_indptr, schedule.wave_tx, 0, 0
    wave = np.empty(block.n_tx, np.int32)
    plan = inputs(schedule.serial_order, schedule.wave_of)
    footprint = inputs(block.footprint_indptr, block.footprint_keys, block.footprint_modes)
    n_waves, conflicts, put_off = _k.repair(*plan, *footprint, np.zeros((block.n_keys, 8), np.int32), wave)
    if put_off == 0:
        return schedule.wave_indptr, schedule.wave_tx, 0, 0
    start, tx = np.zeros(n_waves + 2, np.int64), np.empty(block.n_tx, np.int32)
    _k.group_by_wave(*inputs(schedule.serial_order, wave), start, tx)
    return np.unique(start[:-1]), tx, int(conflicts), int(put_off)  # a wave that was emptied vanishes


def run_waves(space: Workspace, schedule: Schedule) -> tuple[dict[str, int], dict[str, int]]:
    """Run on a fresh workspace (made with partial sums); returns counters and timings."""
    start = perf_counter_ns()
    wave_indptr, wave_tx, conflicts, put_off = settle(space.block, schedule)
    kernel, arguments = space.waves_call(wave_indptr, wave_tx, LEAST_WORK)
    with threads(space.workers):
        launched = kernel(*arguments)
    elapsed = perf_counter_ns() - start
    counters = {
        "runtime_conflicts": conflicts, "requeued": put_off, "reexecuted": 0,
        "waves": len(wave_indptr) - 1, "parallel_waves": int(launched), "workers": space.workers,
    }  # fmt: skip
    return counters, {"execute_ns": elapsed}
