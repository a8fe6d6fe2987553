"""Waves on all threads: within a wave no two transactions share a key that one of them writes, so they run in place."""

from __future__ import annotations

import numpy as np
from numba import prange

from .atomics import fetch_add, pause
from .codes import CREDITED, SETTLES
from .context import Context, reference
from .control import CONTROL_CELLS, PAD, stopped
from .interpreter import run, settle
from .jit import kernel, parallel_kernel
from .keccak import hash_groups
from .system import now
from .together import all_here

__all__ = ["WAVES_CELLS", "run_waves"]

#: Cells of the control array: what workers claim from, workers started and moved; and the size of the array.
_NEXT, _STARTED, _LEFT = range(CONTROL_CELLS, CONTROL_CELLS + 3 * PAD, PAD)
WAVES_CELLS = CONTROL_CELLS + 3 * PAD


@kernel(bare=True)
def _wave(worker, stop, chunk, order, context):
    """One worker in one wave: claim chunks until none is left. Any worker alone would finish the wave."""
    here, control = reference(context), context.control
    while not stopped(control):
        first = fetch_add(control, _NEXT, chunk)
        if first >= stop:
            return
        run(first, min(first + chunk, stop), order, here, worker)


@kernel(bare=True)
def _settle_wave(start, stop, order, code, shared, footprint_indptr, footprint_keys, footprint_modes, values, sums):
    """Settle the balances that the wave order[start:stop] reads or writes: by one thread, since several may read one."""
    for position in range(start, stop):
        t = order[position]
        if code.flags[t] & SETTLES:
            for j in range(footprint_indptr[t], footprint_indptr[t + 1]):
                key = footprint_keys[j]
                if shared[key] >= 0 and footprint_modes[j] != CREDITED:
                    settle(key, shared[key], values, sums)


@kernel(bare=True)
def _hash(chunk, hashing, sponge, control):
    n_groups = hashing.group_indptr.shape[0] - 1
    while not stopped(control):
        first = fetch_add(control, _NEXT, chunk)
        if first >= n_groups:
            return
        hash_groups(first, min(first + chunk, n_groups), hashing, sponge, control)


@kernel(bare=True)
def _assemble(n_threads, control):
    """Wait until all threads are there, each on a core of its own if possible: a barrier waits for the last one anyway."""
    begin = now()
    fetch_add(control, _STARTED, np.int64(1))
    while not all_here(n_threads, begin, _STARTED, _LEFT, control):
        pause()


@kernel(bare=True)
def _alone(start, stop, order, code, hashing, values, sums, scratch, receipts, times, control):
    """A wave on this thread."""
    run(start, stop, order, reference(Context(code, hashing, values, sums, scratch, receipts, times, control)), 0)


@parallel_kernel(bare=True)
def run_waves(
    n_workers, n_threads, wave_indptr, wave_work, least_work, hash_work, shared_keys, shared,
    footprint_indptr, footprint_keys, footprint_modes, order, code, hashing, values, sums, scratch, receipts, times, control,
):  # fmt: skip
    """Hash all payloads, then run wave after wave; each iteration of a prange is a worker and writes what it claims.

    A wave whose work (nanoseconds, guessed) is below least_work runs on this thread: launching costs more. control has
    WAVES_CELLS entries; scratch and sums have one for each worker. Returns the number of waves that ran in parallel.
    """
    control[_NEXT] = 0
    parallel = hash_work >= least_work
    for w in range(wave_indptr.shape[0] - 1):
        parallel = parallel or (wave_indptr[w + 1] - wave_indptr[w] > 1 and wave_work[w] >= least_work)
    if parallel and n_threads > 1:
        for _ in prange(n_workers):
            _assemble(n_threads, control)
    if hash_work < least_work:
        hash_groups(0, hashing.group_indptr.shape[0] - 1, hashing, scratch.sponge[0], control)
    else:
        for worker in prange(n_workers):
            _hash(4, hashing, scratch.sponge[worker], control)
    launched = 0
    for w in range(wave_indptr.shape[0] - 1):
        if stopped(control):
            break
        start, stop = wave_indptr[w], wave_indptr[w + 1]
        if shared_keys.shape[0] > 0:
            _settle_wave(start, stop, order, code, shared, footprint_indptr, footprint_keys, footprint_modes, values, sums)
        if stop - start == 1 or wave_work[w] < least_work:
            _alone(start, stop, order, code, hashing, values, sums, scratch, receipts, times, control)
            continue
        launched += 1
        control[_NEXT] = start
        chunk = min(max((stop - start) // (n_workers * 16), 1), 64)
        for worker in prange(n_workers):
            here = Context(code, hashing, values, sums, scratch, receipts, times, control)
            _wave(np.int64(worker), stop, chunk, order, here)
    for i in range(shared_keys.shape[0]):
        settle(shared_keys[i], i, values, sums)
    return launched
