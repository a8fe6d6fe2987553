"""From the wire format of block access lists (EIP-7928), which is RLP, to columns.

Lists have a fixed depth, so nothing here is recursive. The bytes are gone through twice: rows are counted first.
"""

from __future__ import annotations

import numpy as np

from .eip7928 import (
    ACCOUNT_FIELDS,
    ADDRESS_SIZE,
    BYTE_NOT_MINIMAL,
    CHANGE_FIELDS,
    INDEX_RANGE,
    LEADING_ZERO,
    LENGTH_NOT_MINIMAL,
    LIST_EXPECTED,
    NONCE_RANGE,
    SLOT_FIELDS,
    SLOT_RANGE,
    STRING_EXPECTED,
    TRAILING_BYTES,
    TRUNCATED,
    VALUE_RANGE,
)
from .jit import kernel

__all__ = ["COUNTS", "decode"]

#: What `decode` counts.
COUNTS = ("accounts", "slots", "changes", "reads", "balances", "nonces", "codes", "code bytes")
_ACCOUNTS, _SLOTS, _CHANGES, _READS, _BALANCES, _NONCES, _CODES, _CODE_BYTES = range(8)

_STRING, _LIST = 0, 1


@kernel(bare=True)
def _item(data, at, end, found):
    """found := kind, start and stop of the item that begins at `at`; the rule that it breaks."""
    if at >= end:
        return TRUNCATED
    first = np.int64(data[at])
    kind = _LIST if first >= 0xC0 else _STRING
    if first < 0x80:
        found[0], found[1], found[2] = kind, at, at + 1
        return 0
    size = first - (0xC0 if kind == _LIST else 0x80)
    start = at + 1
    if size > 55:
        width = size - 55
        start += width
        if start > end:
            return TRUNCATED
        if data[at + 1] == 0:
            return LENGTH_NOT_MINIMAL
        size = np.int64(0)
        for i in range(at + 1, start):
            if size >= 1 << 40:  # longer than any data
                return TRUNCATED
            size = size << 8 | np.int64(data[i])
        if size < 56:
            return LENGTH_NOT_MINIMAL
    if size > end - start:
        return TRUNCATED
    if kind == _STRING and size == 1 and data[start] < 0x80:
        return BYTE_NOT_MINIMAL
    found[0], found[1], found[2] = kind, start, start + size
    return 0


@kernel(bare=True)
def _number(data, at, end, width, out_of_range, found):
    """found := the item at `at`, which must be an integer of at most `width` bytes."""
    rule = _item(data, at, end, found)
    if rule:
        return rule
    if found[0] != _STRING:
        return STRING_EXPECTED
    if found[2] > found[1] and data[found[1]] == 0:
        return LEADING_ZERO
    return out_of_range if found[2] - found[1] > width else 0


@kernel(bare=True)
def _list(data, at, end, found):
    """found := the item at `at`, which must be a list."""
    rule = _item(data, at, end, found)
    return LIST_EXPECTED if rule == 0 and found[0] != _LIST else rule


@kernel(bare=True)
def _copy_right(data, found, row):
    """The bytes of an item, at the right end of a row of zeros."""
    size, width = found[2] - found[1], row.shape[0]
    for i in range(width - size):
        row[i] = 0
    for i in range(size):
        row[width - size + i] = data[found[1] + i]


@kernel(bare=True)
def _pair(data, at, end, found):
    """found := the index of the change at `at`, and found[3] its value, found[4] its end, which is that of the pair."""
    rule = _list(data, at, end, found)
    if rule:
        return rule
    start, stop = found[1], found[2]
    found[4] = stop
    if start == stop:
        return CHANGE_FIELDS
    rule = _number(data, start, stop, 4, INDEX_RANGE, found)
    found[3] = found[2]
    if rule == 0 and found[2] == stop:
        return CHANGE_FIELDS
    return rule


@kernel(bare=True)
def _changes(data, start, stop, fill, counts, which, width, out_of_range, indices, values, bounds, code, found):
    """Changes [index, value] from start to stop, as rows of one kind; the rule that is broken, with its place in found[5].

    Values are numbers of at most `width` bytes, or, if that is 0, code.
    """
    at = start
    while at < stop:
        found[5] = at
        rule = _pair(data, at, stop, found)
        if rule:
            return rule
        row, value_at, end = counts[which], found[3], found[4]
        if fill:
            index = np.int64(0)
            for i in range(found[1], found[2]):
                index = index << 8 | np.int64(data[i])
            indices[row] = index
        found[5] = value_at
        if width:
            rule = _number(data, value_at, end, width, out_of_range, found)
        else:
            rule = _item(data, value_at, end, found)
            if rule == 0 and found[0] != _STRING:
                rule = STRING_EXPECTED
        if rule:
            return rule
        if found[2] != end:
            return CHANGE_FIELDS
        if width:
            if fill:
                _copy_right(data, found, values[row])
        else:
            size, first = found[2] - found[1], counts[_CODE_BYTES]
            if fill:
                bounds[row + 1] = first + size
                for i in range(size):
                    code[first + i] = data[found[1] + i]
            counts[_CODE_BYTES] = first + size
        counts[which] = row + 1
        at = end
    return 0


@kernel(bare=True)
def _slots(data, start, stop, fill, counts, columns, found):
    """Storage changes of an account, [slot, changes] each."""
    at = start
    while at < stop:
        found[5] = at
        rule = _list(data, at, stop, found)
        if rule:
            return rule
        inner, end = found[1], found[2]
        if inner == end:
            return SLOT_FIELDS
        found[5] = inner
        rule = _number(data, inner, end, 32, SLOT_RANGE, found)
        if rule:
            return rule
        row = counts[_SLOTS]
        if fill:
            _copy_right(data, found, columns.slot[row])
        inner = found[2]
        if inner == end:
            return SLOT_FIELDS
        found[5] = inner
        rule = _list(data, inner, end, found)
        if rule:
            return rule
        if found[2] != end:
            return SLOT_FIELDS
        rule = _changes(
            data, found[1], found[2], fill, counts, _CHANGES, 32, VALUE_RANGE, columns.change_index, columns.change_value,
            columns.code_bounds, columns.code_data, found,
        )  # fmt: skip
        if rule:
            return rule
        if fill:
            columns.change_indptr[row + 1] = counts[_CHANGES]
        counts[_SLOTS] = row + 1
        at = end
    return 0


@kernel(bare=True)
def _reads(data, start, stop, fill, counts, columns, found):
    """Slots that are only read, of an account."""
    at = start
    while at < stop:
        found[5] = at
        rule = _number(data, at, stop, 32, SLOT_RANGE, found)
        if rule:
            return rule
        if fill:
            _copy_right(data, found, columns.read[counts[_READS]])
        counts[_READS] += 1
        at = found[2]
    return 0


@kernel(bare=True)
def _account(data, start, stop, fill, counts, columns, found):
    """The fields of an account: address, slots, reads, balances, nonces, codes."""
    at, row = start, counts[_ACCOUNTS]
    for field in range(6):
        found[5] = at
        if at == stop:
            return ACCOUNT_FIELDS
        rule = _item(data, at, stop, found)
        if rule:
            return rule
        inner, end = found[1], found[2]
        if field == 0:
            if found[0] != _STRING:
                return STRING_EXPECTED
            if end - inner != 20:
                return ADDRESS_SIZE
            if fill:
                _copy_right(data, found, columns.address[row])
        elif found[0] != _LIST:
            return LIST_EXPECTED
        elif field == 1:
            rule = _slots(data, inner, end, fill, counts, columns, found)
        elif field == 2:
            rule = _reads(data, inner, end, fill, counts, columns, found)
        elif field == 3:
            rule = _changes(
                data, inner, end, fill, counts, _BALANCES, 32, VALUE_RANGE, columns.balance_index, columns.balance,
                columns.code_bounds, columns.code_data, found,
            )  # fmt: skip
        elif field == 4:
            rule = _changes(
                data, inner, end, fill, counts, _NONCES, 8, NONCE_RANGE, columns.nonce_index, columns.nonce,
                columns.code_bounds, columns.code_data, found,
            )  # fmt: skip
        else:
            rule = _changes(
                data, inner, end, fill, counts, _CODES, 0, 0, columns.code_index, columns.nonce, columns.code_bounds,
                columns.code_data, found,
            )  # fmt: skip
        if rule:
            return rule
        at = end
    found[5] = at
    return 0 if at == stop else ACCOUNT_FIELDS


@kernel(bare=True)
def decode(data, fill, counts, columns, found):
    """Rows of a list's encoding: counted, or written to columns that have room for them.

    Parameters
    ----------
    data : (n,) uint8
    fill : bool
        Whether to write.
    counts : (8,) int64
        Zeros; how many rows there are (`COUNTS`).
    columns : Columns
        Rows to fill, offsets 0.
    found : (6,) int64
        Scratch; where the rule was broken is in found[5].

    Returns
    -------
    rule : int
        The first rule that is broken, of those that need no other row to be seen.
    """
    found[5] = 0
    rule = _list(data, 0, data.shape[0], found)
    if rule:
        return rule
    at, stop = found[1], found[2]
    if stop != data.shape[0]:
        found[5] = stop
        return TRAILING_BYTES
    while at < stop:
        found[5] = at
        rule = _list(data, at, stop, found)
        if rule:
            return rule
        end = found[2]
        rule = _account(data, found[1], end, fill, counts, columns, found)
        if rule:
            return rule
        row = counts[_ACCOUNTS]
        if fill:
            columns.slot_indptr[row + 1] = counts[_SLOTS]
            columns.read_indptr[row + 1] = counts[_READS]
            columns.balance_indptr[row + 1] = counts[_BALANCES]
            columns.nonce_indptr[row + 1] = counts[_NONCES]
            columns.code_indptr[row + 1] = counts[_CODES]
        counts[_ACCOUNTS] = row + 1
        at = end
    return 0
