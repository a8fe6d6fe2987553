"""Filling a block: a candidate that does not fit now never fits later, so each is looked at once and dropped for good."""

from __future__ import annotations

from .heap import pop_time, push_time
from .jit import kernel

__all__ = ["fill_block"]

_READ = 1
_CREDIT = 4


@kernel
def _ready(t, indptr, keys, modes, gas_of_t, n_capped, key_cap, load, state):
    """When what conflicts with t is done; -1 if t would push a written key over its cap."""
    ready = 0.0
    for i in range(indptr[t], indptr[t + 1]):
        key = keys[i]
        mode = modes[i]
        if mode != _READ and mode != _CREDIT and key < n_capped and load[key] + gas_of_t > key_cap:
            return -1.0
        ready = max(ready, state[key, 1])
        if mode != _READ:
            ready = max(ready, state[key, 0])
        if mode != _CREDIT:
            ready = max(ready, state[key, 2])
    return ready


@kernel
def _record(t, indptr, keys, modes, gas_of_t, end, load, state):
    """Take t into the loads and into the latest end of each key's readers, writers and crediters."""
    for i in range(indptr[t], indptr[t + 1]):
        key = keys[i]
        mode = modes[i]
        group = 0 if mode == _READ else (2 if mode == _CREDIT else 1)
        if group == 1:
            load[key] += gas_of_t
        state[key, group] = max(state[key, group], end)


@kernel
def _place_of(times, n, value):
    """How many of the n ascending times are at most `value`."""
    low, high = 0, n
    while low < high:
        middle = (low + high) >> 1
        if times[middle] <= value:
            low = middle + 1
        else:
            high = middle
    return low


@kernel
def fill_block(
    first, next_of, priority, indptr, keys, modes, gas, blobs, gas_limit, blob_limit, n_capped, key_cap, deadline, n_workers,
    load, state, free_at, free_id, heap_time, heap_tx, chosen, start, end, worker,
):  # fmt: skip
    """Take the senders' heads, least priority value first (lowest index on ties), as long as they fit.

    chosen gets the transactions in the order taken; start, end and worker, by transaction, the times of an assignment in
    that order: each goes to the worker that became free last before the transaction is ready, or else to the one that is
    free first. Returns the number taken.

    load (n_keys,) int64 and state (n_keys, 3) float64, zero-filled; keys from n_capped on have no cap. free_at (n_workers,)
    float64 zero-filled, free_id (n_workers,) int32 counting up: both are kept ascending by time. Scratch of one element
    a sender: heap_time float64, heap_tx int32.
    """
    n_heap, n_chosen = 0, 0
    left, blobs_left = gas_limit, blob_limit
    for s in range(first.shape[0]):
        t = first[s]
        n_heap = push_time(heap_time, heap_tx, n_heap, priority[t], t)
    while n_heap > 0:
        t = heap_tx[0]
        n_heap = pop_time(heap_time, heap_tx, n_heap)
        if gas[t] > left or blobs[t] > blobs_left:
            continue
        ready = _ready(t, indptr, keys, modes, gas[t], n_capped, key_cap, load, state)
        if ready < 0.0:
            continue
        place = max(0, _place_of(free_at, n_workers, ready) - 1)
        begin = max(ready, free_at[place])
        done = begin + gas[t]
        if done > deadline:
            continue
        here = free_id[place]
        while place + 1 < n_workers and free_at[place + 1] < done:
            free_at[place] = free_at[place + 1]
            free_id[place] = free_id[place + 1]
            place += 1
        free_at[place] = done
        free_id[place] = here
        start[t] = begin
        end[t] = done
        worker[t] = here
        _record(t, indptr, keys, modes, gas[t], done, load, state)
        left -= gas[t]
        blobs_left -= blobs[t]
        chosen[n_chosen] = t
        n_chosen += 1
        after = next_of[t]
        if after >= 0:
            n_heap = push_time(heap_time, heap_tx, n_heap, priority[after], after)
    return n_chosen
