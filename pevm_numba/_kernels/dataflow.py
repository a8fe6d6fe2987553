"""Dataflow: a task starts when its predecessors have finished; whoever finds one unfinished hands the task over to it.

Who comes before whom may be found meanwhile: see `flow`. Tasks are claimed in chunks. A worker that claims a task with an
unfinished predecessor does not wait: it leaves the task with that predecessor, and whoever finishes the predecessor goes on
with it. So a chain stays on one core, nobody waits while there is work, and any one worker alone would finish the block.
If several tasks become ready at once, a worker keeps the first; the others go into a heap, from which the first is taken
before any new one is claimed: else the longest chains would be left for the end.

state[i] is 0 while nobody waits for task i, j + 1 while task j does (more of them are linked by `following`), -1 once it
is done. A task is in one hand at a time: claimed, waiting in one list, held by a worker, or in the heap.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from .atomics import compare_and_swap, exchange, fetch_add, load_acquire, store_release
from .codes import CREDITED, SETTLES
from .conflicts import access_group
from .context import Context, reference, value
from .control import PAD, STALLED, fail, stopped
from .flow import FINISHED, FOUND, HASH, HASHED, HEAPING, IDLE, LEFT, NEXT, READY, STARTED, find_some
from .heap import pop, push
from .interpreter import run_here, settle
from .jit import U64, kernel, parallel_kernel
from .system import now, thread_cpu
from .together import all_here, hash_together, rest

__all__ = ["COUNTS", "run_dataflow"]

#: Columns of the counters: tasks finished, tasks handed over, of these surprises, transactions put off by those, CPU time.
COUNTS = ("finished", "handed", "conflicts", "put_off", "cpu_ns")
_TASKS, _HANDED, _CONFLICTS, _PUT_OFF, _CPU = range(5)

_DONE = np.int32(-1)


@kernel(bare=True)
def _surprising(p, i, tasks):
    """Whether nobody could have foreseen that task i waits for task p: by the times of a schedule, or an estimate's keys."""
    flow = value(tasks)
    if flow.end.shape[0] > 0:
        return flow.end[p] > flow.start[i]
    if flow.hint_indptr.shape[0] == 0 or flow.task_tx[p] < 0 or flow.task_tx[i] < 0:
        return False
    a, a_end = flow.hint_indptr[flow.task_tx[p]], flow.hint_indptr[flow.task_tx[p] + 1]
    b, b_end = flow.hint_indptr[flow.task_tx[i]], flow.hint_indptr[flow.task_tx[i] + 1]
    while a < a_end and b < b_end:
        if flow.hint_keys[a] == flow.hint_keys[b]:
            if access_group(flow.hint_modes[a]) == 1 or access_group(flow.hint_modes[a]) != access_group(flow.hint_modes[b]):
                return False
            a += 1
            b += 1
        elif flow.hint_keys[a] < flow.hint_keys[b]:
            a += 1
        else:
            b += 1
    return True


@kernel(bare=True)
def _blocked(i, tasks, counts):
    """Whether task i must wait; it then waits in the list of a predecessor, and is no longer this worker's."""
    flow = value(tasks)
    begin = flow.pred_indptr[i]
    for e in range(begin + flow.passed[i], flow.pred_indptr[i + 1]):
        p = flow.preds[e]
        seen = load_acquire(flow.state, p)
        while seen != _DONE:
            surprise = _surprising(p, i, tasks)
            first_time = surprise and not flow.put_off[i]
            if first_time:
                flow.put_off[i] = True
            flow.passed[i] = np.int32(e - begin)
            flow.following[i] = seen
            if compare_and_swap(flow.state, p, seen, np.int32(i + 1)):
                counts[_HANDED] += 1
                counts[_CONFLICTS] += surprise
                counts[_PUT_OFF] += first_time
                return True
            if first_time:
                flow.put_off[i] = False
            seen = load_acquire(flow.state, p)
    return False


@kernel(bare=True)
def _hand_on(waiting, mine, spare, tasks, counts):
    """Of the tasks that waited for one that is done, those that are free now are this worker's: it holds the first.

    `waiting` is the list taken from its state; `mine` the task that this worker holds already, or -1; `spare` further ones,
    linked by `following`. Returns the task that it holds now, and the further ones.
    """
    flow = value(tasks)
    while waiting > 0:
        j = waiting - np.int32(1)
        waiting = flow.following[j]
        if _blocked(j, tasks, counts):
            continue
        if mine < 0:
            mine = j
            continue
        flow.following[max(j, mine)] = spare
        mine, spare = min(j, mine), max(j, mine) + np.int32(1)
    return mine, spare


@kernel(bare=True)
def _give_away(spare, tasks, control):
    """Put further tasks into the heap, unless somebody else is at it; returns those left. Nobody waits for the lock.

    (Its holder may have lost its core.)
    """
    if compare_and_swap(control, HEAPING, np.int64(0), np.int64(1)):
        flow = value(tasks)
        size = control[READY]
        while spare > 0:
            j = spare - np.int32(1)
            spare = flow.following[j]
            size = push(flow.ready, size, j)
        store_release(control, READY, size)
        store_release(control, HEAPING, np.int64(0))
    return spare


@kernel(bare=True)
def _take(tasks, control):
    """The first task in the heap, -1 if there is none or somebody else is at it."""
    task = np.int32(-1)
    if compare_and_swap(control, HEAPING, np.int64(0), np.int64(1)):
        flow = value(tasks)
        size = control[READY]
        if size > 0:
            task = flow.ready[0]
            store_release(control, READY, pop(flow.ready, size))
        store_release(control, HEAPING, np.int64(0))
    return task


@kernel(bare=True)
def _settle_for(t, there, here):
    """Settle the balances that transaction t reads or writes; its readers may be several, so each under a lock."""
    shared, context = value(there), value(here)
    sums = context.sums
    for j in range(shared.footprint_indptr[t], shared.footprint_indptr[t + 1]):
        key = shared.footprint_keys[j]
        place = shared.place[key]
        if place < 0 or shared.footprint_modes[j] == CREDITED:
            continue
        looks = 0
        while not compare_and_swap(shared.locks, place, np.int32(0), np.int32(1)):
            rest(looks)
            looks += 1
        some = U64(0)
        for w in range(sums.shape[0]):
            some |= sums[w, place, 0] | sums[w, place, 1] | sums[w, place, 2] | sums[w, place, 3]
        if some != 0:  # else another reader may be at work on the value already
            settle(key, place, context.values, sums)
        store_release(shared.locks, place, np.int32(0))


@kernel(inline=True)
def _claim(chunk, known, control):
    """(first, end) of some tasks whose predecessors are known, nobody else's from now on; an empty range if there are none.

    The first `known` tasks are known beforehand.
    """
    while True:
        first = load_acquire(control, NEXT)
        end = min(first + chunk, max(known, load_acquire(control, FOUND)))
        if first >= end:
            return first, first
        if compare_and_swap(control, NEXT, first, end):
            return first, end


@kernel(bare=True)
def _worker(worker, n_workers, n_threads, chunk, batch, epoch, flow, shared, context, counters):
    """Claim and run until every task is done; writes its row of the counters.

    What a worker does next: the rest of its chunk, the task that it holds, a further one, one from the heap, a new chunk.
    """
    here, tasks, there, control = reference(context), reference(flow), reference(shared), context.control
    flags, task_tx = context.code.flags, flow.task_tx
    n_tasks, known = task_tx.shape[0], flow.awaited.shape[0]
    counts = counters[worker]
    start, begin = thread_cpu(), now()
    fetch_add(control, STARTED, np.int64(1))
    together = n_threads == 1
    hash_together(worker, HASH, HASHED, here)
    mine, spare = np.int32(-1), np.int32(0)
    at, end = np.int64(0), np.int64(0)
    looks, dry = 0, 0
    while not stopped(control):
        if not together:
            together = all_here(n_threads, begin, STARTED, LEFT, control)
        first = at
        if at < end:
            while at < end:
                settles = task_tx[at] < 0 or (flags[task_tx[at]] & SETTLES) != 0
                if settles or flow.pred_indptr[at] < flow.pred_indptr[at + 1]:
                    if at > first:
                        break
                    if _blocked(at, tasks, counts):
                        at += 1
                        first = at
                        continue
                at += 1
                if settles or (known > 0 and flow.awaited[at - 1]):
                    break
            last = at
        elif mine >= 0:
            first, last = np.int64(mine), np.int64(mine) + 1
            mine = np.int32(-1)
        elif spare > 0:
            mine = spare - np.int32(1)
            spare = flow.following[mine]
            continue
        else:
            last = first
            if load_acquire(control, READY) > 0:
                if looks > 0:
                    looks = 0
                    fetch_add(control, IDLE, np.int64(-1))
                mine = _take(tasks, control)
            if mine >= 0:
                dry = 0
            elif load_acquire(control, NEXT) < n_tasks:
                if known == 0:
                    find_some(worker, batch, epoch, tasks, there, control)
                at, end = _claim(chunk, known, control)
                if at < end:
                    dry = 0
                else:  # somebody else is finding more
                    rest(dry)
                    dry += 1
            elif load_acquire(control, READY) > 0:  # somebody else is at the heap
                rest(dry)
                dry += 1
            else:
                if looks == 0:
                    store_release(control, FINISHED + worker * PAD, counts[_TASKS])
                    fetch_add(control, IDLE, np.int64(1))
                if _all_finished(n_workers, n_tasks, looks, control):
                    break
                looks += 1
        if first < last:
            if task_tx[first] >= 0:
                if flags[task_tx[first]] & SETTLES:
                    _settle_for(task_tx[first], there, here)
                run_here(first, last, task_tx, context, here, worker)
            counts[_TASKS] += last - first
            for i in range(first if known == 0 else last - 1, last):  # known beforehand, only the last one is awaited
                if known == 0 or flow.awaited[i]:
                    waiting = exchange(flow.state, i, _DONE)
                    if waiting > 0:
                        mine, spare = _hand_on(waiting, mine, spare, tasks, counts)
            if spare > 0:
                spare = _give_away(spare, tasks, control)
    if not together:
        all_here(n_threads, 0, STARTED, LEFT, control)
    counts[_CPU] = thread_cpu() - start


@kernel(bare=True)
def _all_finished(n_workers, n_tasks, looks, control):
    """Whether an idle worker may leave; if not, waits a little, the longer the more often it has looked.

    If all workers are idle and tasks are left, these wait for each other: an error, not an endless wait. (Once all are idle
    they stay so; who started later finds nothing to claim.)
    """
    idle = load_acquire(control, IDLE)
    finished = np.int64(0)
    for w in range(n_workers):
        finished += load_acquire(control, FINISHED + w * PAD)
    if finished == n_tasks:
        return True
    if idle == load_acquire(control, STARTED):
        fail(control, STALLED)
        return True
    rest(looks)
    return False


@parallel_kernel(bare=True)
def run_dataflow(
    n_workers, n_threads, chunk, batch, epoch, flow, shared, counters,
    code, hashing, values, sums, scratch, receipts, times, control,
):  # fmt: skip
    """Run all tasks in one parallel region; each iteration is a worker and writes what it holds.

    n_threads of Numba's run them. A worker claims `chunk` tasks at a time, and finds the predecessors of `batch` if they are
    not known beforehand; epoch (int32) is not 0, and differs from that of any earlier run on the same key_rows. control has
    start_cells(n_workers) entries, zero; counters (n_workers, PAD) int64, zero, gets one row of COUNTS for each worker;
    scratch and sums have one entry for each.
    """
    for worker in prange(n_workers):
        here = Context(code, hashing, values, sums, scratch, receipts, times, control)
        _worker(np.int64(worker), n_workers, n_threads, chunk, batch, epoch, flow, shared, here, counters)
    for i in range(shared.keys.shape[0]):
        settle(shared.keys[i], i, values, sums)
