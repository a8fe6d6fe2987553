"""Waves on all threads: within a wave no two transactions share a key that one of them writes, so they run in place.

`settle_waves` is what makes that true whatever the schedule says: it walks the promised order once and puts off every
transaction that the schedule would start before one of its predecessors has finished.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from .atomics import fetch_add
from .codes import CREDITED, READ
from .interpreter import run, settle
from .jit import kernel, parallel_kernel
from .keccak import hash_groups

__all__ = ["group_waves", "run_waves", "settle_waves"]

#: Distance between counters that different threads write, in int64: two cache lines.
PAD = 16


@kernel
def settle_waves(serial_order, planned, indptr, keys, modes, n_keys, wave):
    """Move each transaction to the first wave, not before the planned one, after all its predecessors.

    planned[t] < 0: no plan, the first possible wave. Writes wave[t]; returns (number of waves used, conflicts found:
    accesses whose predecessor the plan would have run in the same or a later wave, transactions put off). O(accesses).
    """
    after = np.zeros((n_keys, 4), np.int32)  # first wave after the last write, read, credit of each key
    n_waves, conflicts, put_off = 0, 0, 0
    for position in range(serial_order.shape[0]):
        t = serial_order[position]
        plan = planned[t]
        chosen = max(plan, np.int32(0))
        for i in range(indptr[t], indptr[t + 1]):
            k = keys[i]
            if modes[i] == READ:
                need = max(after[k, 0], after[k, 2])
            elif modes[i] == CREDITED:
                need = max(after[k, 0], after[k, 1])
            else:
                need = max(after[k, 0], max(after[k, 1], after[k, 2]))
            if plan >= 0 and need > plan:
                conflicts += 1
            chosen = max(chosen, need)
        if plan >= 0 and chosen > plan:
            put_off += 1
        following = np.int32(chosen + 1)
        for i in range(indptr[t], indptr[t + 1]):
            k = keys[i]
            if modes[i] == READ:
                after[k, 1] = max(after[k, 1], following)
            elif modes[i] == CREDITED:
                after[k, 2] = max(after[k, 2], following)
            else:
                after[k, 0] = max(after[k, 0], following)
        wave[t] = chosen
        n_waves = max(n_waves, following)
    return n_waves, conflicts, put_off


@kernel
def group_waves(serial_order, wave, start, tx):
    """Counting sort of transactions by wave, in serial order within one; empty waves vanish; returns how many remain.

    start (number of waves + 1) is zero on entry and holds the CSR offsets on return.
    """
    for t in range(wave.shape[0]):
        start[wave[t] + 1] += 1
    for w in range(start.shape[0] - 1):
        start[w + 1] += start[w]
    for position in range(serial_order.shape[0]):
        t = serial_order[position]
        tx[start[wave[t]]] = t
        start[wave[t]] += 1
    n_waves = 0  # start[w] is now the end of wave w
    end = 0
    for w in range(start.shape[0] - 1):
        if start[w] > end:
            end = start[w]
            start[n_waves] = end
            n_waves += 1
    for w in range(n_waves, 0, -1):
        start[w] = start[w - 1]
    start[0] = 0
    return n_waves


@kernel
def _work(
    counter, stop, chunk, order, op_indptr, rows, op_gas, words, digests, gas_limit, intrinsic, static_gas, flags,
    prices,
    footprint_indptr, footprint_keys, footprint_modes, shared, values, sums, worker, stack, saved, saved_place,
    status, gas_used, refunds, output, digest_out, sink, finish,
):  # fmt: skip
    """One worker in one wave: claim chunks until none is left. Any worker alone would finish the wave."""
    while True:
        first = fetch_add(counter, 0, chunk)
        if first >= stop:
            return
        run(
            first, min(first + chunk, stop), order, op_indptr, rows, op_gas, words, digests, gas_limit, intrinsic,
            static_gas, flags, prices, footprint_indptr, footprint_keys, footprint_modes, shared, values, sums,
            worker, stack, saved,
            saved_place, status, gas_used, refunds, output, digest_out, sink, finish,
        )  # fmt: skip


@kernel
def _hash(counter, chunk, group_indptr, members, indptr, data, digests):
    n_groups = group_indptr.shape[0] - 1
    while True:
        first = fetch_add(counter, 0, chunk)
        if first >= n_groups:
            return
        hash_groups(first, min(first + chunk, n_groups), group_indptr, members, indptr, data, digests)


@parallel_kernel
def run_waves(
    n_workers, wave_indptr, wave_work, least_work, group_indptr, members, payload_indptr, payload_data, hash_work,
    shared_keys,
    order, op_indptr, rows, op_gas, words, digests, gas_limit, intrinsic, static_gas, flags, prices,
    footprint_indptr, footprint_keys, footprint_modes, shared, values, sums, stack, saved, saved_place,
    status, gas_used, refunds, output, digest_out, sink, finish,
):  # fmt: skip
    """Hash all payloads, then run wave after wave; each iteration of a prange is a worker and writes what it claims.

    A wave whose work (nanoseconds, guessed) is below least_work runs on this thread: launching costs more. stack,
    saved,
    saved_place and sums have one entry for each worker. Returns the number of waves that ran in parallel.
    """
    counter = np.zeros(PAD, np.int64)
    n_groups = group_indptr.shape[0] - 1
    if hash_work < least_work:
        hash_groups(0, n_groups, group_indptr, members, payload_indptr, payload_data, digests)
    else:
        for _ in prange(n_workers):
            _hash(counter, 4, group_indptr, members, payload_indptr, payload_data, digests)
    launched = 0
    for w in range(wave_indptr.shape[0] - 1):
        start, stop = wave_indptr[w], wave_indptr[w + 1]
        if stop - start == 1 or wave_work[w] < least_work:
            run(
                start, stop, order, op_indptr, rows, op_gas, words, digests, gas_limit, intrinsic, static_gas, flags,
                prices, footprint_indptr, footprint_keys, footprint_modes, shared, values, sums, 0, stack[0],
                saved[0], saved_place[0],
                status, gas_used, refunds, output, digest_out, sink, finish,
            )  # fmt: skip
            continue
        launched += 1
        counter[0] = start
        chunk = min(max((stop - start) // (n_workers * 16), 1), 64)
        for worker in prange(n_workers):
            _work(
                counter, stop, chunk, order, op_indptr, rows, op_gas, words, digests, gas_limit, intrinsic, static_gas,
                flags, prices, footprint_indptr, footprint_keys, footprint_modes, shared, values, sums, worker,
                stack[worker],
                saved[worker], saved_place[worker], status, gas_used, refunds, output, digest_out, sink, finish,
            )  # fmt: skip
    for i in range(shared_keys.shape[0]):
        settle(shared_keys[i], i, values, sums)
    return launched
