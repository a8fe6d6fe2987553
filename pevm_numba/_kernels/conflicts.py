"""Kernels behind `schedule.conflicts`: a key lists its readers, writers, crediters, so that partners are one range."""

from __future__ import annotations

import numpy as np
from numba import prange

from .jit import U64, kernel, parallel_kernel

__all__ = [
    "all_pairs",
    "count_hot",
    "count_hot_parallel",
    "count_pairs",
    "count_pairs_parallel",
    "count_rows",
    "count_rows_parallel",
    "fill_rows",
    "fill_rows_parallel",
    "group_masks",
    "key_index",
    "pairs_to_rows",
    "row_work",
    "sample_pairs",
    "signatures",
]

_READ, _WRITE, _CREDIT = 1, 2, 4
_WW, _RW, _WR = 1, 2, 4


@kernel(inline=True)
def access_group(mode):
    """0 only reads, 2 only credits, 1 anything else (conflicts with every other access of the key)."""
    if mode == _READ:
        return 0
    if mode == _CREDIT:
        return 2
    return 1


@kernel(inline=True)
def pair_kinds(earlier, later):
    """WW, RW and WR bits of two accesses of one key; 0 = no conflict. A CREDIT counts as a write here."""
    kinds = 0
    earlier_writes = (earlier & (_WRITE | _CREDIT)) != 0
    later_writes = (later & (_WRITE | _CREDIT)) != 0
    if earlier_writes and later_writes and not (earlier == _CREDIT and later == _CREDIT):
        kinds |= _WW
    if (earlier & _READ) != 0 and later_writes:
        kinds |= _RW
    if earlier_writes and (later & _READ) != 0:
        kinds |= _WR
    return kinds


@kernel
def key_index(indptr, keys, modes, starts, tx, tx_mode):
    """Counting sort of the accesses by (key, group, transaction).

    starts (3 * n_keys + 2,) int64, zero-filled; afterwards group g of key k is tx[starts[3k + g]:starts[3k + g + 1]].
    """
    for i in range(keys.shape[0]):
        starts[3 * np.int64(keys[i]) + access_group(modes[i]) + 2] += 1
    for g in range(1, starts.shape[0]):
        starts[g] += starts[g - 1]
    for t in range(indptr.shape[0] - 1):
        for i in range(indptr[t], indptr[t + 1]):
            g = 3 * np.int64(keys[i]) + access_group(modes[i]) + 1
            place = starts[g]
            tx[place] = t
            tx_mode[place] = modes[i]
            starts[g] = place + 1


@kernel(inline=True)
def _first_group(key, mode):
    return 3 * np.int64(key) + (1 if mode == _READ else 0)


@kernel(inline=True)
def _end_group(key, mode):
    return 3 * np.int64(key) + (2 if mode == _CREDIT else 3)


@kernel
def row_work(indptr, keys, modes, starts, work):
    """work[t + 1] = entries of the index that row t has to look at; work[0] is left alone."""
    for t in range(indptr.shape[0] - 1):
        total = 0
        for i in range(indptr[t], indptr[t + 1]):
            total += starts[_end_group(keys[i], modes[i])] - starts[_first_group(keys[i], modes[i])]
        work[t + 1] = total


@kernel
def count_rows(first, last, indptr, keys, modes, starts, tx, degree):
    """degree[t] = distinct transactions that conflict with t, for first <= t < last."""
    stamp = np.full(degree.shape[0], -1, np.int32)
    for t in range(first, last):
        found = 0
        stamp[t] = t
        for i in range(indptr[t], indptr[t + 1]):
            for j in range(starts[_first_group(keys[i], modes[i])], starts[_end_group(keys[i], modes[i])]):
                u = tx[j]
                if stamp[u] != t:
                    stamp[u] = t
                    found += 1
        degree[t] = found


@kernel
def _sort_row(row, flags):
    """Sort distinct transactions in place; `flags` (n_tx,) uint8 is zero before and after."""
    m = row.shape[0]
    if m <= 32:
        for i in range(1, m):
            u = row[i]
            j = i - 1
            while j >= 0 and row[j] > u:
                row[j + 1] = row[j]
                j -= 1
            row[j + 1] = u
        return
    low = row[0]
    high = row[0]
    for i in range(m):
        low = min(low, row[i])
        high = max(high, row[i])
    if high - low > 16 * m:
        row.sort()
        return
    for i in range(m):
        flags[row[i]] = 1
    place = 0
    for u in range(low, high + 1):  # a scan of bytes is cheaper than comparing when the row is dense
        row[place] = u
        place += np.int64(flags[u])
        flags[u] = 0


@kernel
def fill_rows(first, last, indptr, keys, modes, starts, tx, row_start, row_tx):
    """Write the sorted rows first..last-1 at their places; row_start comes from `count_rows`."""
    n_tx = indptr.shape[0] - 1
    stamp = np.full(n_tx, -1, np.int32)
    flags = np.zeros(n_tx, np.uint8)
    for t in range(first, last):
        place = row_start[t]
        stamp[t] = t
        ascending = True
        previous = -1
        for i in range(indptr[t], indptr[t + 1]):
            for j in range(starts[_first_group(keys[i], modes[i])], starts[_end_group(keys[i], modes[i])]):
                u = tx[j]
                if stamp[u] != t:
                    stamp[u] = t
                    ascending = ascending and u > previous
                    previous = u
                    row_tx[place] = u
                    place += 1
        if not ascending:
            _sort_row(row_tx[row_start[t] : place], flags)


@parallel_kernel
def count_rows_parallel(cuts, indptr, keys, modes, starts, tx, degree):
    """`count_rows` with worker w writing degree[cuts[w]:cuts[w + 1]]."""
    for w in prange(cuts.shape[0] - 1):
        count_rows(cuts[w], cuts[w + 1], indptr, keys, modes, starts, tx, degree)


@parallel_kernel
def fill_rows_parallel(cuts, indptr, keys, modes, starts, tx, row_start, row_tx):
    """`fill_rows` with worker w writing the rows cuts[w]..cuts[w + 1]-1."""
    for w in prange(cuts.shape[0] - 1):
        fill_rows(cuts[w], cuts[w + 1], indptr, keys, modes, starts, tx, row_start, row_tx)


# -------------------------------------------------------------------- counting pairs without storing them


@kernel
def signatures(indptr, keys, modes, slot, masks):
    """masks[t] = READ, write-like (WRITE, CREDIT) and only-CREDIT bits of t over hot keys; slot[key] = bit, or -1."""
    for t in range(indptr.shape[0] - 1):
        for i in range(indptr[t], indptr[t + 1]):
            s = slot[keys[i]]
            if s < 0:
                continue
            bit = U64(1) << U64(s)
            mode = modes[i]
            if mode & _READ:
                masks[t, 0] |= bit
            if mode & (_WRITE | _CREDIT):
                masks[t, 1] |= bit
            if mode == _CREDIT:
                masks[t, 2] |= bit


@kernel
def group_masks(masks, keep, table, signature, distinct):
    """Number the distinct rows of ``masks & keep``; returns how many, or -1 if `distinct` has no room for them.

    Row 0 of `distinct` is all zero.

    table: (2**k,) int32 filled with -1, at least twice as long as `distinct`. Writes signature[t].
    """
    cap = distinct.shape[0]
    size = U64(table.shape[0] - 1)
    distinct[0, 0] = distinct[0, 1] = distinct[0, 2] = U64(0)
    known = 1
    for t in range(masks.shape[0]):
        a = masks[t, 0] & keep
        b = masks[t, 1] & keep
        c = masks[t, 2] & keep
        if (a | b) == U64(0):
            signature[t] = 0
            continue
        h = (a * U64(0x9E3779B97F4A7C15)) ^ (b * U64(0xC2B2AE3D27D4EB4F)) ^ (c * U64(0x165667B19E3779F9))
        h ^= h >> U64(32)
        place = h & size
        while True:
            s = table[place]
            if s < 0:
                if known == cap:
                    return -1
                table[place] = known
                distinct[known, 0] = a
                distinct[known, 1] = b
                distinct[known, 2] = c
                signature[t] = known
                known += 1
                break
            if distinct[s, 0] == a and distinct[s, 1] == b and distinct[s, 2] == c:
                signature[t] = s
                break
            place = (place + U64(1)) & size
    return known


@kernel(inline=True)
def _mask_kinds(distinct, earlier, later):
    """`pair_kinds` over all hot keys at once."""
    kinds = 0
    both = distinct[earlier, 1] & distinct[later, 1]
    if both & ~(distinct[earlier, 2] & distinct[later, 2]):
        kinds |= _WW
    if distinct[earlier, 0] & distinct[later, 1]:
        kinds |= _RW
    if distinct[earlier, 1] & distinct[later, 0]:
        kinds |= _WR
    return kinds


@kernel
def count_hot(first, step, signature, distinct, counts):
    """Pairs that conflict on a hot key, for the later transactions first, first + step, …; adds to counts (4,) int64.

    counts = pairs, WW, RW, WR. O(n_tx * number of signatures).
    """
    seen = np.zeros(distinct.shape[0], np.int64)
    pairs = ww = rw = wr = 0
    for t in range(signature.shape[0]):
        s = signature[t]
        if s == 0:
            continue
        if t % step == first:
            for r in range(1, distinct.shape[0]):
                kinds = _mask_kinds(distinct, r, s)
                if kinds:
                    m = seen[r]
                    pairs += m
                    if kinds & _WW:
                        ww += m
                    if kinds & _RW:
                        rw += m
                    if kinds & _WR:
                        wr += m
        seen[s] += 1
    counts[0] += pairs
    counts[1] += ww
    counts[2] += rw
    counts[3] += wr


@kernel
def count_pairs(first, step, indptr, keys, modes, starts, tx, tx_mode, hot, signature, distinct, counts):
    """Pairs and kinds through the keys that are not hot, less what `count_hot` has counted; adds to counts (4,) int64.

    Looks at the later transactions first, first + step, …; a stamp per earlier transaction holds the kinds seen.
    """
    n_tx = indptr.shape[0] - 1
    stamp = np.full(n_tx, -1, np.int64)
    pairs = ww = rw = wr = 0
    for t in range(first, n_tx, step):
        for i in range(indptr[t], indptr[t + 1]):
            key = keys[i]
            if hot[key]:
                continue
            mode = modes[i]
            for g in range(_first_group(key, mode), _end_group(key, mode)):
                for j in range(starts[g], starts[g + 1]):
                    u = tx[j]
                    if u >= t:
                        break
                    seen = stamp[u]
                    if seen >> 3 != t:
                        seen = (np.int64(t) << 3) | _mask_kinds(distinct, signature[u], signature[t])
                        if seen & 7 == 0:
                            pairs += 1
                    new = pair_kinds(tx_mode[j], mode) & ~seen
                    stamp[u] = seen | new
                    if new & _WW:
                        ww += 1
                    if new & _RW:
                        rw += 1
                    if new & _WR:
                        wr += 1
    counts[0] += pairs
    counts[1] += ww
    counts[2] += rw
    counts[3] += wr


@parallel_kernel
def count_hot_parallel(signature, distinct, counts):
    """`count_hot` with worker w writing counts[w]."""
    for w in prange(counts.shape[0]):
        count_hot(w, counts.shape[0], signature, distinct, counts[w])


@parallel_kernel
def count_pairs_parallel(indptr, keys, modes, starts, tx, tx_mode, hot, signature, distinct, counts):
    """`count_pairs` with worker w writing counts[w]."""
    for w in prange(counts.shape[0]):
        count_pairs(
            w, counts.shape[0], indptr, keys, modes, starts, tx, tx_mode, hot, signature, distinct, counts[w]
        )  # fmt: skip


@kernel(inline=True)
def _test(indptr, keys, modes, earlier, later):
    """Kinds of conflict between two transactions, by merging their sorted keys."""
    kinds = 0
    i, i_end = indptr[earlier], indptr[earlier + 1]
    j, j_end = indptr[later], indptr[later + 1]
    while i < i_end and j < j_end:
        a, b = keys[i], keys[j]
        if a == b:
            kinds |= pair_kinds(modes[i], modes[j])
        i += a <= b
        j += b <= a
    return kinds


@kernel(inline=True)
def _random(seed, place):
    """splitmix64 number `place` of a stream, as a non-negative int64."""
    x = seed + place * U64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> U64(30))) * U64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> U64(27))) * U64(0x94D049BB133111EB)
    return np.int64((x ^ (x >> U64(31))) >> U64(1))


@kernel
def sample_pairs(seed, n_samples, indptr, keys, modes, counts):
    """Draw pairs evenly, with replacement; counts (4,) int64 gets how many conflict, and are WW, RW, WR."""
    n_tx = indptr.shape[0] - 1
    for s in range(n_samples):
        a = _random(seed, U64(2 * s)) % n_tx
        b = _random(seed, U64(2 * s + 1)) % (n_tx - 1)
        if b >= a:
            b += 1
        kinds = _test(indptr, keys, modes, min(a, b), max(a, b))
        if kinds:
            counts[0] += 1
            counts[1] += kinds & _WW
            counts[2] += (kinds & _RW) >> 1
            counts[3] += (kinds & _WR) >> 2


# -------------------------------------------------------------------- the naive construction


@kernel
def all_pairs(indptr, keys, modes, degree):
    """Test every pair; returns ((capacity, 2) int32, number) of the conflicting ones, and adds up degree."""
    n_tx = indptr.shape[0] - 1
    pairs = np.empty((1024, 2), np.int32)
    found = 0
    for a in range(n_tx):
        for b in range(a + 1, n_tx):
            if _test(indptr, keys, modes, a, b):
                if found == pairs.shape[0]:
                    larger = np.empty((2 * found, 2), np.int32)
                    for i in range(found):
                        larger[i, 0] = pairs[i, 0]
                        larger[i, 1] = pairs[i, 1]
                    pairs = larger
                pairs[found, 0] = a
                pairs[found, 1] = b
                found += 1
                degree[a] += 1
                degree[b] += 1
    return pairs, found


@kernel
def pairs_to_rows(pairs, found, place, row_tx):
    """Both directions of each pair; place[t] starts at row t and ends behind it.

    The pairs are in lexicographic order, so each row comes out ascending: first the lower partners, then the higher.
    """
    for i in range(found):
        a, b = pairs[i, 0], pairs[i, 1]
        row_tx[place[a]] = b
        row_tx[place[b]] = a
        place[a] += 1
        place[b] += 1
