"""Kernels behind `schedule.colouring`: first fit along a given order, from a conflict graph or from the accesses alone."""

from __future__ import annotations

import numpy as np

from .jit import U64, kernel

__all__ = [
    "count_accessors",
    "estimated_degree",
    "first_fit_accesses",
    "first_fit_graph",
    "first_wrong_entry",
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
#: Hot accesses of one transaction that a signature can hold, four in each of its two numbers, and bits of one of them: 3
#: for the mode and 12 for the rank.
_N_CODES = 8
_CODE_BITS = 15
_CODES = U64(2**60 - 1)
#: Words that `_next_open` looks at first.
_FIRST_STRETCH = 8


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
def first_wrong_entry(indptr, indices):
    """-1, or the first entry that is out of range, on the diagonal or not above the one before it in its row."""
    n_tx = indptr.shape[0] - 1
    for t in range(n_tx):
        before = np.int32(-1)
        for e in range(indptr[t], indptr[t + 1]):
            u = indices[e]
            if u <= before or u >= n_tx or u == t:
                return np.int64(e)
            before = u
    return np.int64(-1)


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
# State of a key that can constrain anybody: for each word of 64 colours four uint64, namely the colours forbidden to its
# readers, writers and crediters, and a filter. Key k has the words of rows base[k]:base[k + 1] of `near`, four for each
# row: one row after the other, or, with at least hot_from rows, all words of readers, then of writers, and so on, which
# `_next_open` reads in sequence. Later words live in the hash table `far`, whose rows have their tag in place of the
# filter.


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


# No branches on modes below: they are as good as random, and branches guessed wrong took two thirds of the whole time.


@kernel(inline=True)
def _plane(mode):
    """0 of a mere READ, 2 of a mere CREDIT, 1 of all else."""
    return np.int64(mode != _READ) + np.int64(mode == _CREDIT)


@kernel(inline=True)
def _place(first, n_rows, word, hot_from):
    """(place, step): place + plane * step is where `near` has a plane's word < n_rows; rows of the key start at first."""
    hot = n_rows >= hot_from
    return 4 * first + (word if hot else 4 * word), (n_rows if hot else np.int64(1))


@kernel(inline=True)
def _taken(key, mode, word, base, hot_from, near, far):
    """Colours 64 * word to 64 * word + 63 that accesses of the key forbid."""
    first = base[key]
    n_rows = base[key + 1] - first
    if word < n_rows:
        at, step = _place(first, n_rows, word, hot_from)
        return near[at + _plane(mode) * step]
    if n_rows == 0:
        return _NONE
    at, step = _place(first, n_rows, word % n_rows, hot_from)
    if (near[at + 3 * step] >> U64((word // n_rows) & 63)) & _ONE == _NONE:
        return _NONE
    return far[_slot(_tag(key, word), far), _plane(mode)]


@kernel(inline=True)
def _take(key, mode, word, bit, base, hot_from, near, far, n_far):
    """Enter a colour for those it is forbidden to; returns the number of rows in the hash table."""
    first = base[key]
    n_rows = base[key + 1] - first
    if n_rows == 0:
        return n_far
    to_readers = bit * U64(mode != _READ)
    to_crediters = bit * U64(mode != _CREDIT)
    if word < n_rows:
        at, step = _place(first, n_rows, word, hot_from)
        near[at] |= to_readers
        near[at + step] |= bit
        near[at + 2 * step] |= to_crediters
        return n_far
    at, step = _place(first, n_rows, word % n_rows, hot_from)
    near[at + 3 * step] |= _ONE << U64((word // n_rows) & 63)
    tag = _tag(key, word)
    slot = _slot(tag, far)
    if far[slot, 3] == _NONE:
        far[slot, 3] = tag
        n_far += 1
    far[slot, 0] |= to_readers
    far[slot, 1] |= bit
    far[slot, 2] |= to_crediters
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
def _next_open(word, n_top, top, near, union):
    """First word, this or later, that the words in `near` of the first n_top hot accesses together leave open.

    A stretch of words at a time, longer and longer: loops of one OR a word, which LLVM makes vector code of. Words in
    `far` are left out, so the word found may be full after all.
    """
    size = np.int64(_FIRST_STRETCH)
    while True:
        length = np.int64(0)
        for j in range(n_top):
            length = max(length, min(size, top[2, j] - word))
        if length <= 0:
            return word
        for i in range(length):
            union[i] = _NONE
        for j in range(n_top):
            begin = top[1, j] + word
            part = near[begin : begin + max(np.int64(0), min(length, top[2, j] - word))]
            for i in range(part.shape[0]):
                union[i] |= part[i]
        for i in range(length):
            if union[i] != _FULL:
                return word + i
        word += length
        size = min(2 * size, union.shape[0])


@kernel
def _first_free(start, n_top, top, hot_key, base, hot_from, near, far, union):
    """Lowest colour >= start that the first n_top hot accesses leave free."""
    word = start >> 6
    bits = (_ONE << U64(start & 63)) - _ONE
    while True:
        for j in range(n_top):
            code = top[0, j]
            bits |= _taken(hot_key[code >> 3], code & 7, word, base, hot_from, near, far)
        if bits != _FULL:
            break
        bits = _NONE
        word = _next_open(word + 1, n_top, top, near, union)
    low = ~bits & (bits + _ONE)
    return (word << 6) + np.int64(_BIT_PLACE[(low * _DE_BRUIJN) >> U64(58)])


@kernel
def _hottest(first, end, keys, modes, base, hot_from, rank, top):
    """The hottest accesses, hottest first, as many as top has room for; returns how many.

    Columns of top: 8 * rank + mode; place in `near` of the words that forbid them colours; number of these words.
    """
    n_top = 0
    for i in range(first, end):
        key = keys[i]
        if base[key + 1] - base[key] < hot_from or rank[key] < 0:
            continue
        mode = modes[i]
        code = 8 * np.int64(rank[key]) + (mode if mode == _READ or mode == _CREDIT else _WRITE)
        if n_top == top.shape[1]:
            if code > top[0, n_top - 1]:
                continue
            n_top -= 1
        j = n_top
        while j > 0 and top[0, j - 1] > code:
            for row in range(3):
                top[row, j] = top[row, j - 1]
            j -= 1
        n_rows = base[key + 1] - base[key]
        top[0, j] = code
        top[1, j] = 4 * base[key] + _plane(mode) * n_rows
        top[2, j] = n_rows
        n_top += 1
    return n_top


@kernel
def _lower_bound(n_top, top, hot_key, base, hot_from, near, far, single, known, union):
    """First colour that the hottest accesses together leave free, each prefix of them from where it was last free.

    A set of accesses forbids more and more colours, so what was its first free one stays a lower bound: for one access
    it is in single, for two to four in the row of `known` that their signature falls on, if nobody else took it since;
    for up to eight there too, and the prefixes between are left out. Signatures are exact: two int64 of four codes each.
    """
    free = single[top[0, 0]]
    free = _first_free(free, 1, top, hot_key, base, hot_from, near, far, union)
    single[top[0, 0]] = free
    mask = U64(known.shape[1] - 1)
    low, high = U64(top[0, 0]), _NONE
    for j in range(1, min(n_top, _N_CODES)):
        low, high = (low << U64(_CODE_BITS)) | U64(top[0, j]), (high << U64(_CODE_BITS)) | (low >> U64(3 * _CODE_BITS))
        low &= _CODES
        if j >= 4 and j + 1 < min(n_top, _N_CODES):
            continue
        row = (((low ^ (high * _MIX)) * _MIX) >> U64(24)) & mask
        table = min(j - 1, 3)
        if known[table, row, 0] == np.int64(low) and known[table, row, 1] == np.int64(high):
            free = max(free, known[table, row, 2])
        free = _first_free(free, j + 1, top, hot_key, base, hot_from, near, far, union)
        known[table, row, 0] = np.int64(low)
        known[table, row, 1] = np.int64(high)
        known[table, row, 2] = free
    return free


@kernel
def first_fit_accesses(
    begin, n_far, order, indptr, keys, modes, next_of, base, rank, hot_key, hot_from, near, far, single, known, top,
    union, lower, colour,
):  # fmt: skip
    """`first_fit_graph` from the accesses; returns (position, n_far): go on from there with a larger table `far`.

    rank[k] = place of key k among the hot_key, -1 if it is none; only keys with at least hot_from near rows are looked
    up. single, known: see `_lower_bound`, filled with 0 and -1; top: see `_hottest`. All else starts as 0.
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
            start = max(start, _lower_bound(n_top, top, hot_key, base, hot_from, near, far, single, known, union))
        word = start >> 6
        bits = (_ONE << U64(start & 63)) - _ONE
        while True:
            for i in range(first, end):
                bits |= _taken(keys[i], modes[i], word, base, hot_from, near, far)
            if bits != _FULL:
                break
            bits = _NONE
            word += 1
            if n_top > 0:
                word = _next_open(word, n_top, top, near, union)
        low = ~bits & (bits + _ONE)
        for i in range(first, end):
            n_far = _take(keys[i], modes[i], word, low, base, hot_from, near, far, n_far)
        c = np.int32((word << 6) + np.int64(_BIT_PLACE[(low * _DE_BRUIJN) >> U64(58)]))
        colour[t] = c
        if next_of[t] >= 0:
            lower[next_of[t]] = c + np.int32(1)
    return n_tx, n_far
