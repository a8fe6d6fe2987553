"""Kernels behind `Block`: interning, renumbering and the checks after which no other kernel needs to check anything."""

from __future__ import annotations

import numpy as np

from .codes import BURN, CREDIT, CREDITED, KECCAK, NOOP, READ, SLOAD, SSTORE, TOUCH, WRITE
from .jit import U64, kernel
from .sets import sort_set

__all__ = ["check_access_list", "check_ops", "gather_bytes", "intern", "mix", "renumber", "static_sets"]


@kernel(inline=True)
def mix(h, x):
    """A hash, and what comes next."""
    h = (h ^ x) * U64(0x9E3779B97F4A7C15)
    return h ^ (h >> U64(29))


@kernel
def intern(address, field, slot, seed, table, ids, first):
    """Give equal key rows equal ids, dense and in order of first appearance; returns the number of distinct keys.

    address (n, 5) uint32 and slot (n, 4) uint64 are views of the bytes; table (2**k, 2) int32, filled with -1, at least
    twice as long as n, holds (id, hash bits); `seed` varies by process, so that no file can be made to collide.
    Writes ids[row] and first[id]. Open addressing with linear probing: expected O(n).
    """
    mask = U64(table.shape[0] - 1)
    n_keys = 0
    for i in range(field.shape[0]):
        h = mix(seed ^ U64(field[i]), slot[i, 0])
        h = mix(h, slot[i, 1])
        h = mix(h, slot[i, 2])
        h = mix(h, slot[i, 3])
        h = mix(h, U64(address[i, 0]) | (U64(address[i, 1]) << U64(32)))
        h = mix(h, U64(address[i, 2]) | (U64(address[i, 3]) << U64(32)))
        h = mix(h, U64(address[i, 4]))
        tag = np.int32(h >> U64(33))
        place = (h >> U64(1)) & mask
        while True:
            known = table[place, 0]
            if known < 0:
                table[place, 0] = n_keys
                table[place, 1] = tag
                first[n_keys] = i
                ids[i] = n_keys
                n_keys += 1
                break
            if table[place, 1] == tag:
                j = first[known]
                if (
                    field[i] == field[j]
                    and slot[i, 0] == slot[j, 0] and slot[i, 1] == slot[j, 1]
                    and slot[i, 2] == slot[j, 2] and slot[i, 3] == slot[j, 3]
                    and address[i, 0] == address[j, 0] and address[i, 1] == address[j, 1]
                    and address[i, 2] == address[j, 2] and address[i, 3] == address[j, 3]
                    and address[i, 4] == address[j, 4]
                ):  # fmt: skip
                    ids[i] = known
                    break
            place = (place + U64(1)) & mask
    return n_keys


@kernel
def renumber(references, ids, new_id, n_seen, out):
    """Map references (rows of the caller's key table, negative = none, kept) to ids in order of first use.

    new_id[id] is -1 until seen; returns the number of ids seen so far. Writes out[i] for each reference.
    """
    for i in range(references.shape[0]):
        row = references[i]
        if row < 0:
            out[i] = row
            continue
        k = ids[row]
        if new_id[k] < 0:
            new_id[k] = n_seen
            n_seen += 1
        out[i] = new_id[k]
    return n_seen


@kernel
def gather_bytes(indptr, data, rows, ends, out):
    """Copy the CSR rows `rows` of (indptr, data) one after the other; row number i fills out[ends[i]:ends[i + 1]]."""
    for i in range(rows.shape[0]):
        start = indptr[rows[i]]
        place = ends[i]
        for b in range(ends[i + 1] - place):
            out[place + b] = data[start + b]


@kernel
def check_ops(op_code, op_key, op_arg, row_field, n_words, n_payloads):
    """Return (position, rule) of the first op that breaks a rule, or (-1, 0); rules are numbered as in `block._OP_RULES`."""
    n_rows = row_field.shape[0]
    for i in range(op_code.shape[0]):
        code = op_code[i]
        key = op_key[i]
        arg = op_arg[i]
        if code > BURN:
            return i, 1
        if code == SLOAD or code == SSTORE or code == TOUCH or code == CREDIT:
            if key < 0 or key >= n_rows:
                return i, 2
            if code == CREDIT and row_field[key] != 1:
                return i, 3
        elif key != -1:
            return i, 4
        if code == SLOAD or code == TOUCH:
            if arg != -1:
                return i, 5
        elif code == SSTORE:
            if arg < -1 or arg >= n_words:
                return i, 6
        elif code == KECCAK:
            if arg < 0 or arg >= n_payloads:
                return i, 7
        elif code == NOOP or code == BURN:
            if arg < 0:
                return i, 8
        elif arg < 0 or arg >= n_words:
            return i, 9
    return -1, 0


@kernel
def check_access_list(indptr, entry, list_address, key_address, key_field):
    """Return (transaction, row, rule) of the first bad access-list row, or (-1, -1, 0).

    Rules: 1 key row out of range, 2 address row out of range, 3 key of another field than storage, 4 a key row that
    does not follow an entry of its own address.
    """
    for t in range(indptr.shape[0] - 1):
        current = -1
        for i in range(indptr[t], indptr[t + 1]):
            e = entry[i]
            if e >= 0:
                if e >= key_field.shape[0]:
                    return t, i, 1
                if key_field[e] != 0:
                    return t, i, 3
                if current < 0:
                    return t, i, 4
                for b in range(20):
                    if key_address[e, b] != list_address[current, b]:
                        return t, i, 4
            else:
                current = -1 - e
                if current >= list_address.shape[0]:
                    return t, i, 2
    return -1, -1, 0


@kernel(inline=True)
def _mode_of(code):
    if code == SSTORE:
        return WRITE
    if code == CREDIT:
        return CREDITED
    return READ


@kernel
def _long_set(first, last, op_code, op_key, place, start, keys, modes):
    """The set of one long program, ops first:last, written from `start` on; returns its end. place (n_keys,) is scratch.

    place[key] is where the key stands in the output, and stale (below start) if this transaction has not met it.
    """
    total = start
    for i in range(first, last):
        key = op_key[i]
        if key < 0:
            continue
        mode = _mode_of(op_code[i])
        p = place[key]
        if p >= start:
            modes[p] |= mode
        else:
            place[key] = total
            keys[total] = key
            modes[total] = mode
            total += 1
    sort_set(keys, modes, start, total)
    return total


@kernel
def static_sets(op_indptr, op_code, op_key, n_keys, indptr, keys, modes):
    """Access sets of straight-line programs: per transaction its distinct keys, ascending, with all modes of all its ops.

    keys and modes have room for every op that names a key; returns the number of entries. A short program is sorted by
    insertion (ids are in first-touch order, so most keys come last anyway), a long one by marking, then sorting.
    """
    place = np.empty(0, np.int32)
    total = 0
    for t in range(op_indptr.shape[0] - 1):
        start = total
        indptr[t] = start
        if op_indptr[t + 1] - op_indptr[t] > 48:
            if place.shape[0] == 0:
                place = np.full(n_keys, -1, np.int32)
            total = _long_set(op_indptr[t], op_indptr[t + 1], op_code, op_key, place, start, keys, modes)
            continue
        for i in range(op_indptr[t], op_indptr[t + 1]):
            key = op_key[i]
            if key < 0:
                continue
            mode = _mode_of(op_code[i])
            j = total - 1
            while j >= start and keys[j] > key:
                j -= 1
            if j >= start and keys[j] == key:
                modes[j] |= mode
                continue
            for q in range(total - 1, j, -1):
                keys[q + 1] = keys[q]
                modes[q + 1] = modes[q]
            keys[j + 1] = key
            modes[j + 1] = mode
            total += 1
    indptr[op_indptr.shape[0] - 1] = total
    return total
