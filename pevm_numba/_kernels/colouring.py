"""Kernels behind `schedule.colouring`: first fit along a given order, from a conflict graph or from the accesses alone."""

from __future__ import annotations

import numpy as np

from .jit import U64, kernel

__all__ = [
    "count_accessors",
    "estimated_degree",
    "first_fit_accesses",
    "first_fit_graph",
    "keep_chains",
    "lay_out",
    "move_rows",
]

_READ, _WRITE, _CREDIT = 1, 2, 4
_NONE = U64(0)
_ONE = U64(1)
_FULL = U64(0xFFFFFFFFFFFFFFFF)
#: Position of the lowest set bit b, at (b * _DE_BRUIJN) >> 58; LLVM makes one instruction of it.
_DE_BRUIJN = U64(0x03F79D71B4CB0A89)
_BIT_PLACE = np.argsort([(0x03F79D71B4CB0A89 << b) % 2**64 >> 58 for b in range(64)]).astype(np.uint8)
_MIX = U64(0x9E3779B97F4A7C15)
#: Hot accesses of one transaction whose union's first free colour is remembered, and bits of one of them in a signature:
#: 3 for the mode and 12 for the rank, so that four fit an int64.
_N_TOP = 4
_CODE_BITS = 15


# -------------------------------------------------------------------- order


@kernel
def keep_chains(order, next_of, head, cursor, out):
    """out = order with each sender's positions refilled in chain order; returns -1, or a transaction on a circular chain.

    head, cursor (n_tx,) int32 are scratch, head filled with -1.
    """
    n_tx = order.shape[0]
    for t in range(n_tx):
        if next_of[t] >= 0:
            head[next_of[t]] = -2
    for t in range(n_tx):
        if head[t] == -1:
            cursor[t] = t
            u = np.int32(t)
            while u >= 0:
                if head[u] == t:
                    return np.int64(u)
                head[u] = t
                u = next_of[u]
    for position in range(n_tx):
        h = head[order[position]]
        if h < 0:
            return np.int64(order[position])
        u = cursor[h]
        out[position] = u
        cursor[h] = next_of[u]
    return np.int64(-1)


@kernel
def estimated_degree(indptr, keys, modes, starts, degree):
    """degree[t] = the accessors that each access conflicts with, summed; starts as in `conflicts.key_index`."""
    for t in range(indptr.shape[0] - 1):
        total = np.int64(0)
        for i in range(indptr[t], indptr[t + 1]):
            first = 3 * np.int64(keys[i])
            if modes[i] == _READ:
                total += starts[first + 3] - starts[first + 1]
            elif modes[i] == _CREDIT:
                total += starts[first + 2] - starts[first]
            else:
                total += starts[first + 3] - starts[first] - 1
        degree[t] = total


# -------------------------------------------------------------------- on the conflict graph


@kernel
def first_fit_graph(order, indptr, indices, next_of, stamp, lower, colour):
    """colour[t] = the lowest from lower[t] on that no neighbour has; returns the number of colours.

    stamp (n_tx + 1,) and colour start as -1, lower as 0; a coloured transaction raises lower of the sender's next.
    """
    n_colours = 0
    for position in range(order.shape[0]):
        t = order[position]
        for e in range(indptr[t], indptr[t + 1]):
            c = colour[indices[e]]
            if c >= 0:
                stamp[c] = t
        c = lower[t]
        while stamp[c] == t:
            c += np.int32(1)
        colour[t] = c
        c += np.int32(1)
        n_colours = max(n_colours, c)
        if next_of[t] >= 0:
            lower[next_of[t]] = c
    return n_colours


# -------------------------------------------------------------------- on the accesses, without edges
#
# State of a key that can constrain anybody: for each word of 64 colours a row of four uint64, namely the colours of its
# readers, writers, crediters, and a filter. Key k has rows base[k]:base[k + 1] of `near`, for its first words; later
# words live in the hash table `far`, whose rows have their tag in place of the filter.


@kernel
def count_accessors(keys, modes, seen):
    """seen[k] = 8 * accesses of key k, and bits 1, 2, 4 for readers, writers, crediters among them; starts as 0."""
    for i in range(keys.shape[0]):
        mode = modes[i]
        bit = 1 if mode == _READ else (4 if mode == _CREDIT else 2)
        seen[keys[i]] = (seen[keys[i]] + 8) | bit


@kernel
def lay_out(seen, accesses_per_row, base):
    """base[k] = first near row of key k: one for each `accesses_per_row` and one more; none if it never constrains."""
    n_rows = np.int64(0)
    for k in range(seen.shape[0]):
        base[k] = n_rows
        bits = seen[k] & 7
        if (bits & 2 != 0 and seen[k] >= 16) or bits == 5:
            n_rows += (seen[k] >> 3) // accesses_per_row + 1
    base[seen.shape[0]] = n_rows
    return n_rows


@kernel(inline=True)
def _tag(key, word):
    return ((U64(key) + _ONE) << U64(32)) | U64(word)


@kernel(inline=True)
def _slot(tag, far):
    """Row of `far` that has the tag, or the empty one where it belongs; the table is never full."""
    mask = U64(far.shape[0] - 1)
    slot = ((tag * _MIX) >> U64(20)) & mask
    while far[slot, 3] != tag and far[slot, 3] != _NONE:
        slot = (slot + _ONE) & mask
    return slot


@kernel(inline=True)
def _conflicting(rows, row, mode):
    """Colours in a row that an access of this mode must not have."""
    bits = rows[row, 1]
    if mode != _READ:
        bits |= rows[row, 0]
    if mode != _CREDIT:
        bits |= rows[row, 2]
    return bits


@kernel(inline=True)
def _taken(key, mode, word, base, near, far):
    """Colours 64 * word to 64 * word + 63 that accesses of the key forbid."""
    first = base[key]
    n_rows = base[key + 1] - first
    if word < n_rows:
        return _conflicting(near, first + word, mode)
    if n_rows == 0:
        return _NONE
    if (near[first + word % n_rows, 3] >> U64((word // n_rows) & 63)) & _ONE == _NONE:
        return _NONE
    return _conflicting(far, _slot(_tag(key, word), far), mode)


@kernel(inline=True)
def _take(key, mode, word, bit, base, near, far, n_far):
    """Enter a colour; returns the number of rows in the hash table."""
    group = 0 if mode == _READ else (2 if mode == _CREDIT else 1)
    first = base[key]
    n_rows = base[key + 1] - first
    if word < n_rows:
        near[first + word, group] |= bit
        return n_far
    if n_rows == 0:
        return n_far
    near[first + word % n_rows, 3] |= _ONE << U64((word // n_rows) & 63)
    tag = _tag(key, word)
    slot = _slot(tag, far)
    if far[slot, 3] == _NONE:
        far[slot, 3] = tag
        n_far += 1
    far[slot, group] |= bit
    return n_far


@kernel
def move_rows(old, new):
    """Rehash a table into a larger empty one."""
    for i in range(old.shape[0]):
        if old[i, 3] != _NONE:
            slot = _slot(old[i, 3], new)
            for g in range(4):
                new[slot, g] = old[i, g]


@kernel
def _first_free(start, top, n_top, hot_key, base, near, far):
    """Lowest colour >= start that the first n_top hot accesses leave free."""
    word = start >> 6
    bits = (_ONE << U64(start & 63)) - _ONE
    while True:
        for j in range(n_top):
            code = top[j]
            bits |= _taken(hot_key[code >> 3], code & 7, word, base, near, far)
        if bits != _FULL:
            break
        bits = _NONE
        word += 1
    low = ~bits & (bits + _ONE)
    return (word << 6) + np.int64(_BIT_PLACE[(low * _DE_BRUIJN) >> U64(58)])


@kernel
def _hottest(first, end, keys, modes, base, hot_from, rank, top):
    """The up to _N_TOP hottest accesses, hottest first, as 8 * rank + mode in top; returns how many."""
    n_top = 0
    for i in range(first, end):
        key = keys[i]
        if base[key + 1] - base[key] < hot_from or rank[key] < 0:
            continue
        mode = modes[i]
        code = 8 * np.int64(rank[key]) + (mode if mode == _READ or mode == _CREDIT else _WRITE)
        if n_top == _N_TOP:
            if code > top[n_top - 1]:
                continue
            n_top -= 1
        j = n_top
        while j > 0 and top[j - 1] > code:
            top[j] = top[j - 1]
            j -= 1
        top[j] = code
        n_top += 1
    return n_top


@kernel
def _lower_bound(top, n_top, hot_key, base, near, far, single, known):
    """First colour that the hottest accesses together leave free, each prefix of them from where it was last free.

    A set of accesses forbids more and more colours, so what was its first free one stays a lower bound: for one access
    it is in single, for two to four in the row of `known` that their signature falls on, if nobody else took it since.
    """
    free = single[top[0]]
    free = _first_free(free, top, 1, hot_key, base, near, far)
    single[top[0]] = free
    mask = U64(known.shape[1] - 1)
    signature = U64(top[0])
    for j in range(1, n_top):
        signature = (signature << U64(_CODE_BITS)) | U64(top[j])
        row = ((signature * _MIX) >> U64(24)) & mask
        tag = np.int64(signature)
        if known[j - 1, row, 0] == tag:
            free = max(free, known[j - 1, row, 1])
        free = _first_free(free, top, j + 1, hot_key, base, near, far)
        known[j - 1, row, 0] = tag
        known[j - 1, row, 1] = free
    return free


@kernel
def first_fit_accesses(
    begin, n_far, order, indptr, keys, modes, next_of, base, rank, hot_key, hot_from, near, far, single, known, top,
    lower, colour,
):  # fmt: skip
    """`first_fit_graph` from the accesses; returns (position, n_far): go on from there with a larger table `far`.

    rank[k] = place of key k among the hot_key, -1 if it is none; only keys with at least hot_from near rows are looked
    up. single, known: see `_lower_bound`, filled with 0 and -1. All else starts as 0.
    """
    n_tx = order.shape[0]
    for position in range(begin, n_tx):
        t = order[position]
        first, end = indptr[t], indptr[t + 1]
        if 2 * (n_far + end - first) >= far.shape[0]:
            return position, n_far
        start = np.int64(lower[t])
        n_top = _hottest(first, end, keys, modes, base, hot_from, rank, top) if hot_key.shape[0] > 0 else 0
        if n_top > 0:
            start = max(start, _lower_bound(top, n_top, hot_key, base, near, far, single, known))
        word = start >> 6
        bits = (_ONE << U64(start & 63)) - _ONE
        while True:
            for i in range(first, end):
                bits |= _taken(keys[i], modes[i], word, base, near, far)
            if bits != _FULL:
                break
            bits = _NONE
            word += 1
        low = ~bits & (bits + _ONE)
        for i in range(first, end):
            n_far = _take(keys[i], modes[i], word, low, base, near, far, n_far)
        c = np.int32((word << 6) + np.int64(_BIT_PLACE[(low * _DE_BRUIJN) >> U64(58)]))
        colour[t] = c
        if next_of[t] >= 0:
            lower[next_of[t]] = c + np.int32(1)
    return n_tx, n_far
