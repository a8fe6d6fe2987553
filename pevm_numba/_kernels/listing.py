"""List schedules on p virtual workers: of several that are free the lowest number takes the ready one of best rank.

Times are float64 in the unit of cost: sums of integers are exact below 2**53, so equal instants compare equal.
"""

from __future__ import annotations

import numpy as np

from .heap import pop, pop_time, push, push_time
from .jit import kernel

__all__ = ["list_times", "wave_times"]


@kernel
def list_times(
    succ_start, succ, waiting, at_rank, rank, cost, release, n_workers, dispatch,
    start, end, worker, ready, free, busy_until, busy_tx, later, later_tx, stack,
):  # fmt: skip
    """Simulate list scheduling; writes start, end and worker of each transaction, returns the makespan.

    Nodes from len(cost) on are joins: no work, done as soon as their predecessors are. waiting (n_nodes,) int32 counts
    the predecessors of each node and ends as zeros. A transaction waits for its predecessors and for its release time;
    it takes dispatch + cost. rank[at_rank[r]] = r orders the ready ones.

    Scratch: ready, busy_tx, later_tx (n_tx,) int32, free (n_workers,) int32, busy_until, later (n_tx,) float64, stack
    (n_nodes,) int32.
    """
    n_tx = cost.shape[0]
    n_nodes = waiting.shape[0]
    n_ready, n_free, n_busy, n_later, n_stack = 0, 0, 0, 0, 0
    for w in range(n_workers):
        free[w] = w
    n_free = n_workers
    now = 0.0
    for v in range(n_nodes):
        if waiting[v] == 0:
            if v >= n_tx:
                stack[n_stack] = v
                n_stack += 1
            elif release[v] <= now:
                n_ready = push(ready, n_ready, rank[v])
            else:
                n_later = push_time(later, later_tx, n_later, release[v], v)
    makespan = 0.0
    while True:
        while n_busy > 0 and busy_until[0] <= now:
            t = busy_tx[0]
            n_busy = pop_time(busy_until, busy_tx, n_busy)
            n_free = push(free, n_free, worker[t])
            stack[n_stack] = t
            n_stack += 1
        while n_stack > 0:
            n_stack -= 1
            v = stack[n_stack]
            for e in range(succ_start[v], succ_start[v + 1]):
                u = succ[e]
                waiting[u] -= 1
                if waiting[u] == 0:
                    if u >= n_tx:
                        stack[n_stack] = u
                        n_stack += 1
                    elif release[u] <= now:
                        n_ready = push(ready, n_ready, rank[u])
                    else:
                        n_later = push_time(later, later_tx, n_later, release[u], u)
        while n_later > 0 and later[0] <= now:
            n_ready = push(ready, n_ready, rank[later_tx[0]])
            n_later = pop_time(later, later_tx, n_later)
        while n_ready > 0 and n_free > 0:
            t = at_rank[ready[0]]
            n_ready = pop(ready, n_ready)
            worker[t] = free[0]
            n_free = pop(free, n_free)
            start[t] = now
            end[t] = now + (dispatch + cost[t])
            makespan = max(makespan, end[t])
            n_busy = push_time(busy_until, busy_tx, n_busy, end[t], t)
            if end[t] <= now:  # over at once: what waited for it may go before the next one
                break
        if n_busy > 0 and (n_later == 0 or busy_until[0] <= later[0]):
            now = busy_until[0]
        elif n_later > 0:
            now = later[0]
        else:
            return makespan


@kernel
def wave_times(wave_start, wave_tx, cost, release, n_workers, dispatch, barrier, start, end, worker, free_at, free):
    """Waves one after the other, each ended by a barrier; returns the makespan, the last barrier included.

    In a wave each transaction, in the order of wave_tx, goes to the worker that is free first (the lowest on ties).
    Scratch: free_at (n_workers,) float64, free (n_workers,) int32.
    """
    now = 0.0
    for w in range(wave_start.shape[0] - 1):
        first, last = wave_start[w], wave_start[w + 1]
        n = min(np.int64(n_workers), last - first)
        for i in range(n):
            free_at[i] = now
            free[i] = i
        latest = now
        for i in range(first, last):
            t = wave_tx[i]
            here = free[0]
            start[t] = max(free_at[0], release[t])
            end[t] = start[t] + (dispatch + cost[t])
            worker[t] = here
            latest = max(latest, end[t])
            pop_time(free_at, free, n)
            push_time(free_at, free, n - 1, end[t], here)
        now = latest + barrier
    return now
