"""Waves on all threads: within a wave no two transactions share a key that one of them writes, so they run in place."""

from __future__ import annotations

from numba import prange

from .atomics import fetch_add
from .codes import CREDITED, SETTLES
from .interpreter import run, settle
from .jit import kernel, parallel_kernel
from .keccak import hash_groups

__all__ = ["PAD", "run_waves"]

#: Distance between counters that different threads write, in int64: two cache lines.
PAD = 16


@kernel
def _work(
    counter, stop, chunk, order, op_indptr, rows, op_gas, words, digests, gas_limit, intrinsic, static_gas, flags,
    prices,
    values, sums, worker, stack, saved, saved_place,
    status, gas_used, refunds, output, digest_out, sink, finish,
):  # fmt: skip
    """One worker in one wave: claim chunks until none is left. Any worker alone would finish the wave."""
    while True:
        first = fetch_add(counter, 0, chunk)
        if first >= stop:
            return
        run(
            first, min(first + chunk, stop), order, op_indptr, rows, op_gas, words, digests, gas_limit, intrinsic,
            static_gas, flags, prices, values, sums,
            worker, stack, saved,
            saved_place, status, gas_used, refunds, output, digest_out, sink, finish,
        )  # fmt: skip


@kernel
def _settle_wave(start, stop, order, flags, footprint_indptr, footprint_keys, footprint_modes, shared, values, sums):
    """Settle the balances that the wave order[start:stop] reads or writes: by one thread, since several may read one."""
    for position in range(start, stop):
        t = order[position]
        if flags[t] & SETTLES:
            for j in range(footprint_indptr[t], footprint_indptr[t + 1]):
                key = footprint_keys[j]
                if shared[key] >= 0 and footprint_modes[j] != CREDITED:
                    settle(key, shared[key], values, sums)


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
    counter, n_workers, wave_indptr, wave_work, least_work, group_indptr, members, payload_indptr, payload_data, hash_work,
    shared_keys, shared, footprint_indptr, footprint_keys, footprint_modes,
    order, op_indptr, rows, op_gas, words, digests, gas_limit, intrinsic, static_gas, flags, prices,
    values, sums, stack, saved, saved_place,
    status, gas_used, refunds, output, digest_out, sink, finish,
):  # fmt: skip
    """Hash all payloads, then run wave after wave; each iteration of a prange is a worker and writes what it claims.

    counter (PAD,) int64 is scratch, made by the caller: Numba would fill a fresh array in a parallel region of its own,
    which on busy cores takes milliseconds. A wave whose work (nanoseconds, guessed) is below least_work runs on this
    thread: launching costs more. stack, saved, saved_place and sums have one entry for each worker. Returns the number
    of waves that ran in parallel.
    """
    counter[0] = 0
    n_groups = group_indptr.shape[0] - 1
    if hash_work < least_work:
        hash_groups(0, n_groups, group_indptr, members, payload_indptr, payload_data, digests)
    else:
        for _ in prange(n_workers):
            _hash(counter, 4, group_indptr, members, payload_indptr, payload_data, digests)
    launched = 0
    for w in range(wave_indptr.shape[0] - 1):
        start, stop = wave_indptr[w], wave_indptr[w + 1]
        if shared_keys.shape[0] > 0:
            _settle_wave(start, stop, order, flags, footprint_indptr, footprint_keys, footprint_modes, shared, values, sums)
        if stop - start == 1 or wave_work[w] < least_work:
            run(
                start, stop, order, op_indptr, rows, op_gas, words, digests, gas_limit, intrinsic, static_gas, flags,
                prices, values, sums, 0, stack[0],
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
                flags, prices, values, sums, worker,
                stack[worker],
                saved[worker], saved_place[worker], status, gas_used, refunds, output, digest_out, sink, finish,
            )  # fmt: skip
    for i in range(shared_keys.shape[0]):
        settle(shared_keys[i], i, values, sums)
    return launched
