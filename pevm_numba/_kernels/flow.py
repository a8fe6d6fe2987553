"""Tasks of dataflow, and who comes before whom, found while the first tasks run already.

One worker at a time, mostly always the same, walks over the accesses in serial order, a little ahead of the others.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .atomics import compare_and_swap, load_acquire, store_release
from .conflicts import access_group
from .context import value
from .control import CONTROL_CELLS, PAD
from .jit import U64, kernel

__all__ = [
    "EDGES", "FINDER", "FINDING", "FINISHED", "FOUND", "HASH", "HASHED", "HEAPING", "IDLE", "KEY_COLUMNS", "LEFT", "NEXT",
    "READY", "STARTED", "Flow", "Shared", "find_some", "start_cells",
]  # fmt: skip

#: Cells of the control array: next task to claim; tasks whose predecessors are known, who finds them (a lock), who did so
#: last; the heap (a lock, and its size); workers started, idle, and moved; hashing; then one for each worker.
NEXT, FOUND, FINDING, FINDER, EDGES, HEAPING, READY, STARTED, IDLE, LEFT, HASH, HASHED, FINISHED = range(
    CONTROL_CELLS, CONTROL_CELLS + 13 * PAD, PAD
)

#: Tasks whose predecessors are found at first: few, so that the others can begin.
_FIRST_BATCH = 32

#: Columns of a key's row, about its present run: mere readers, mere crediters, or one writer. Number of the execution and
#: kind of run; its first task + 1; last of its further members (an entry + 1); whom these wait for (a task + 1).
_RUN, _FIRST, _MORE, _AFTER = range(4)
KEY_COLUMNS = 4


def start_cells(n_workers):
    """Number of int64 in a control array for so many workers."""
    return FINISHED + n_workers * PAD


class Flow(NamedTuple):
    """Tasks in the order in which they are claimed, and who waits for whom."""

    #: (n_tasks,): transaction to run, -1 for a join, which is only waited for.
    task_tx: NDArray[np.int32]
    #: The tasks before each one; written while running, unless all are known beforehand.
    pred_indptr: NDArray[np.int64]
    preds: NDArray[np.int32]
    #: (n_tasks,): whether another task may wait for it; empty where that is not known beforehand.
    awaited: NDArray[np.bool_]
    #: (n_tasks,): when a schedule has it start and end; empty without one. What these order is no surprise.
    start: NDArray[np.float64]
    end: NDArray[np.float64]
    #: Estimated access sets; empty without them. Between two transactions that conflict by these a wait is no surprise.
    hint_indptr: NDArray[np.int64]
    hint_keys: NDArray[np.int32]
    hint_modes: NDArray[np.uint8]
    #: Zero before a run: see above; `passed` counts the predecessors known to be finished.
    state: NDArray[np.int32]
    following: NDArray[np.int32]
    passed: NDArray[np.int32]
    put_off: NDArray[np.bool_]
    #: (n_tasks,): the heap of tasks that are ready and in nobody's hand; holds anything before a run.
    ready: NDArray[np.int32]
    #: For finding predecessors: KEY_COLUMNS numbers for each key, zero at first; and two for each entry of the footprint,
    #: for members of runs: the task + 1, and the member before it.
    key_rows: NDArray[np.int32]
    members: NDArray[np.int32]


class Shared(NamedTuple):
    """Balances that several transactions credit: each worker has a partial sum, settled before somebody reads it."""

    keys: NDArray[np.int32]
    #: (n_keys,): number of the partial sum, or -1.
    place: NDArray[np.int32]
    #: (n_shared,): one lock each, zero while free.
    locks: NDArray[np.int32]
    footprint_indptr: NDArray[np.int64]
    footprint_keys: NDArray[np.int32]
    footprint_modes: NDArray[np.uint8]


@kernel(inline=True, bare=True)
def _find(first, last, n_edges, epoch, flow, shared):
    """Find the predecessors of tasks first:last, whose transactions come next in serial order; returns the edges so far.

    All of a run come after all of the run before, and what lies further back follows. Where several readers meet several
    crediters, the second and later ones of the run wait for its first, which waits for all: so each access is the target
    of one edge, and the source of one more when its run ends.
    """
    rows, preds, members = flow.key_rows, flow.preds, flow.members
    indptr, keys, modes = shared.footprint_indptr, shared.footprint_keys, shared.footprint_modes
    edges = U64(n_edges)
    first_run = np.int32(4 * epoch)
    for i in range(first, last):
        t = flow.task_tx[i]
        flow.pred_indptr[i] = edges
        task = np.int32(i + 1)
        for e in range(U64(indptr[t]), U64(indptr[t + 1])):
            # Few branches: which case an access is, nobody can predict, and a wrong guess costs as much as an access.
            # Unsigned places: Numba looks whether signed ones count from the end.
            row, group = U64(4) * U64(keys[e]), access_group(modes[e])
            run, before = rows[row + U64(_RUN)], rows[row + U64(_FIRST)]
            more, after = rows[row + U64(_MORE)], rows[row + U64(_AFTER)]
            known = run >= first_run  # what an earlier execution left is cheaper to tell than to clear
            same = run == first_run + group and group != 1
            preds[edges] = (after if same else before) - 1
            edges += U64(after > 0 if same else known)
            members[U64(2) * e] = task
            members[U64(2) * e + U64(1)] = more
            rows[row + U64(_RUN)] = first_run + group
            rows[row + U64(_FIRST)] = before if same else task
            rows[row + U64(_MORE)] = np.int32(e + U64(1)) if same else np.int32(0)
            rows[row + U64(_AFTER)] = after if same else ((before if more == 0 else task) if known else np.int32(0))
            while known and more > 0 and not same:
                place = U64(2) * U64(more - 1)
                preds[edges] = members[place] - 1
                edges += U64(1)
                more = members[place + U64(1)]
        flow.pred_indptr[i + 1] = edges
    return np.int64(edges)


@kernel(bare=True)
def find_some(worker, batch, epoch, tasks, there, control):
    """Find the predecessors of some more tasks, unless somebody else is at it; whoever did so last does it early.

    So one core keeps the rows of the keys, and others take over only if it does not come.
    """
    flow, shared = value(tasks), value(there)
    found = load_acquire(control, FOUND)
    n_tasks = flow.task_tx.shape[0]
    if found == n_tasks:
        return
    left = found - load_acquire(control, NEXT)
    if left > 0 and (left > batch // 2 or load_acquire(control, FINDER) != worker):
        return
    if compare_and_swap(control, FINDING, np.int64(0), np.int64(1)):
        found = load_acquire(control, FOUND)
        last = min(found + (batch if found > 0 else _FIRST_BATCH), n_tasks)
        control[EDGES] = _find(found, last, control[EDGES], epoch, flow, shared)
        store_release(control, FINDER, worker)
        store_release(control, FOUND, last)
        store_release(control, FINDING, np.int64(0))
