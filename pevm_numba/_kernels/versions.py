"""Multi-version memory as static arrays: one row for each entry of the footprint, so that nothing is hashed or allocated.

Entry e is one transaction's access to one key. Its row of `cells` is the transaction's own copy while it runs and, where it
writes, the version of the key that it leaves behind: the interpreter works on rows of entries as it does on rows of keys.
A version counts while the transaction's state says executed and its receipt success. A mere CREDIT leaves a difference, to
be added to whatever came before.

state[t] is four times the number of times that transaction t was given up or had to wait, plus one of the statuses.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .atomics import fence_reads, load_acquire
from .codes import CREDITED, READ, SUCCESS
from .jit import U64, kernel
from .words import add

__all__ = [
    "EXECUTED", "EXECUTING", "FINAL", "READY", "WAITING", "Versions", "chain_entries", "credit_walks", "key_rows_to_entries",
    "resolve",
]  # fmt: skip

#: Statuses: to be run; running; its versions count; handed to an earlier transaction that it waits for.
READY, EXECUTING, EXECUTED, WAITING = (np.int32(status) for status in range(4))

#: "No transaction blocks": what `resolve` gives with a value.
FINAL = np.int32(-1)


class Versions(NamedTuple):
    """Entries in the order of the footprint, linked by key in the promised serial order."""

    indptr: NDArray[np.int64]
    keys: NDArray[np.int32]
    modes: NDArray[np.uint8]
    #: (n_entries,): the transaction of each entry.
    tx_of: NDArray[np.int32]
    #: (n_tx,): the place of each transaction in the serial order.
    place: NDArray[np.int32]
    #: (n_entries,): nearest earlier entry of the key that may change it, and nearest later entry; -1 if there is none.
    before: NDArray[np.int32]
    after: NDArray[np.int32]
    #: (n_keys,): last entry that may change the key, -1 if there is none.
    last: NDArray[np.int32]
    #: (n_tx,): whether anything that it reads may have been changed before it.
    follows: NDArray[np.bool_]
    #: (n_entries,): whether an estimate says that the entry changes its key; empty without an estimate.
    hinted: NDArray[np.bool_]
    pre_values: NDArray[np.uint64]
    #: (n_entries, 4): see above, and what was read, for entries that are also written.
    cells: NDArray[np.uint64]
    seen: NDArray[np.uint64]
    #: (n_tx,), zero before a run.
    state: NDArray[np.int32]
    #: (n_keys,): whether somebody has read the key too early in this run; zero before.
    contended: NDArray[np.int32]


@kernel
def key_rows_to_entries(op_indptr, rows, footprint_indptr, footprint_keys, n_keys, out):
    """Copy encoded ops with the entry's number where the key's number was; O(ops + entries)."""
    entry = np.empty(n_keys, np.int32)
    for t in range(op_indptr.shape[0] - 1):
        for j in range(footprint_indptr[t], footprint_indptr[t + 1]):
            entry[footprint_keys[j]] = j
        for i in range(op_indptr[t], op_indptr[t + 1]):
            for c in range(4):
                out[i, c] = rows[i, c]
            if rows[i, 1] >= 0:
                out[i, 1] = entry[rows[i, 1]]


@kernel
def chain_entries(order, indptr, keys, modes, latest, tx_of, place, before, after, last, follows):
    """Link the entries of each key in serial order, as in `Versions`; returns the number of possible versions. O(entries).

    last and latest (n_keys,) int32 come filled with -1; latest is scratch.
    """
    versions = 0
    for position in range(order.shape[0]):
        t = order[position]
        place[t] = position
        depends = False
        for e in range(indptr[t], indptr[t + 1]):
            key = keys[e]
            tx_of[e] = t
            before[e] = last[key]
            after[e] = -1
            if latest[key] >= 0:
                after[latest[key]] = e
            latest[key] = e
            if modes[e] != CREDITED and last[key] >= 0:
                depends = True
            if modes[e] != READ:
                last[key] = e
                versions += 1
        follows[t] = depends
    return versions


@kernel(bare=True)
def credit_walks(order, indptr, keys, modes, run):
    """How many credits all versioned reads together add up, if each reads once, in the serial order.

    run (n_keys,) int32, zero-filled, is scratch. O(entries).
    """
    total = 0
    for position in range(order.shape[0]):
        t = order[position]
        for e in range(indptr[t], indptr[t + 1]):
            key = keys[e]
            if modes[e] == CREDITED:
                run[key] += np.int32(1)
            else:
                total += run[key]
                if modes[e] != READ:
                    run[key] = np.int32(0)
    return total


@kernel(inline=True, bare=True)
def _expected(entry, key, now, versions):
    """Whether the version of an entry whose transaction is in state `now`, not executed, is to be waited for.

    Not if it never ran, no estimate names the entry, and reading the key too early has not gone wrong yet: it is read past,
    which is speculation.
    """
    if now >= WAITING or (versions.hinted.shape[0] > 0 and versions.hinted[entry]):
        return True
    return load_acquire(versions.contended, key) != 0


@kernel(inline=True, bare=True)
def resolve(entry, key, versions, status):
    """The newest value of `key` at or before `entry`: (FINAL, its limbs), or (who must run first, zeros).

    `entry` is the first candidate, such as before[e] for what entry e reads, or last[key] for what the block leaves; -1 gives
    the value before the block. Versions of transactions that never ran are read past, unless an estimate names them or the
    key is contended. Those of one that was given up, or waits, are expected, so whoever meets them waits.
    """
    c0, c1, c2, c3 = U64(0), U64(0), U64(0), U64(0)  # credits on the way
    while entry >= 0:
        t = versions.tx_of[entry]
        now = load_acquire(versions.state, t)
        if now & 3 == EXECUTED:
            cells = versions.cells
            v0, v1, v2, v3 = cells[entry, 0], cells[entry, 1], cells[entry, 2], cells[entry, 3]
            counts = status[t] == SUCCESS
            fence_reads()
            if load_acquire(versions.state, t) != now:  # given up and run again meanwhile: look once more
                continue
            if counts and versions.modes[entry] == CREDITED:
                c0, c1, c2, c3 = add(c0, c1, c2, c3, v0, v1, v2, v3)
            elif counts:
                c0, c1, c2, c3 = add(c0, c1, c2, c3, v0, v1, v2, v3)
                return FINAL, c0, c1, c2, c3
        elif _expected(entry, key, now, versions):
            return t, U64(0), U64(0), U64(0), U64(0)
        entry = versions.before[entry]
    values = versions.pre_values
    c0, c1, c2, c3 = add(c0, c1, c2, c3, values[key, 0], values[key, 1], values[key, 2], values[key, 3])
    return FINAL, c0, c1, c2, c3
