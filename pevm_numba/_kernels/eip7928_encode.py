"""From columns to the wire format of block access lists (EIP-7928), which is RLP.

It is written from the end to the beginning: the size of a list is known where its header is to be written.
"""

from __future__ import annotations

import numpy as np

from .eip7928 import Columns
from .jit import kernel

__all__ = ["encode", "room_for"]


def room_for(columns: Columns) -> int:
    """Bytes that the encoding takes at most: each row in full, with the longest headers."""
    header = 9
    rows = (  # rows, and bytes of each
        (columns.address, 21 + 6 * header), (columns.slot, 33 + 2 * header), (columns.change_index, 38 + header),
        (columns.read, 33), (columns.balance_index, 38 + header), (columns.nonce_index, 14 + header),
        (columns.code_index, 5 + 2 * header), (columns.code_data, 1),
    )  # fmt: skip
    return header + sum(len(column) * size for column, size in rows)


@kernel(bare=True)
def _put_header(out, at, size, short):
    """The header of `size` bytes that begin at `at` before them; where it begins."""
    if size < 56:
        out[at - 1] = short + size
        return at - 1
    width = 0
    rest = size
    while rest:
        at -= 1
        out[at] = rest & 0xFF
        rest >>= 8
        width += 1
    out[at - 1] = short + 55 + width
    return at - 1


@kernel(bare=True)
def _put_bytes(out, at, data, start, stop):
    """A string before `at`; where it begins."""
    size = stop - start
    at -= size
    for i in range(size):
        out[at + i] = data[start + i]
    if size == 1 and out[at] < 0x80:
        return at
    return _put_header(out, at, size, 0x80)


@kernel(bare=True)
def _put_number(out, at, row):
    """A row of bytes as an integer, without leading zeros."""
    first = 0
    while first < row.shape[0] and row[first] == 0:
        first += 1
    return _put_bytes(out, at, row, first, row.shape[0])


@kernel(bare=True)
def _put_index(out, at, index):
    """The index of a change."""
    if index == 0:
        out[at - 1] = 0x80
        return at - 1
    end = at
    rest = np.int64(index)
    while rest:
        at -= 1
        out[at] = rest & 0xFF
        rest >>= 8
    if end - at == 1 and out[at] < 0x80:
        return at
    return _put_header(out, at, end - at, 0x80)


@kernel(bare=True)
def _put_changes(out, at, indices, values, start, stop):
    """A list of changes whose values are numbers."""
    end = at
    for row in range(stop - 1, start - 1, -1):
        last = at
        at = _put_number(out, at, values[row])
        at = _put_index(out, at, indices[row])
        at = _put_header(out, at, last - at, 0xC0)
    return _put_header(out, at, end - at, 0xC0)


@kernel(bare=True)
def _put_codes(out, at, columns, a):
    end = at
    for row in range(columns.code_indptr[a + 1] - 1, columns.code_indptr[a] - 1, -1):
        last = at
        at = _put_bytes(out, at, columns.code_data, columns.code_bounds[row], columns.code_bounds[row + 1])
        at = _put_index(out, at, columns.code_index[row])
        at = _put_header(out, at, last - at, 0xC0)
    return _put_header(out, at, end - at, 0xC0)


@kernel(bare=True)
def _put_slots(out, at, columns, a):
    end = at
    for s in range(columns.slot_indptr[a + 1] - 1, columns.slot_indptr[a] - 1, -1):
        last = at
        first, stop = columns.change_indptr[s], columns.change_indptr[s + 1]
        at = _put_changes(out, at, columns.change_index, columns.change_value, first, stop)
        at = _put_number(out, at, columns.slot[s])
        at = _put_header(out, at, last - at, 0xC0)
    return _put_header(out, at, end - at, 0xC0)


@kernel(bare=True)
def encode(columns, out):
    """Write a list's encoding to the end of `out`, which has room for it; where it begins."""
    at = out.shape[0]
    for a in range(columns.address.shape[0] - 1, -1, -1):
        end = at
        at = _put_codes(out, at, columns, a)
        at = _put_changes(
            out, at, columns.nonce_index, columns.nonce, columns.nonce_indptr[a], columns.nonce_indptr[a + 1]
        )
        at = _put_changes(
            out, at, columns.balance_index, columns.balance, columns.balance_indptr[a], columns.balance_indptr[a + 1]
        )
        last = at
        for r in range(columns.read_indptr[a + 1] - 1, columns.read_indptr[a] - 1, -1):
            at = _put_number(out, at, columns.read[r])
        at = _put_header(out, at, last - at, 0xC0)
        at = _put_slots(out, at, columns, a)
        at = _put_bytes(out, at, columns.address[a], 0, 20)
        at = _put_header(out, at, end - at, 0xC0)
    return _put_header(out, at, out.shape[0] - at, 0xC0)
