"""Kernels over the accesses in order: levels, finish times and the check, each with one cache line of state per key.

A key's state holds one value for each group of `conflicts.access_group`; nothing is ever reset, because what a later
access takes is a maximum and a writer's value exceeds all before it.
"""

from __future__ import annotations

import numpy as np

from .conflicts import access_group
from .jit import U64, kernel

__all__ = ["check", "check_times", "finish_times", "group_by_wave", "levels", "repair"]

_READ, _CREDIT = 1, 4

#: Column of a key's row in `repair`.
_APART = 3


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


@kernel(inline=True)
def _after(row, mode):
    """The highest of a key's entries that an access of this mode must come after."""
    # no branches: which mode it is, nobody can predict
    return max(row[1], np.int32(np.int32(mode != _READ) * row[0]), np.int32(np.int32(mode != _CREDIT) * row[2]))


@kernel(bare=True)
def _put_off(first, end, keys, modes, plan, here, base, state, planned_state):
    """Enter a transaction that runs later than planned; returns its accesses that the plan has not after what they follow."""
    conflicts = 0
    for i in range(first, end):
        key, group = U64(keys[i]), U64(access_group(modes[i]))
        row, of_plan = state[key], planned_state[key]
        if row[_APART] <= base:
            row[_APART] = base + np.int32(1)
            for c in range(3):
                of_plan[c] = row[c]
        conflicts += _after(of_plan, modes[i]) > plan
        row[group] = max(row[group], np.int32(here + 1))
        of_plan[group] = max(of_plan[group], np.int32(plan + 1))
    return conflicts


@kernel(bare=True)
def repair(order, wave_indptr, wave_tx, indptr, keys, modes, base, state, planned_state, wave):
    """Move each transaction to the first wave, not before the planned one, after all its predecessors in `order`.

    The plan is that of wave_indptr and wave_tx. state (n_keys, 4) int32: as in `levels`, and whether the key's entry for the
    planned waves differs; that is then in planned_state (n_keys, 4) int32. All have `base` added; nothing in state is more
    than base at first, and at most twice the transactions + 1 is added. Writes wave[t]; returns (waves used, accesses that
    the plan itself has not after all their predecessors, transactions put off).
    """
    n_waves, conflicts, put_off = 0, 0, 0
    for w in range(wave_indptr.shape[0] - 1):
        for place in range(wave_indptr[w], wave_indptr[w + 1]):
            wave[wave_tx[place]] = w
    for position in range(order.shape[0]):
        t = order[position]
        first, end = indptr[t], indptr[t + 1]
        plan = np.int32(wave[t] + base)
        here = plan
        for i in range(first, end):
            here = max(here, _after(state[U64(keys[i])], modes[i]))
        wave[t] = here - base
        n_waves = max(n_waves, here + 1 - base)
        if here > plan:
            put_off += 1
            conflicts += _put_off(first, end, keys, modes, plan, here, base, state, planned_state)
            continue
        here += np.int32(1)
        for i in range(first, end):
            key, group = U64(keys[i]), U64(access_group(modes[i]))
            row = state[key]
            row[group] = max(row[group], here)
            if row[_APART] > base:
                planned_state[key, group] = max(planned_state[key, group], here)
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
