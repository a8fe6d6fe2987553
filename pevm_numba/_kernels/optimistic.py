"""Block-STM: run first, ask afterwards. Every transaction reads the newest versions there are; what was read is checked.

After Gelashvili et al., "Block-STM" (arXiv 2203.06871): multi-version memory, incarnations, estimates, waiting for the
transaction whose estimate was met, validation of every incarnation. Three things differ. The entries of each key are known
beforehand and linked, so a change is checked against exactly those later transactions that have read the key, where the
paper sweeps over all higher ones: `reach` holds how far a key has been read. A transaction that waits goes on with
whoever it waits for, where the paper lowers a common index. And once a key was read too early, whoever reads it waits for
all that may change it before: else two workers on a chain would throw away every second result.

Why nothing stale survives: a reader raises `reach` before it publishes what it did, and checks after that what it read; a
writer publishes, and then looks at `reach`. So of the two at least one sees the other: either the reader's check meets the
version, or the writer finds the reader and checks it. And whoever is found stale is run again, and checked again.
"""

from __future__ import annotations

import platform
from typing import NamedTuple

import numpy as np
from numba import prange
from numpy.typing import NDArray

from .atomics import compare_and_swap, exchange, fence, fetch_add, load_acquire, store_release
from .codes import CREDITED, READ, SUCCESS
from .context import Context, reference, value
from .control import CONTROL_CELLS, PAD, fail, stopped
from .interpreter import run_here
from .jit import U64, kernel, parallel_kernel
from .system import now, thread_cpu
from .together import all_here, hash_together, rest
from .versions import EXECUTED, EXECUTING, FINAL, READY, WAITING, resolve

__all__ = ["COUNTS", "GAVE_UP", "Queue", "optimistic_cells", "run_optimistic"]

#: Cells of the control array: next position, ring, aborts, hashing, next key, workers started and moved; then two for each
#: worker.
_NEXT, _HEAD, _TAIL, _ABORTS, _HASH, _HASHED, _KEY, _STARTED, _LEFT, _FINISHED = range(
    CONTROL_CELLS, CONTROL_CELLS + 10 * PAD, PAD
)

#: Columns of the counters.
COUNTS = ("executions", "validations", "aborts", "waits", "cpu_ns")
_EXECUTIONS, _VALIDATIONS, _ABORTED, _WAITS, _CPU = range(5)

#: Error: too much was thrown away.
GAVE_UP = 3

#: On x86-64 an atomic read-modify-write is a fence for everything.
_WEAK = platform.machine() not in ("x86_64", "AMD64")

#: Keys whose state a worker writes at a time.
_KEYS = 512


def optimistic_cells(n_workers):
    """Number of int64 in a control array for so many workers."""
    return _FINISHED + 2 * n_workers * PAD


class Queue(NamedTuple):
    """Transactions that wait or are to run again; all but the ring zero before a run."""

    #: (n_tx,): the first that waits for this one + 1, and the next in the list + 1.
    waiting: NDArray[np.int32]
    following: NDArray[np.int32]
    #: A power of two entries, more than transactions: those free to run + 1, and above 2**32 the ticket, counted from 0, that
    #: the entry is for. Before a run entry i is empty, for ticket i.
    ring: NDArray[np.int64]
    #: (n_keys,): place + 1 of the last transaction that has read the key.
    reach: NDArray[np.int32]


@kernel(inline=True)
def _next_try(now):
    """The state after one more try, its status still to be set."""
    return np.int32((now & np.int32(-4)) + np.int32(4))


@kernel(inline=True)
def _give_away(t, queue, control):
    """Leave transaction t to whoever looks into the ring first."""
    ticket = fetch_add(control, _TAIL, np.int64(1))
    slot = ticket & (queue.ring.shape[0] - 1)
    looks = 0
    while load_acquire(queue.ring, slot) != ticket << 32 and not stopped(control):  # somebody takes what was here a round ago
        rest(looks)
        looks += 1
    store_release(queue.ring, slot, (ticket << 32) | (np.int64(t) + 1))


@kernel(bare=True)
def _take(queue, control):
    """The transaction that has waited longest in the ring, -1 if there is none.

    Whoever draws a ticket takes just that ticket's entry, however long it slept in between.
    """
    ticket = load_acquire(control, _HEAD)
    if ticket >= load_acquire(control, _TAIL) or not compare_and_swap(control, _HEAD, ticket, ticket + 1):
        return np.int32(-1)
    size = queue.ring.shape[0]
    slot = ticket & (size - 1)
    looks = 0
    got = load_acquire(queue.ring, slot)
    while (got >> 32 != ticket or got == ticket << 32) and not stopped(control):  # somebody is still giving it away
        rest(looks)
        looks += 1
        got = load_acquire(queue.ring, slot)
    if stopped(control):
        return np.int32(-1)
    store_release(queue.ring, slot, (ticket + size) << 32)
    return np.int32((got & np.int64(0xFFFFFFFF)) - 1)


@kernel(bare=True)
def _wake(j, mine, versions_at, queue_at, control):
    """A list that was taken: all in it are free to run, the one that waited longest by this worker, if it holds none."""
    versions, queue = value(versions_at), value(queue_at)
    while j > 0:
        u = j - np.int32(1)
        j = queue.following[u]
        store_release(versions.state, u, (versions.state[u] & np.int32(-4)) | READY)
        if mine >= 0:
            _give_away(mine, queue, control)
        mine = u
    return mine


@kernel(inline=True, bare=True)
def _read(t, versions, status):
    """Fill the cells of transaction t with the newest versions; returns FINAL, or who must run first."""
    cells, seen, before_block = versions.cells, versions.seen, versions.pre_values
    for e in range(U64(versions.indptr[t]), U64(versions.indptr[t + 1])):
        mode = versions.modes[e]
        if mode == CREDITED:
            cells[e, 0], cells[e, 1], cells[e, 2], cells[e, 3] = U64(0), U64(0), U64(0), U64(0)
            continue
        key = U64(versions.keys[e])
        if versions.before[e] < 0:
            v0, v1, v2, v3 = before_block[key, 0], before_block[key, 1], before_block[key, 2], before_block[key, 3]
        else:
            blocker, v0, v1, v2, v3 = resolve(versions.before[e], key, versions, status)
            if blocker != FINAL:
                return blocker
            if mode != READ:
                seen[e, 0], seen[e, 1], seen[e, 2], seen[e, 3] = v0, v1, v2, v3
        cells[e, 0], cells[e, 1], cells[e, 2], cells[e, 3] = v0, v1, v2, v3
    return FINAL


@kernel(inline=True, bare=True)
def _announce(t, versions, queue):
    """Raise `reach` of the keys that transaction t has read, as far as they may be changed before it."""
    place = np.int32(versions.place[t] + 1)
    for e in range(U64(versions.indptr[t]), U64(versions.indptr[t + 1])):
        if versions.before[e] >= 0 and versions.modes[e] != CREDITED:
            key = versions.keys[e]
            far = load_acquire(queue.reach, key)
            while far < place and not compare_and_swap(queue.reach, key, far, place):
                far = load_acquire(queue.reach, key)


@kernel(inline=True, bare=True)
def _valid(t, versions, status):
    """Whether what transaction t read is what it would read now, value by value; if not, the key is contended."""
    for e in range(U64(versions.indptr[t]), U64(versions.indptr[t + 1])):
        mode = versions.modes[e]
        if versions.before[e] < 0 or mode == CREDITED:
            continue
        blocker, v0, v1, v2, v3 = resolve(versions.before[e], versions.keys[e], versions, status)
        read = versions.cells if mode == READ else versions.seen
        changed = (v0 ^ read[e, 0]) | (v1 ^ read[e, 1]) | (v2 ^ read[e, 2]) | (v3 ^ read[e, 3])
        if blocker != FINAL or changed != U64(0):
            store_release(versions.contended, versions.keys[e], np.int32(1))
            return False
    return True


@kernel(inline=True, bare=True)
def _next_reader(e, j, t, versions, queue):
    """The next later transaction that may have read what t changes, as (entry of t, entry of the reader, -1 = none left).

    Goes through t's entries from e on, and for each through the later entries of its key from j on, as far as the key has
    been read.
    """
    place = versions.place[t]
    while True:
        if j < 0:  # the first one after entry e
            if e >= versions.indptr[t + 1]:
                return e, np.int32(-1)
            if versions.modes[e] == READ or versions.after[e] < 0 or load_acquire(queue.reach, versions.keys[e]) <= place + 1:
                e += 1
                continue
            j = versions.after[e]
        else:
            j = versions.after[j]
        if j < 0 or versions.place[versions.tx_of[j]] >= load_acquire(queue.reach, versions.keys[e]):
            j = np.int32(-1)
            e += 1
        elif versions.modes[j] != CREDITED:
            return e, j


@kernel(inline=True, bare=True)
def _publish(t, worker, mine, versions, queue, versions_at, queue_at, status, counts, control):
    """The versions of transaction t count from now on: wake who waits for it, check itself and who has read past it.

    Returns the transaction that this worker holds next, or -1: of those to be run again the first in order.
    """
    if versions.follows[t]:
        _announce(t, versions, queue)
    exchange(versions.state, t, (versions.state[t] & np.int32(-4)) | EXECUTED)
    if _WEAK:
        fence()
    waiting = exchange(queue.waiting, t, np.int32(0))
    if waiting > 0:
        mine = _wake(waiting, mine, versions_at, queue_at, control)
    e, j = versions.indptr[t], np.int32(-1)
    u = t if versions.follows[t] else np.int32(-1)
    while True:
        if u >= 0:
            now = load_acquire(versions.state, u)
            if now & 3 == EXECUTED:
                counts[_VALIDATIONS] += 1
                if _valid(u, versions, status):
                    if j >= 0 and versions.modes[j] != READ and status[u] == SUCCESS:
                        j = np.int32(-1)  # whoever comes later reads this one's version
                        e += 1
                elif compare_and_swap(versions.state, u, now, _next_try(now) | READY):
                    counts[_ABORTED] += 1
                    fetch_add(control, _ABORTS, np.int64(1))
                    store_release(control, _FINISHED + (2 * worker + 1) * PAD, counts[_ABORTED])
                    if mine >= 0 and versions.place[u] < versions.place[mine]:
                        mine, u = u, mine
                    if mine >= 0:
                        _give_away(u, queue, control)
                    else:
                        mine = u
        e, j = _next_reader(e, j, t, versions, queue)
        if j < 0:
            break
        u = versions.tx_of[j]
    counts[_EXECUTIONS] += 1
    store_release(control, _FINISHED + 2 * worker * PAD, counts[_EXECUTIONS])
    return mine


@kernel(bare=True)
def _wait_for(blocker, t, mine, versions_at, queue_at, control):
    """Hand transaction t to the one that must run first; returns what this worker holds then (t itself, if that is over)."""
    versions, queue = value(versions_at), value(queue_at)
    now = versions.state[t]
    store_release(versions.state, t, _next_try(now) | WAITING)
    while True:
        seen = load_acquire(queue.waiting, blocker)
        queue.following[t] = seen
        if compare_and_swap(queue.waiting, blocker, seen, np.int32(t + 1)):
            break
    if load_acquire(versions.state, blocker) & 3 == EXECUTED:  # meanwhile: whoever takes the list sees to all in it
        mine = _wake(exchange(queue.waiting, blocker, np.int32(0)), mine, versions_at, queue_at, control)
    return mine


@kernel(bare=True)
def _all_finished(n_workers, n_tx, looks, control):
    """Whether every transaction is executed and nobody is still checking; if not, waits a little.

    Executions are read before aborts: a worker counts an execution after all that follows from it, and an abort at once.
    So the difference read is at most the true one, and that is at most n_tx.
    """
    finished = np.int64(0)
    for w in range(n_workers):
        finished += load_acquire(control, _FINISHED + 2 * w * PAD)
    for w in range(n_workers):
        finished -= load_acquire(control, _FINISHED + (2 * w + 1) * PAD)
    if finished == n_tx:
        return True
    rest(looks)
    return False


@kernel(bare=True)
def _commit(versions_at, state, status, control):
    """Write what the block leaves of each key that may have changed, together with the other workers."""
    versions = value(versions_at)
    n_keys = versions.last.shape[0]
    while True:
        first = fetch_add(control, _KEY, np.int64(_KEYS))
        if first >= n_keys:
            return
        for key in range(first, min(first + _KEYS, n_keys)):
            if versions.last[key] >= 0:
                _, v0, v1, v2, v3 = resolve(versions.last[key], key, versions, status)
                state[key, 0], state[key, 1], state[key, 2], state[key, 3] = v0, v1, v2, v3


@kernel(bare=True)
def _worker(worker, n_workers, n_threads, chunk, slack, share, versions, queue, order, context, state, counters):
    """Run what is held, or in the ring, or next in order, until nothing is left; then write the state.

    Gives up for all when more than `share` of the executions, and `slack`, were thrown away.
    """
    here, versions_at, queue_at, control = reference(context), reference(versions), reference(queue), context.control
    n_tx, status = order.shape[0], context.receipts.status
    counts = counters[worker]
    start, begin = thread_cpu(), now()
    fetch_add(control, _STARTED, np.int64(1))
    together = n_threads == 1
    hash_together(worker, _HASH, _HASHED, here)
    mine = np.int32(-1)
    at, end = np.int64(0), np.int64(0)
    looks = 0
    while not stopped(control):
        if not together:
            together = all_here(n_threads, begin, _STARTED, _LEFT, control)
        t = np.int32(-1)
        if mine >= 0 and (at >= end or versions.place[mine] < at):
            t = mine
            mine = np.int32(-1)
        elif at < end:
            t = order[at]
            at += 1
        else:
            if load_acquire(control, _HEAD) < load_acquire(control, _TAIL):
                t = _take(queue, control)
            elif load_acquire(control, _NEXT) < n_tx:
                step = chunk if load_acquire(control, _ABORTS) * 16 <= load_acquire(control, _NEXT) else np.int64(1)
                at = fetch_add(control, _NEXT, step)
                end = min(at + step, n_tx)
            else:
                if _all_finished(n_workers, n_tx, looks, control):
                    break
                looks += 1
        if t < 0:
            continue
        looks = 0
        store_release(versions.state, t, (versions.state[t] & np.int32(-4)) | EXECUTING)
        if _WEAK:  # before anything is written to the cells, whose readers look at the state once more
            fence()
        blocker = _read(t, versions, status)
        if blocker != FINAL:
            counts[_WAITS] += 1
            mine = _wait_for(blocker, t, mine, versions_at, queue_at, control)
            continue
        place = np.int64(versions.place[t])
        run_here(place, place + 1, order, context, here, worker)
        if n_workers == 1:  # in the promised order: nobody can have read too early
            store_release(versions.state, t, (versions.state[t] & np.int32(-4)) | EXECUTED)
            counts[_EXECUTIONS] += 1
            store_release(control, _FINISHED, counts[_EXECUTIONS])
            continue
        mine = _publish(t, worker, mine, versions, queue, versions_at, queue_at, status, counts, control)
        if counts[_ABORTED] > 0 and load_acquire(control, _ABORTS) > slack:
            executions = np.int64(0)
            for w in range(n_workers):
                executions += load_acquire(control, _FINISHED + 2 * w * PAD)
            if load_acquire(control, _ABORTS) > slack + share * executions:
                fail(control, GAVE_UP)
    if not together:
        all_here(n_threads, 0, _STARTED, _LEFT, control)
    if not stopped(control):
        _commit(versions_at, state, status, control)
    counts[_CPU] = thread_cpu() - start


@parallel_kernel(bare=True)
def run_optimistic(
    n_workers, n_threads, chunk, slack, share, versions, queue, order, state, counters,
    code, hashing, values, sums, scratch, receipts, times, control,
):  # fmt: skip
    """Run all transactions in one parallel region; each iteration is a worker.

    code has rows by entry, and values are the cells of `versions`; control has optimistic_cells(n_workers) entries, zero;
    counters (n_workers, PAD) int64, zero, gets one row of COUNTS for each worker. The state is written at the end, unless the
    run was stopped or given up.
    """
    for worker in prange(n_workers):
        here = Context(code, hashing, values, sums, scratch, receipts, times, control)
        _worker(np.int64(worker), n_workers, n_threads, chunk, slack, share, versions, queue, order, here, state, counters)
