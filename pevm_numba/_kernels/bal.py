"""Running from a block access list: it says what every transaction leaves behind, so all run at once, and are checked.

Each transaction works on rows of its own, filled with what the list (or else the state before the block) says; afterwards
its net changes must be its entries in the list. If they are for all, everything that was read was right: by induction
over the serial order.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import prange
from numpy.typing import NDArray

from .atomics import compare_and_swap, fetch_add, load_acquire
from .codes import CREDIT, READ, SUCCESS
from .context import Context, reference
from .control import CONTROL_CELLS, PAD, stopped
from .interpreter import run
from .jit import U64, kernel, parallel_kernel
from .system import now, thread_cpu
from .together import all_here, hash_together, rest

__all__ = [
    "BAL_CELLS", "COUNTS", "EITHER_WAY", "MISSING", "MISSING_READ", "SURPLUS", "SURPLUS_READ", "WRONG", "Listed",
    "find_sources", "run_bal",
]  # fmt: skip

#: Cells of the control array: next position, finished ones, lowest position that fails + 1, hashing, next key,
#: workers started and moved.
_NEXT, _FINISHED, _FAILED, _HASH, _HASHED, _KEY, _STARTED, _LEFT = range(CONTROL_CELLS, CONTROL_CELLS + 8 * PAD, PAD)
BAL_CELLS = CONTROL_CELLS + 8 * PAD

#: Columns of the counters: CPU time; position, key and kind of the first difference found, if any (kind 0: none).
COUNTS = ("cpu_ns", "position", "key", "kind")

#: What is wrong with an entry: another value, not listed, not changed; and with a key that is only read.
WRONG, MISSING, SURPLUS, MISSING_READ, SURPLUS_READ = 1, 2, 3, 4, 5

#: Of a key that is not listed as read: whether it is read does not matter.
EITHER_WAY = 2

#: Keys whose state a worker writes at a time.
_KEYS = 1024


class Listed(NamedTuple):
    """A block access list beside the footprint that it must explain."""

    indptr: NDArray[np.int64]
    keys: NDArray[np.int32]
    modes: NDArray[np.uint8]
    #: (n_entries,): the entry of the list that tells what this entry of the footprint reads; -1: the state before.
    source: NDArray[np.int32]
    #: The list: per transaction its changed keys, ascending, with the values after it.
    list_indptr: NDArray[np.int64]
    list_keys: NDArray[np.int32]
    list_values: NDArray[np.uint64]
    #: (n_keys,): last entry of the list for the key, -1 if none; whether it is listed as only read, or (EITHER_WAY) may be.
    last: NDArray[np.int32]
    only_read: NDArray[np.uint8]
    pre_values: NDArray[np.uint64]
    #: (n_entries, 4): the transactions' own rows, and what these held at first.
    cells: NDArray[np.uint64]
    seen: NDArray[np.uint64]
    #: (n_keys,), zero before a run: 1 for keys that were accessed.
    touched: NDArray[np.uint8]


@kernel
def find_sources(order, indptr, keys, list_indptr, list_keys, last, source):
    """For each entry of the footprint the list's newest entry of its key before the transaction; O(entries).

    last (n_keys,) int32 comes filled with -1 and ends as the last entry of each key.
    """
    for position in range(order.shape[0]):
        t = order[position]
        for e in range(indptr[t], indptr[t + 1]):
            source[e] = last[keys[e]]
        for i in range(list_indptr[t], list_indptr[t + 1]):
            last[list_keys[i]] = i


@kernel(inline=True, bare=True)
def _fill(t, listed):
    for e in range(listed.indptr[t], listed.indptr[t + 1]):
        i = listed.source[e]
        from_list = i >= 0
        for c in range(4):
            value = listed.list_values[i, c] if from_list else listed.pre_values[listed.keys[e], c]
            listed.cells[e, c] = value
            if listed.modes[e] != READ:
                listed.seen[e, c] = value


@kernel(inline=True, bare=True)
def _differs(a, i, b, j):
    return ((a[i, 0] ^ b[j, 0]) | (a[i, 1] ^ b[j, 1]) | (a[i, 2] ^ b[j, 2]) | (a[i, 3] ^ b[j, 3])) != U64(0)


@kernel(inline=True, bare=True)
def _check(t, listed):
    """(kind, key) of the first difference between transaction t's net changes and its entries; kind 0: none."""
    i, end = listed.list_indptr[t], listed.list_indptr[t + 1]
    for e in range(listed.indptr[t], listed.indptr[t + 1]):
        key = listed.keys[e]
        if i < end and listed.list_keys[i] < key:
            break
        changed = listed.modes[e] != READ and _differs(listed.cells, e, listed.seen, e)
        if i < end and listed.list_keys[i] == key:
            if not changed:
                break
            if _differs(listed.cells, e, listed.list_values, i):
                return WRONG, key
            i += 1
        elif changed:
            return MISSING, key
    if i < end:
        return SURPLUS, listed.list_keys[i]
    return 0, np.int32(0)


@kernel(inline=True, bare=True)
def _touch(t, listed, code, op_code, receipts):
    """Mark the keys that transaction t accessed: if it failed, those of the ops before it did, credits undone."""
    if receipts.status[t] == SUCCESS:
        for e in range(listed.indptr[t], listed.indptr[t + 1]):
            listed.touched[listed.keys[e]] = np.uint8(1)
        return
    for i in range(code.op_indptr[t], receipts.stop[t]):
        if code.rows[i, 1] >= 0 and op_code[i] != CREDIT:
            listed.touched[listed.keys[code.rows[i, 1]]] = np.uint8(1)


@kernel(inline=True)
def _lower(control, cell, value):
    """Lower a cell that holds the least value + 1, 0 for none."""
    now = load_acquire(control, cell)
    while (now == 0 or value + 1 < now) and not compare_and_swap(control, cell, now, np.int64(value + 1)):
        now = load_acquire(control, cell)


@kernel(bare=True)
def _commit(listed, state, found, control):
    """Write the state that the list leaves, and compare what was only read, together with the other workers."""
    n_keys = listed.last.shape[0]
    while not stopped(control):
        first = fetch_add(control, _KEY, np.int64(_KEYS))
        if first >= n_keys:
            return
        for key in range(first, min(first + _KEYS, n_keys)):
            i = listed.last[key]
            if i >= 0:
                for c in range(4):
                    state[key, c] = listed.list_values[i, c]
            read = i < 0 and listed.touched[key] != 0
            said = listed.only_read[key]
            if said != EITHER_WAY and read != (said != 0) and (found[3] == 0 or key < found[2]):
                found[1], found[2] = -1, key
                found[3] = MISSING_READ if read else SURPLUS_READ


@kernel(bare=True)
def _worker(worker, n_threads, chunk, listed, op_code, order, context, state, counters):
    """Claim chunks in order, fill, run and check them; then, if all is well, write the state. Its row of the counters."""
    here, control, receipts = reference(context), context.control, context.receipts
    n_tx = order.shape[0]
    found = counters[worker]
    start, begin = thread_cpu(), now()
    fetch_add(control, _STARTED, np.int64(1))
    together = n_threads == 1
    hash_together(worker, _HASH, _HASHED, here)
    while not stopped(control):
        if not together:
            together = all_here(n_threads, begin, _STARTED, _LEFT, control)
        failed = load_acquire(control, _FAILED)
        first = fetch_add(control, _NEXT, chunk)
        if first >= n_tx or (failed > 0 and first >= failed):
            break
        last = min(first + chunk, n_tx)
        for position in range(first, last):
            _fill(order[position], listed)
        run(first, last, order, here, worker)
        for position in range(first, last):
            t = order[position]
            kind, key = _check(t, listed)
            if kind != 0:
                if found[3] == 0 or position < found[1]:
                    found[1], found[2], found[3] = position, key, kind
                _lower(control, _FAILED, position)
                break
            _touch(t, listed, context.code, op_code, receipts)
        fetch_add(control, _FINISHED, last - first)
    if not together:
        all_here(n_threads, 0, _STARTED, _LEFT, control)
    looks = 0
    while load_acquire(control, _FINISHED) < n_tx and load_acquire(control, _FAILED) == 0 and not stopped(control):
        rest(looks)
        looks += 1
    if load_acquire(control, _FAILED) == 0:
        _commit(listed, state, found, control)
    found[0] = thread_cpu() - start


@parallel_kernel(bare=True)
def run_bal(
    n_workers, n_threads, chunk, listed, op_code, order, state, counters,
    code, hashing, values, sums, scratch, receipts, times, control,
):  # fmt: skip
    """Run all transactions at once in one parallel region; each iteration is a worker, on n_threads of Numba's.

    code has rows by entry, and values are the cells of `listed`; control has BAL_CELLS entries, zero; counters
    (n_workers, PAD) int64, zero, gets one row of COUNTS for each worker. The least difference of all workers is the one that
    counts; the state is good only if there is none.
    """
    for worker in prange(n_workers):
        here = Context(code, hashing, values, sums, scratch, receipts, times, control)
        _worker(np.int64(worker), n_threads, chunk, listed, op_code, order, here, state, counters)
