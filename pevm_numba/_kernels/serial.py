"""Serial execution: the baseline of every speed-up, so it does nothing that one core need not do."""

from __future__ import annotations

import numpy as np

from .context import reference
from .control import POLL_TXS, stopped
from .interpreter import run
from .jit import kernel
from .keccak import hash_groups
from .system import now

__all__ = ["run_changes", "run_serial"]


@kernel(bare=True)
def run_serial(order, context):
    """Hash all payloads, several at a time, then run every transaction in `order`.

    Returns the nanoseconds of hashing, if `times` is kept, else 0.
    """
    here, hashing, control = reference(context), context.hashing, context.control
    timed = context.times.begin.shape[0] > 0
    start = now() if timed else np.int64(0)
    hash_groups(0, hashing.group_indptr.shape[0] - 1, hashing, context.scratch.sponge[0], control)
    taken = now() - start if timed else np.int64(0)
    n_tx = order.shape[0]
    for first in range(0, n_tx, POLL_TXS):
        if stopped(control):
            break
        run(first, min(first + POLL_TXS, n_tx), order, here, 0)
    return taken


@kernel(bare=True)
def run_changes(
    footprint_indptr, footprint_keys, footprint_modes, change_indptr, change_keys, change_values, before, order, context
):  # fmt: skip
    """Like `run_serial`, but notes the net changes of each transaction, in the order run.

    change_keys and change_values have room for the footprint, `before` for the largest footprint of one transaction;
    change_indptr is by position in `order`. Returns the number of changes.
    """
    here, hashing, control, values = reference(context), context.hashing, context.control, context.values
    hash_groups(0, hashing.group_indptr.shape[0] - 1, hashing, context.scratch.sponge[0], control)
    total = 0
    for position in range(order.shape[0]):
        if stopped(control):
            break
        t = order[position]
        change_indptr[position] = total
        start, stop = footprint_indptr[t], footprint_indptr[t + 1]
        for j in range(start, stop):
            for c in range(4):
                before[j - start, c] = values[footprint_keys[j], c]
        run(position, position + 1, order, here, 0)
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
