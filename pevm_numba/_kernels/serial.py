"""Serial execution: the baseline of every speed-up, so it does nothing that one core need not do."""

from __future__ import annotations

import numpy as np
from numba import types

from .interpreter import run
from .jit import DISABLED, kernel
from .keccak import hash_groups

__all__ = ["run_changes", "run_serial", "run_timed"]


@kernel
def run_serial(
    group_indptr, members, payload_indptr, payload_data,
    order, op_indptr, rows, op_gas, words, digests, gas_limit, intrinsic, static_gas, flags, prices,
    values, sums, stack, saved, saved_place,
    status, gas_used, refunds, output, digest_out, sink, finish,
):  # fmt: skip
    """Hash all payloads, several at a time, then run every transaction in `order`."""
    hash_groups(0, group_indptr.shape[0] - 1, group_indptr, members, payload_indptr, payload_data, digests)
    run(
        0, order.shape[0], order, op_indptr, rows, op_gas, words, digests, gas_limit, intrinsic, static_gas, flags,
        prices,
        values, sums, 0, stack, saved, saved_place,
        status, gas_used, refunds, output, digest_out, sink, finish,
    )  # fmt: skip


if DISABLED:
    from time import perf_counter_ns

    def _clock(scratch):
        return perf_counter_ns()

else:
    _clock_gettime = types.ExternalFunction("clock_gettime", types.int32(types.int32, types.CPointer(types.int64)))

    @kernel(inline=True)
    def _clock(scratch):
        """Monotonic time in nanoseconds (about 20 ns a call through the vDSO); scratch is (2,) int64."""
        _clock_gettime(np.int32(1), scratch.ctypes)
        return scratch[0] * np.int64(1_000_000_000) + scratch[1]


@kernel
def run_timed(
    begin, end, group_indptr, members, payload_indptr, payload_data,
    order, op_indptr, rows, op_gas, words, digests, gas_limit, intrinsic, static_gas, flags, prices,
    values, sums, stack, saved, saved_place,
    status, gas_used, refunds, output, digest_out, sink, finish,
):  # fmt: skip
    """Like `run_serial`, but notes when each transaction begins and ends (nanoseconds); returns the time of hashing."""
    scratch = np.zeros(2, np.int64)
    before = _clock(scratch)
    hash_groups(0, group_indptr.shape[0] - 1, group_indptr, members, payload_indptr, payload_data, digests)
    hashing = _clock(scratch) - before
    for position in range(order.shape[0]):
        t = order[position]
        begin[t] = _clock(scratch)
        run(
            position, position + 1, order, op_indptr, rows, op_gas, words, digests, gas_limit, intrinsic, static_gas,
            flags, prices, values, sums, 0, stack, saved,
            saved_place,
            status, gas_used, refunds, output, digest_out, sink, finish,
        )  # fmt: skip
        end[t] = _clock(scratch)
    return hashing


@kernel
def run_changes(
    footprint_indptr, footprint_keys, footprint_modes, change_indptr, change_keys, change_values, before,
    group_indptr, members, payload_indptr, payload_data,
    order, op_indptr, rows, op_gas, words, digests, gas_limit, intrinsic, static_gas, flags, prices,
    values, sums, stack, saved, saved_place,
    status, gas_used, refunds, output, digest_out, sink, finish,
):  # fmt: skip
    """Like `run_serial`, but notes the net changes of each transaction, in the order run.

    change_keys and change_values have room for the footprint, `before` for the largest footprint of one transaction;
    change_indptr is by position in `order`. Returns the number of changes.
    """
    hash_groups(0, group_indptr.shape[0] - 1, group_indptr, members, payload_indptr, payload_data, digests)
    total = 0
    for position in range(order.shape[0]):
        t = order[position]
        change_indptr[position] = total
        start, stop = footprint_indptr[t], footprint_indptr[t + 1]
        for j in range(start, stop):
            for c in range(4):
                before[j - start, c] = values[footprint_keys[j], c]
        run(
            position, position + 1, order, op_indptr, rows, op_gas, words, digests, gas_limit, intrinsic, static_gas,
            flags, prices, values, sums, 0, stack, saved,
            saved_place,
            status, gas_used, refunds, output, digest_out, sink, finish,
        )  # fmt: skip
        for j in range(start, stop):
            key = footprint_keys[j]
            differs = False
            for c in range(4):
                differs = differs or values[key, c] != before[j - start, c]
            if differs and footprint_modes[j] != np.uint8(1):
                change_keys[total] = key
                for c in range(4):
                    change_values[total, c] = values[key, c]
                total += 1
    change_indptr[order.shape[0]] = total
    return total
