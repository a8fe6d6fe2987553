"""Kernels over the accesses in order: levels, finish times and the check, each with one cache line of state per key.

A key's state holds one value for each group of `conflicts.access_group`; nothing is ever reset, because what a later
access takes is a maximum and a writer's value exceeds all before it.
"""

from __future__ import annotations

import numpy as np

from .jit import kernel

__all__ = ["check", "check_times", "finish_times", "group_by_wave", "levels", "repair"]

_READ, _CREDIT = 1, 4


@kernel
def levels(indptr, keys, modes, state, level):
    """level[t] = 1 + the highest level of an earlier conflicting transaction, from 0; returns the number of levels.

    state (n_keys, 4) int32, zero-filled: highest level + 1 of the readers, writers and crediters of each key so far.
    """
    n_levels = 0
    for t in range(indptr.shape[0] - 1):
        first, end = indptr[t], indptr[t + 1]
        here = np.int32(0)
        for i in range(first, end):
            key = keys[i]
            mode = modes[i]
            here = max(here, state[key, 1])
            if mode != _READ:
                here = max(here, state[key, 0])
            if mode != _CREDIT:
                here = max(here, state[key, 2])
        level[t] = here
        here += np.int32(1)
        n_levels = max(n_levels, here)
        for i in range(first, end):
            key = keys[i]
            mode = modes[i]
            if mode == _READ:
                state[key, 0] = max(state[key, 0], here)
            elif mode == _CREDIT:
                state[key, 2] = max(state[key, 2], here)
            else:
                state[key, 1] = here
    return n_levels


@kernel
def repair(order, planned, indptr, keys, modes, state, wave):
    """Move each transaction to the first wave, not before the planned one, after all its predecessors in `order`.

    state (n_keys, 8) int32, zero-filled: as in `levels`, and from column 4 on the same of the planned waves. Writes
    wave[t]; returns (waves used, accesses that the plan itself has not after all their predecessors, transactions put off).
    """
    n_waves, conflicts, put_off = 0, 0, 0
    for position in range(order.shape[0]):
        t = order[position]
        first, end = indptr[t], indptr[t + 1]
        here = planned[t]
        for i in range(first, end):
            key = keys[i]
            mode = modes[i]
            need, wanted = state[key, 1], state[key, 5]
            if mode != _READ:
                need, wanted = max(need, state[key, 0]), max(wanted, state[key, 4])
            if mode != _CREDIT:
                need, wanted = max(need, state[key, 2]), max(wanted, state[key, 6])
            here = max(here, need)
            if wanted > planned[t]:
                conflicts += 1
        if here > planned[t]:
            put_off += 1
        wave[t] = here
        here += np.int32(1)
        n_waves = max(n_waves, here)
        for i in range(first, end):
            key = keys[i]
            group = 0 if modes[i] == _READ else (2 if modes[i] == _CREDIT else 1)
            state[key, group] = max(state[key, group], here)
            state[key, 4 + group] = max(state[key, 4 + group], planned[t] + np.int32(1))
    return n_waves, conflicts, put_off


@kernel
def group_by_wave(order, wave, wave_start, wave_tx):
    """Counting sort by wave, in `order` within one.

    wave_start (n_waves + 2,) int64, zero-filled, ends as the offsets and one unused entry.
    """
    for t in range(wave.shape[0]):
        wave_start[wave[t] + 2] += 1
    for w in range(1, wave_start.shape[0]):
        wave_start[w] += wave_start[w - 1]
    for position in range(order.shape[0]):
        t = order[position]
        w = wave[t] + 1
        wave_tx[wave_start[w]] = t
        wave_start[w] += 1


@kernel
def finish_times(indptr, keys, modes, cost, state, finish):
    """finish[t] = cost[t] + the latest finish of an earlier conflicting transaction; returns the largest.

    state (n_keys, 3) float64, zero-filled.
    """
    longest = 0.0
    for t in range(indptr.shape[0] - 1):
        first, end = indptr[t], indptr[t + 1]
        here = 0.0
        for i in range(first, end):
            key = keys[i]
            mode = modes[i]
            here = max(here, state[key, 1])
            if mode != _READ:
                here = max(here, state[key, 0])
            if mode != _CREDIT:
                here = max(here, state[key, 2])
        here += cost[t]
        finish[t] = here
        longest = max(longest, here)
        for i in range(first, end):
            key = keys[i]
            group = 0 if modes[i] == _READ else (2 if modes[i] == _CREDIT else 1)
            state[key, group] = max(state[key, group], here)
    return longest


@kernel
def check(order, wave, indptr, keys, modes, state):
    """First violated pair, walking the serial order: (position of the later one, key, position of the earlier one).

    (-1, -1, -1) if every conflicting pair runs in rising waves. state (n_keys, 6) int32, zero-filled: per group the
    latest wave + 1, and the first position in it.
    """
    for position in range(order.shape[0]):
        t = order[position]
        here = wave[t] + 1
        for i in range(indptr[t], indptr[t + 1]):
            key = keys[i]
            mode = modes[i]
            latest = 0
            other = -1
            for group in range(3):
                if (group == 0 and mode == _READ) or (group == 2 and mode == _CREDIT):
                    continue
                w, p = state[key, group], state[key, 3 + group]
                if w > latest or (w == latest and w > 0 and p < other):
                    latest = w
                    other = p
            if latest >= here:
                return position, np.int64(key), np.int64(other)
        for i in range(indptr[t], indptr[t + 1]):
            key = keys[i]
            group = 0 if modes[i] == _READ else (2 if modes[i] == _CREDIT else 1)
            if here > state[key, group]:
                state[key, group] = here
                state[key, 3 + group] = position
    return -1, np.int64(-1), np.int64(-1)


@kernel
def check_times(order, start, end, indptr, keys, modes, latest_end, latest_at):
    """Like `check`, for times: of a conflicting pair the earlier in `order` must end before, or when, the later starts.

    latest_end (n_keys, 3) float64 and latest_at (n_keys, 3) int32, zero-filled: per group of each key the latest end, and
    the first position that has it. Times are not negative, so a group without members never ends after a start.
    """
    for position in range(order.shape[0]):
        t = order[position]
        for i in range(indptr[t], indptr[t + 1]):
            key = keys[i]
            mode = modes[i]
            latest = start[t]
            other = -1
            for group in range(3):
                if (group == 0 and mode == _READ) or (group == 2 and mode == _CREDIT):
                    continue
                e, p = latest_end[key, group], latest_at[key, group]
                if e > latest or (e == latest and other >= 0 and p < other):
                    latest = e
                    other = p
            if other >= 0:
                return position, np.int64(key), np.int64(other)
        for i in range(indptr[t], indptr[t + 1]):
            key = keys[i]
            group = 0 if modes[i] == _READ else (2 if modes[i] == _CREDIT else 1)
            if end[t] > latest_end[key, group]:
                latest_end[key, group] = end[t]
                latest_at[key, group] = position
    return -1, np.int64(-1), np.int64(-1)
