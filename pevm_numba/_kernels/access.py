"""Kernels on access sets: keys are distinct and ascending within a transaction in every result, whatever came in."""

from __future__ import annotations

import numpy as np

from .jit import U64, kernel
from .sets import sort_set

__all__ = ["compare_sets", "count_pairs", "degrade_sets", "fill_pairs", "group_by_key", "merge_sets", "select_sets"]

_READ, _WRITE, _CREDIT = 1, 2, 4


@kernel
def _take_in(given_keys, given_modes, first, last, place, start, total, keys, modes):
    """Add entries first:last to the set that is written from `start` on; returns its new end. place is as in merge_sets."""
    for i in range(first, last):
        key = given_keys[i]
        if place[key] >= start:
            modes[place[key]] |= given_modes[i]
        else:
            place[key] = total
            keys[total] = key
            modes[total] = given_modes[i]
            total += 1
    return total


@kernel
def merge_sets(a_indptr, a_keys, a_modes, b_indptr, b_keys, b_modes, n_keys, indptr, keys, modes):
    """Union of two CSRs of (key, mode) in any order, repeats allowed; returns the number of entries.

    keys and modes have room for all entries of both. Linear but for the sort within a transaction.
    """
    place = np.full(n_keys, -1, np.int64)  # where the key stands in the output, valid if within this transaction
    total = 0
    for t in range(a_indptr.shape[0] - 1):
        start = total
        indptr[t] = start
        total = _take_in(a_keys, a_modes, a_indptr[t], a_indptr[t + 1], place, start, total, keys, modes)
        total = _take_in(b_keys, b_modes, b_indptr[t], b_indptr[t + 1], place, start, total, keys, modes)
        sort_set(keys, modes, start, total)
    indptr[a_indptr.shape[0] - 1] = total
    return total


@kernel
def select_sets(a_indptr, a_keys, a_modes, new_mode, keep, indptr, keys, modes):
    """Entries whose key is kept, with new_mode[mode] for mode; returns their number. Order stays."""
    total = 0
    for t in range(a_indptr.shape[0] - 1):
        indptr[t] = total
        for i in range(a_indptr[t], a_indptr[t + 1]):
            if keep[a_keys[i]]:
                keys[total] = a_keys[i]
                modes[total] = new_mode[a_modes[i]]
                total += 1
    indptr[a_indptr.shape[0] - 1] = total
    return total


# -------------------------------------------------------------------- degrading


@kernel(inline=True)
def _bits(seed, t, x, kind):
    """64 bits by transaction, number and kind of question: the splitmix64 finaliser, twice."""
    z = seed + U64(0x9E3779B97F4A7C15) * (U64(t) + U64(1))
    z = (z ^ (z >> U64(30))) * U64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> U64(27))) * U64(0x94D049BB133111EB)
    z = (z ^ (z >> U64(31))) + U64(0x9E3779B97F4A7C15) * (U64(x) * U64(4) + U64(kind) + U64(1))
    z = (z ^ (z >> U64(30))) * U64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> U64(27))) * U64(0x94D049BB133111EB)
    return z ^ (z >> U64(31))


@kernel
def degrade_sets(a_indptr, a_keys, a_modes, n_keys, seed, miss, extra, indptr, keys, modes):
    """Drop each entry with chance miss / 2**63; for each, with chance extra / 2**63, add one that is not there.

    An added entry is a READ or a WRITE of a key drawn from all keys; if the transaction accesses the key (or got it
    already), nothing is added. keys and modes have room for twice the entries; returns the number written.
    """
    seen = np.full(n_keys, -1, np.int32)  # the last transaction that accesses the key or got it added
    total = 0
    for t in range(a_indptr.shape[0] - 1):
        start = total
        indptr[t] = start
        for i in range(a_indptr[t], a_indptr[t + 1]):
            key = a_keys[i]
            seen[key] = t
            if (_bits(seed, t, key, 0) >> U64(1)) >= miss:
                keys[total] = key
                modes[total] = a_modes[i]
                total += 1
        for i in range(a_indptr[t], a_indptr[t + 1]):
            if (_bits(seed, t, a_keys[i], 1) >> U64(1)) >= extra:
                continue
            draw = _bits(seed, t, a_keys[i], 2)
            key = np.int32(((draw >> U64(32)) * U64(n_keys)) >> U64(32))
            if seen[key] != t:
                seen[key] = t
                keys[total] = key
                modes[total] = _WRITE if draw & U64(1) else _READ
                total += 1
        sort_set(keys, modes, start, total)
    indptr[a_indptr.shape[0] - 1] = total
    return total


# -------------------------------------------------------------------- comparing


@kernel
def compare_sets(a_indptr, a_keys, a_modes, b_indptr, b_keys, b_modes):
    """(in a, in b, in both): numbers of (transaction, key, mode bit), by a merge of the ascending keys."""
    n_a = n_b = n_both = np.int64(0)
    for i in range(a_modes.shape[0]):
        n_a += (a_modes[i] & 1) + ((a_modes[i] >> 1) & 1) + (a_modes[i] >> 2)
    for i in range(b_modes.shape[0]):
        n_b += (b_modes[i] & 1) + ((b_modes[i] >> 1) & 1) + (b_modes[i] >> 2)
    for t in range(a_indptr.shape[0] - 1):
        i, j = a_indptr[t], b_indptr[t]
        while i < a_indptr[t + 1] and j < b_indptr[t + 1]:
            if a_keys[i] < b_keys[j]:
                i += 1
            elif a_keys[i] > b_keys[j]:
                j += 1
            else:
                common = a_modes[i] & b_modes[j]
                n_both += (common & 1) + ((common >> 1) & 1) + (common >> 2)
                i += 1
                j += 1
    return n_a, n_b, n_both


@kernel
def group_by_key(indptr, keys, modes, n_keys, key_indptr, key_tx, key_mode):
    """Index key -> transactions, by a counting sort: per key its accesses in block order; key_indptr comes zeroed."""
    for i in range(keys.shape[0]):
        key_indptr[keys[i] + 1] += 1
    for k in range(n_keys):
        key_indptr[k + 1] += key_indptr[k]
    place = key_indptr[:n_keys].copy()
    for t in range(indptr.shape[0] - 1):
        for i in range(indptr[t], indptr[t + 1]):
            p = place[keys[i]]
            place[keys[i]] = p + 1
            key_tx[p] = t
            key_mode[p] = modes[i]


@kernel
def count_pairs(key_indptr, key_mode, out):
    """out[k] = pairs that conflict on key k: all but those that both only READ or both only CREDIT."""
    for k in range(key_indptr.shape[0] - 1):
        n = key_indptr[k + 1] - key_indptr[k]
        readers = credits = 0
        for i in range(key_indptr[k], key_indptr[k + 1]):
            if key_mode[i] == _READ:
                readers += 1
            elif key_mode[i] == _CREDIT:
                credits += 1
        out[k] = n * (n - 1) // 2 - readers * (readers - 1) // 2 - credits * (credits - 1) // 2


@kernel
def fill_pairs(key_indptr, key_tx, key_mode, out):
    """Write i * 2**32 + j for each conflicting pair i < j of each key; a pair repeats for each of its keys."""
    n = 0
    for k in range(key_indptr.shape[0] - 1):
        for i in range(key_indptr[k], key_indptr[k + 1]):
            for j in range(i + 1, key_indptr[k + 1]):
                both = key_mode[i] | key_mode[j]
                if both != _READ and both != _CREDIT:
                    out[n] = (np.int64(key_tx[i]) << 32) | np.int64(key_tx[j])
                    n += 1
