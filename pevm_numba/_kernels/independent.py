"""Kernels behind `schedule.independent`: a wave is one greedy pass in (degree, index) order, at once or in rounds."""

from __future__ import annotations

import numpy as np
from numba import prange

from .jit import kernel, parallel_kernel

__all__ = ["mis_parallel_waves", "mis_waves"]

# Arrays shared by the functions below, all int32, one entry per transaction:
# wave_of      wave of a scheduled transaction, -1 before
# blocked      last wave in which a conflicting transaction was picked, -1 before
# degree       conflicting transactions not yet scheduled
# ready        the eligible ones, ascending, n_ready of them
# order        the eligible ones by (degree, index)
# next_of      the sender's next transaction by (nonce, index), -1 for none
_NEVER = np.int32(2**31 - 1)
#: Shortest and first stretch of candidates that the rounds look at.
_LEAST = 64
_START = 1024


@kernel
def _put_in_order(ready, n_ready, degree, buckets, order):
    """order = ready by (degree, index): a counting sort, or comparisons where degrees spread far."""
    low = degree[ready[0]]
    high = low
    for i in range(n_ready):
        low = min(low, degree[ready[i]])
        high = max(high, degree[ready[i]])
    span = high - low + 1
    if span > 4 * n_ready + 64:
        pairs = np.empty(n_ready, np.int64)
        for i in range(n_ready):
            pairs[i] = (np.int64(degree[ready[i]]) << 32) | np.int64(ready[i])
        pairs.sort()
        for i in range(n_ready):
            order[i] = pairs[i] & 0xFFFFFFFF
        return
    for d in range(span + 1):
        buckets[d] = 0
    for i in range(n_ready):
        buckets[degree[ready[i]] - low + 1] += 1
    for d in range(1, span):
        buckets[d] += buckets[d - 1]
    for i in range(n_ready):
        d = degree[ready[i]] - low
        order[buckets[d]] = ready[i]
        buckets[d] += 1


@kernel
def _pick(t, wave, indptr, indices, wave_of, blocked, degree):
    """Schedule t and block its partners for this wave; partners that are scheduled already are stamped in vain."""
    wave_of[t] = wave
    for e in range(indptr[t], indptr[t + 1]):
        u = indices[e]
        degree[u] -= 1
        blocked[u] = wave


@kernel
def _close_wave(wave, ready, n_ready, next_of, wave_of, fresh, wave_tx, n_done):
    """Emit the wave in ascending order and let the next of each sender in; returns (n_ready, transactions done)."""
    kept = 0
    n_fresh = 0
    for i in range(n_ready):
        t = ready[i]
        if wave_of[t] == wave:
            wave_tx[n_done] = t
            n_done += 1
            if next_of[t] >= 0:
                fresh[n_fresh] = next_of[t]
                n_fresh += 1
        else:
            ready[kept] = t
            kept += 1
    if n_fresh > 0:
        fresh[:n_fresh].sort()
        a = kept - 1
        b = n_fresh - 1
        for place in range(kept + n_fresh - 1, -1, -1):  # merge from the back, in place
            if b < 0 or (a >= 0 and ready[a] > fresh[b]):
                ready[place] = ready[a]
                a -= 1
            else:
                ready[place] = fresh[b]
                b -= 1
    return kept + n_fresh, n_done


@kernel
def mis_waves(
    indptr, indices, next_of, ready, n_ready, wave_of, blocked, degree, buckets, order, fresh, wave_start, wave_tx
):  # fmt: skip
    """Schedule everything; writes wave_tx and wave_start[:n_waves + 1], returns n_waves."""
    n_tx = wave_of.shape[0]
    n_done = 0
    wave = 0
    while n_done < n_tx:
        _put_in_order(ready, n_ready, degree, buckets, order)
        for i in range(n_ready):
            t = order[i]
            if blocked[t] != wave:
                _pick(t, wave, indptr, indices, wave_of, blocked, degree)
        n_ready, n_done = _close_wave(wave, ready, n_ready, next_of, wave_of, fresh, wave_tx, n_done)
        wave += 1
        wave_start[wave] = n_done
    return wave


# -------------------------------------------------------------------- the same in rounds


@kernel
def _find_winners(first, end, wave, active, rank, blocked, indptr, indices, wins):
    """wins[i] = no undecided candidate of better rank conflicts with active[i], for first <= i < end."""
    for i in range(first, end):
        t = active[i]
        mine = rank[t]
        won = 1
        for e in range(indptr[t], indptr[t + 1]):
            u = indices[e]
            if rank[u] < mine and blocked[u] != wave:
                won = 0
                break
        wins[i] = won


@kernel
def _push(low, high, wave, winners, n_winners, indptr, indices, blocked, degree):
    """Block the winners' partners u with low <= u < high: rows ascend, so each worker finds its part by bisection."""
    for i in range(n_winners):
        t = winners[i]
        a, b = indptr[t], indptr[t + 1]
        end = b
        while a < b:
            middle = (a + b) >> 1
            if indices[middle] < low:
                a = middle + 1
            else:
                b = middle
        while a < end and indices[a] < high:
            u = indices[a]
            degree[u] -= 1
            blocked[u] = wave
            a += 1


@kernel
def _fill(active, n_active, want, order, n_ready, place, wave, blocked):
    """Append the next candidates that are not blocked until `want` are active; returns (n_active, place)."""
    while n_active < want and place < n_ready:
        t = order[place]
        place += 1
        if blocked[t] != wave:
            active[n_active] = t
            n_active += 1
    return n_active, place


@kernel
def _pick_in_turn(active, n_active, wave, indptr, indices, wave_of, blocked, degree, rank):
    """The sequential pass over a short stretch; returns the number picked."""
    picked = 0
    for i in range(n_active):
        t = active[i]
        if blocked[t] != wave:
            rank[t] = _NEVER
            _pick(t, wave, indptr, indices, wave_of, blocked, degree)
            picked += 1
    return picked


@kernel
def _take_winners(active, n_active, wave, wins, wave_of, rank, winners):
    """Schedule the winners; returns how many."""
    n = 0
    for i in range(n_active):
        if wins[i]:
            t = active[i]
            wave_of[t] = wave
            rank[t] = _NEVER
            winners[n] = t
            n += 1
    return n


@kernel
def _drop_decided(active, n_active, wave, wave_of, blocked):
    kept = 0
    for i in range(n_active):
        t = active[i]
        if wave_of[t] < 0 and blocked[t] != wave:
            active[kept] = t
            kept += 1
    return kept


@kernel
def _row_entries(active, n_active, indptr):
    total = 0
    for i in range(n_active):
        total += indptr[active[i] + 1] - indptr[active[i]]
    return total + n_active


@kernel
def _set_ranks(order, n_ready, rank):
    for i in range(n_ready):
        rank[order[i]] = i


@parallel_kernel
def mis_parallel_waves(
    n_workers, parallel_from, indptr, indices, next_of, ready, n_ready, wave_of, blocked, degree, buckets, order, fresh,
    wave_start, wave_tx, rank, active, wins, winners,
):  # fmt: skip
    """`mis_waves` in rounds: among the next `want` candidates all that beat their undecided rivals join at once.

    Worker w writes wins in its share of the active candidates, then degree and blocked in its share of the
    transactions. `want` doubles while most candidates join and halves where few do (a clique lets one join: looking at
    more is waste); stretches with fewer than parallel_from row entries are done in turn. rank starts as 2**31 - 1;
    neither the number of workers nor `want` changes the result.
    """
    n_tx = wave_of.shape[0]
    n_done = 0
    wave = 0
    want = _START
    while n_done < n_tx:
        _put_in_order(ready, n_ready, degree, buckets, order)
        _set_ranks(order, n_ready, rank)
        n_active = 0
        place = 0
        while True:
            n_active, place = _fill(active, n_active, want, order, n_ready, place, wave, blocked)
            if n_active == 0:
                break
            looked_at = n_active
            if _row_entries(active, n_active, indptr) < parallel_from:
                n_winners = _pick_in_turn(active, n_active, wave, indptr, indices, wave_of, blocked, degree, rank)
                n_active = 0
            else:
                for w in prange(n_workers):
                    _find_winners(
                        n_active * w // n_workers, n_active * (w + 1) // n_workers,
                        wave, active, rank, blocked, indptr, indices, wins,
                    )  # fmt: skip
                n_winners = _take_winners(active, n_active, wave, wins, wave_of, rank, winners)
                for w in prange(n_workers):
                    _push(
                        n_tx * w // n_workers, n_tx * (w + 1) // n_workers,
                        wave, winners, n_winners, indptr, indices, blocked, degree,
                    )  # fmt: skip
                n_active = _drop_decided(active, n_active, wave, wave_of, blocked)
            if 2 * n_winners > looked_at:
                want = min(2 * want, n_tx)
            elif 8 * n_winners < looked_at:
                want = max(_LEAST, want // 2)
        n_ready, n_done = _close_wave(wave, ready, n_ready, next_of, wave_of, fresh, wave_tx, n_done)
        wave += 1
        wave_start[wave] = n_done
    return wave
