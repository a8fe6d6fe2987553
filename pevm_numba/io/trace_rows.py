"""The rows of an op_trace file, checked one by one: a row out of place would silently change what is replayed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..machine.ops import Field
from .corpus_columns import Columns, limbs
from .trace_companions import MAX_GAS, no_code_is_zero

__all__ = ["ACTION", "COLUMNS", "FIELD", "HAS_VALUE", "OPS", "WRITES", "Rows", "rows_of"]

OPS: Final = (
    "INTRINSIC", "OTHER", "KECCAK256", "SLOAD", "SSTORE", "BALANCE_READ", "BALANCE_WRITE", "NONCE_READ", "NONCE_WRITE",
    "CODE_READ", "CODE_WRITE", "ACCOUNT_READ", "ACCOUNT_CREATE", "ACCOUNT_DELETE", "PRECOMPILE", "REFUND",
)  # fmt: skip
KECCAK, BALANCE_WRITE, NONCE_READ, DELETE, REFUND = 2, 6, 7, 13, 15
#: Field of each op's key, -1 for none. Existence tests and creations of empty accounts count as accesses of the code.
FIELD: Final = np.array([-1, -1, -1, 0, 0, 1, 1, 2, 2, 3, 3, 3, 3, 3, -1, -1])
#: Action of each op in `_kernels.op_trace`.
ACTION: Final = np.array([0, 1, 2, 3, 4, 3, 5, 3, 4, 3, 4, 3, 4, 6, 0, 0], np.uint8)
HAS_VALUE: Final = np.array([0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0], bool)
WRITES: Final = np.array([0, 0, 0, 0, 1, 0, 1, 0, 1, 0, 1, 0, 0, 0, 0, 0], bool)
COLUMNS: Final = (
    "block_number", "transaction_index", "op_index", "op", "address", "slot", "value", "prev", "size", "gas", "count",
    "reverted",
)  # fmt: skip
#: Bytes that the hashes of one block may take in all; real blocks stay below 2**24.
_MAX_HASHED: Final = 2**28


@dataclass(frozen=True)
class Rows:
    """The checked rows of one block; arrays of one entry a row."""

    columns: Columns
    tx: NDArray[np.int64]
    op: NDArray[np.int64]
    address: NDArray[np.uint8]
    slot: NDArray[np.uint8]
    value: NDArray[np.uint64]
    prev: NDArray[np.uint64]
    knows_prev: NDArray[np.bool_]
    size: NDArray[np.int64]
    gas: NDArray[np.int64]
    count: NDArray[np.int64]
    reverted: NDArray[np.bool_]

    @property
    def first(self) -> int:
        """Number of system rows, which come first."""
        return int(np.searchsorted(self.tx, 0))

    @property
    def n_tx(self) -> int:
        return int(self.tx[-1]) + 1 if len(self.tx) and self.tx[-1] >= 0 else 0


def rows_of(columns: Columns) -> Rows:
    """Checked rows of one block's trace, in order."""
    tx = columns.integers("transaction_index", -1, 2**31 - 2)
    _check_order(columns, tx)
    op = columns.codes("op", OPS)
    address, has_address = columns.fixed("address", 20, nulls=True)
    slot, has_slot = columns.fixed("slot", 32, nulls=True)
    value, has_value = columns.fixed("value", 32, nulls=True)
    prev, has_prev = columns.fixed("prev", 32, nulls=True)
    kind = FIELD[op]
    for name, given, wanted in (
        ("address", has_address, kind >= 0),
        ("slot", has_slot, kind == Field.STORAGE),
        ("value", has_value, HAS_VALUE[op]),
        ("prev", has_prev, WRITES[op] & (tx >= 0)),
    ):
        missing = np.flatnonzero(wanted & ~given)
        if len(missing):
            row = int(missing[0])
            raise columns.fail(name, row, "null", f"must not be null in a row with op {OPS[op[row]]}")
    slot[kind != Field.STORAGE] = 0
    value[~HAS_VALUE[op]] = 0
    code = kind == Field.CODE
    value[code], prev[code] = no_code_is_zero(value[code]), no_code_is_zero(prev[code])
    reverted, gas = columns.flags("reverted"), columns.integers("gas", -(2**40), 2**40)
    size, count = _sizes(columns, op == KECCAK), columns.integers("count", 0, MAX_GAS)
    return Rows(columns, tx, op, address, slot, limbs(value), limbs(prev), has_prev, size, gas, count, reverted)


def _sizes(columns: Columns, hashes: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Bytes hashed, for KECCAK256 rows; 0 in others."""
    size = np.where(hashes, columns.integers("size", 0, 2**32 - 1, null=-1), 0)
    unsized = np.flatnonzero(size < 0)
    if len(unsized):
        raise columns.fail("size", unsized[0], "null", "must not be null in a row with op KECCAK256")
    if size.sum() > _MAX_HASHED:
        row = int(np.argmax(size))
        raise columns.fail("size", row, size[row], f"hashes of a block may take at most {_MAX_HASHED} bytes in all")
    return size


def _check_order(columns: Columns, tx: NDArray[np.int64]) -> None:
    """transaction_index must run from -1 or 0 without gaps, op_index from 0 within each."""
    if not len(tx):
        return
    steps = np.diff(tx)
    wrong = np.flatnonzero((steps < 0) | (steps > 1)) + 1
    if tx[0] > 0:
        raise columns.fail("transaction_index", 0, tx[0], "must begin at 0, or at -1 for system rows")
    if len(wrong):
        row = int(wrong[0])
        raise columns.fail("transaction_index", row, tx[row], f"must be {tx[row - 1]} as the row before, or one more")
    starts = np.concatenate([[0], np.flatnonzero(steps) + 1])
    expected = np.arange(len(tx)) - np.repeat(starts, np.diff(np.append(starts, len(tx))))
    place = columns.integers("op_index", 0, 2**32 - 1)
    wrong = np.flatnonzero(place != expected)
    if len(wrong):
        row = int(wrong[0])
        rule = f"must be {expected[row]}: 0, 1, 2, … within a transaction, none twice"
        raise columns.fail("op_index", row, place[row], rule)
