"""Kernels behind `schedule.bounds`: what one key forces is counted in one pass, with one cache line of state per key."""

from __future__ import annotations

from .conflicts import access_group
from .jit import kernel

__all__ = ["key_loads"]

# Columns of `state`. _SEEN: 1 = somebody only reads the key, 2 = somebody only credits it, 3 = both.
_WRITERS, _READER, _CREDITER, _DONE, _RUN, _GROUP, _N_WRITERS, _SEEN = range(8)


@kernel(inline=True)
def _take(key, group, cost, state):
    """Count one access."""
    if group == 1:
        state[key, _WRITERS] += cost
        state[key, _N_WRITERS] += 1.0
    elif group == 0:
        state[key, _READER] = max(state[key, _READER], cost)
        if state[key, _SEEN] == 0.0 or state[key, _SEEN] == 2.0:
            state[key, _SEEN] += 1.0
    else:
        state[key, _CREDITER] = max(state[key, _CREDITER], cost)
        if state[key, _SEEN] < 2.0:
            state[key, _SEEN] += 2.0
    if group != 1 and state[key, _GROUP] == group + 1.0:
        state[key, _RUN] = max(state[key, _RUN], cost)
    else:
        state[key, _DONE] += state[key, _RUN]
        state[key, _RUN] = cost
        state[key, _GROUP] = group + 1.0


@kernel
def key_loads(indptr, keys, modes, cost, state, load, key_of):
    """The keys that force most; writes three values to load (3,) float64 and their keys to key_of (3,) int64.

    0: work on the key that no two workers can share in any order: its writers, its largest pure reader and its largest
    pure crediter. 1: the same in block order: the largest of each run of readers or crediters, and the writers.
    2: how many transactions are meant by 0. The lowest key on ties; -1 and 0 without accesses. state (n_keys, 8) float64,
    zero-filled.
    """
    for t in range(indptr.shape[0] - 1):
        for i in range(indptr[t], indptr[t + 1]):
            _take(keys[i], access_group(modes[i]), cost[t], state)
    for j in range(3):
        load[j] = 0.0
        key_of[j] = -1
    for key in range(state.shape[0]):
        if state[key, _GROUP] == 0.0:
            continue
        members = state[key, _N_WRITERS]
        if state[key, _SEEN] > 0.0:
            members += 1.0
        if state[key, _SEEN] == 3.0:
            members += 1.0
        free = state[key, _WRITERS] + state[key, _READER] + state[key, _CREDITER]
        if key_of[0] < 0 or free > load[0]:
            load[0] = free
            key_of[0] = key
        if key_of[1] < 0 or state[key, _DONE] + state[key, _RUN] > load[1]:
            load[1] = state[key, _DONE] + state[key, _RUN]
            key_of[1] = key
        if key_of[2] < 0 or members > load[2]:
            load[2] = members
            key_of[2] = key
