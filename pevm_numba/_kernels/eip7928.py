"""Block access lists (EIP-7928) as columns, and those of the rules that they may break that are about order."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .jit import kernel

__all__ = ["Columns", "check_order"]

#: Rules of order, as the kernel tells them; 0 is none, and the rest of `access.eip7928_rules.Rule` are other numbers.
(
    ACCOUNT_ORDER, ACCOUNT_TWICE, SLOT_ORDER, SLOT_TWICE, SLOT_UNCHANGED, READ_ORDER, READ_TWICE, READ_AND_CHANGED,
    INDEX_ORDER, INDEX_TWICE,
) = range(16, 26)  # fmt: skip


class Columns(NamedTuple):
    """A block access list: what each account has is a range of the rows below, by offsets.

    Offsets are int64, indices uint32, numbers big-endian rows of bytes.
    """

    address: np.ndarray  # (accounts, 20)
    slot_indptr: np.ndarray  # by account
    slot: np.ndarray  # (slots, 32)
    change_indptr: np.ndarray  # by slot
    change_index: np.ndarray
    change_value: np.ndarray  # (changes, 32)
    read_indptr: np.ndarray  # by account
    read: np.ndarray  # (reads, 32)
    balance_indptr: np.ndarray  # by account
    balance_index: np.ndarray
    balance: np.ndarray  # (balances, 32)
    nonce_indptr: np.ndarray  # by account
    nonce_index: np.ndarray
    nonce: np.ndarray  # (nonces, 8)
    code_indptr: np.ndarray  # by account
    code_index: np.ndarray
    code_bounds: np.ndarray  # (codes + 1,) offsets into code_data
    code_data: np.ndarray


@kernel(bare=True)
def _compare(one, other):
    """Which of two rows of bytes is less: -1, 0 or 1."""
    for i in range(one.shape[0]):
        if one[i] != other[i]:
            return -1 if one[i] < other[i] else 1
    return 0


@kernel(bare=True)
def _check_rows(rows, start, stop, order, twice, found):
    """The rule that rows from start to stop break if they do not rise."""
    for row in range(start + 1, stop):
        side = _compare(rows[row - 1], rows[row])
        if side >= 0:
            found[1] = row
            return order if side > 0 else twice
    return 0


@kernel(bare=True)
def _check_indices(indices, start, stop, found):
    for row in range(start + 1, stop):
        if indices[row] <= indices[row - 1]:
            found[1] = row
            return INDEX_ORDER if indices[row] < indices[row - 1] else INDEX_TWICE
    return 0


@kernel(bare=True)
def _check_slots(columns, a, found):
    start, stop = columns.slot_indptr[a], columns.slot_indptr[a + 1]
    rule = _check_rows(columns.slot, start, stop, SLOT_ORDER, SLOT_TWICE, found)
    if rule:
        return rule
    for s in range(start, stop):
        first, last = columns.change_indptr[s], columns.change_indptr[s + 1]
        if first == last:
            found[1] = s
            return SLOT_UNCHANGED
        rule = _check_indices(columns.change_index, first, last, found)
        if rule:
            return rule
    return 0


@kernel(bare=True)
def _check_reads(columns, a, found):
    start, stop = columns.read_indptr[a], columns.read_indptr[a + 1]
    rule = _check_rows(columns.read, start, stop, READ_ORDER, READ_TWICE, found)
    if rule:
        return rule
    s, last = columns.slot_indptr[a], columns.slot_indptr[a + 1]
    for r in range(start, stop):
        side = -1
        while s < last and side < 0:
            side = _compare(columns.slot[s], columns.read[r])
            if side < 0:
                s += 1
        if side == 0:
            found[1] = r
            return READ_AND_CHANGED
    return 0


@kernel(bare=True)
def check_order(columns, found):
    """The first rule of order that a list breaks, account by account; found[0] is the account, found[1] the row."""
    for a in range(columns.address.shape[0]):
        found[0], found[1] = a, a
        rule = 0
        if a:
            side = _compare(columns.address[a - 1], columns.address[a])
            if side >= 0:
                rule = ACCOUNT_ORDER if side > 0 else ACCOUNT_TWICE
        if rule == 0:
            rule = _check_slots(columns, a, found)
        if rule == 0:
            rule = _check_reads(columns, a, found)
        if rule == 0:
            rule = _check_indices(columns.balance_index, columns.balance_indptr[a], columns.balance_indptr[a + 1], found)
        if rule == 0:
            rule = _check_indices(columns.nonce_index, columns.nonce_indptr[a], columns.nonce_indptr[a + 1], found)
        if rule == 0:
            rule = _check_indices(columns.code_index, columns.code_indptr[a], columns.code_indptr[a + 1], found)
        if rule:
            return rule
    return 0
