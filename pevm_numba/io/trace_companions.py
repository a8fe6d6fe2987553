"""What stands beside a trace: transactions, state before the block, headers. All of it is optional for op_trace."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from ..block import Header
from ..machine.ops import Field
from .corpus_columns import Columns, DataFolder, limbs, read_columns

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "EMPTY_CODE_HASH", "MAX_GAS", "KeyValues", "Transactions", "field_rows", "header_of", "headers_in",
    "mainnet_fork", "no_code_is_zero", "pre_state_of", "transactions_of", "word_of_integers",
]  # fmt: skip

#: keccak-256 of nothing: an account without code has it, or no account at all; as a state value both are 0.
EMPTY_CODE_HASH: Final = bytes.fromhex("c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470")
#: Gas that one transaction may use here: what one BURN can hold.
MAX_GAS: Final = 2**31 - 1

#: First mainnet block of each fork with a schedule of its own name; earlier blocks are `free`.
_MAINNET: Final = (
    (19_426_587, "cancun"),
    (17_034_870, "shanghai"),
    (15_537_394, "paris"),
    (15_050_000, "gray-glacier"),
    (13_773_000, "arrow-glacier"),
    (12_965_000, "london"),
    (12_244_000, "berlin"),
)
_TRANSACTION_COLUMNS: Final = (
    "block_number", "transaction_index", "transaction_hash", "nonce", "from_address", "to_address", "value_binary",
    "input", "gas_limit", "gas_used", "success",
)  # fmt: skip
_STATE_COLUMNS: Final = ("block_number", "address", "slot", "value", "balance", "nonce", "code_hash")
_HEADER_COLUMNS: Final = ("block_number", "miner", "gas_limit", "timestamp", "parent_hash")


def mainnet_fork(number: int) -> str:
    """Name of the gas prices of a mainnet block: `free` before Berlin.

    Examples
    --------
    >>> mainnet_fork(12_243_999), mainnet_fork(12_244_000), mainnet_fork(12_965_000)
    ('free', 'berlin', 'london')
    """
    return next((name for first, name in _MAINNET if number >= first), "free")


@dataclass(frozen=True)
class KeyValues:
    """Keys with values: address (n, 20), kind (n,), slot (n, 32) uint8, value (n, 4) uint64 limbs."""

    address: NDArray[np.uint8]
    kind: NDArray[np.uint8]
    slot: NDArray[np.uint8]
    value: NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.kind)

    @classmethod
    def join(cls, parts: list[KeyValues]) -> KeyValues:
        """One after the other."""
        names = ("address", "kind", "slot", "value")
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))

    def take(self, rows: NDArray[Any]) -> KeyValues:
        """Some rows, by position or mask."""
        return KeyValues(self.address[rows], self.kind[rows], self.slot[rows], self.value[rows])


def field_rows(address: NDArray[np.uint8], kind: Field, value: NDArray[np.uint64]) -> KeyValues:
    """Rows of one account field."""
    n = len(address)
    return KeyValues(address, np.full(n, int(kind), np.uint8), np.zeros((n, 32), np.uint8), value)


def word_of_integers(values: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Non-negative integers as limbs."""
    out = np.zeros((len(values), 4), np.uint64)
    out[:, 0] = values.astype(np.uint64)
    return out


def no_code_is_zero(raw: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Code hashes (n, 32) with the hash of nothing as zero."""
    raw[(raw == np.frombuffer(EMPTY_CODE_HASH, np.uint8)).all(axis=1)] = 0
    return raw


# -------------------------------------------------------------------- transactions


@dataclass(frozen=True)
class Transactions:
    """The `transactions` dataset of one block, transaction_index 0, 1, 2, …"""

    columns: Columns
    sender: NDArray[np.uint8]
    nonce: NDArray[np.int64]
    gas_limit: NDArray[np.int64]
    gas_used: NDArray[np.int64]
    meta: Mapping[str, Any]

    def __len__(self) -> int:
        return len(self.sender)


def transactions_of(folder: DataFolder, number: int) -> Transactions | None:
    """The transactions of a block, or None if no file has the block.

    Raises
    ------
    FileFormatError
        If a column is missing or wrong, or the indices are not 0, 1, 2, … in order.
    """
    columns = folder.block("transactions", number, _TRANSACTION_COLUMNS)
    if columns is None:
        return None
    index = columns.integers("transaction_index", 0, 2**31 - 2)
    wrong = np.flatnonzero(index != np.arange(len(index)))
    if len(wrong):
        row = int(wrong[0])
        rule = f"must be {row}: 0, 1, 2, … within a block, sorted, none twice"
        raise columns.fail("transaction_index", row, index[row], rule)
    gas_limit, gas_used = columns.integers("gas_limit", 0, 2**63 - 1), columns.integers("gas_used", 0, MAX_GAS)
    over = np.flatnonzero(gas_used > gas_limit)
    if len(over):
        row = int(over[0])
        raise columns.fail("gas_used", row, gas_used[row], f"must not be above gas_limit = {gas_limit[row]}")
    return Transactions(
        columns,
        columns.fixed("from_address", 20)[0],
        columns.integers("nonce", 0, 2**63 - 1),
        gas_limit,
        gas_used,
        {
            "tx_hash": fixed_array(columns, "transaction_hash", 32),
            "to": fixed_array(columns, "to_address", 20, nulls=True),
            "value": fixed_array(columns, "value_binary", 32),
            "input": columns.binary("input"),
            "chain_gas_used": gas_used.astype(np.uint64),
            "chain_success": columns.flags("success"),
        },
    )


def fixed_array(columns: Columns, name: str, width: int, *, nulls: bool = False) -> pa.Array:
    """A column as an Arrow array of fixed-size binary."""
    import pyarrow as pa

    raw, valid = columns.fixed(name, width, nulls=nulls)
    data = pa.py_buffer(raw.tobytes())
    bits = pa.py_buffer(np.packbits(valid, bitorder="little").tobytes())
    return pa.Array.from_buffers(pa.binary(width), len(raw), [bits, data])


# -------------------------------------------------------------------- state and headers


def pre_state_of(folder: DataFolder, number: int) -> KeyValues | None:
    """The state before a block, or None if no file has the block. Rows with a slot are slots, the others accounts.

    Raises
    ------
    FileFormatError
        If a column is missing or wrong.
    """
    columns = folder.block("pre_state", number, _STATE_COLUMNS)
    if columns is None:
        return None
    address = columns.fixed("address", 20)[0]
    slot, is_slot = columns.fixed("slot", 32, nulls=True)
    parts = []
    value, has_value = columns.fixed("value", 32, nulls=True)
    rows = _holding(columns, "value", has_value, is_slot, "a row with a slot")
    parts.append(KeyValues(address[rows], np.zeros(len(rows), np.uint8), slot[rows], limbs(value[rows])))
    for name, kind in (("balance", Field.BALANCE), ("code_hash", Field.CODE)):
        value, has_value = columns.fixed(name, 32, nulls=True)
        rows = _holding(columns, name, has_value, ~is_slot, "an account row")
        raw = no_code_is_zero(value[rows]) if kind == Field.CODE else value[rows]
        parts.append(field_rows(address[rows], kind, limbs(raw)))
    nonce = columns.integers("nonce", 0, 2**63 - 1, null=-1)
    rows = _holding(columns, "nonce", nonce >= 0, ~is_slot, "an account row")
    parts.append(field_rows(address[rows], Field.NONCE, word_of_integers(nonce[rows])))
    return KeyValues.join(parts)


def _holding(
    columns: Columns, name: str, has_value: NDArray[np.bool_], wanted: NDArray[np.bool_], what: str
) -> NDArray[np.int64]:
    missing = np.flatnonzero(wanted & ~has_value)
    if len(missing):
        raise columns.fail(name, missing[0], "null", f"must not be null in {what}")
    return np.flatnonzero(wanted)


def headers_in(*folders: Path) -> list[Columns]:
    """The files ``*__headers.parquet`` of some folders."""
    paths = [path for folder in folders if folder.is_dir() for path in sorted(folder.glob("*__headers.parquet"))]
    return [read_columns(path, _HEADER_COLUMNS) for path in paths]


def header_of(files: list[Columns], number: int) -> Header:
    """The header facts of a block from the first file that has it; an empty Header if none has."""
    for columns in files:
        row = np.flatnonzero(columns.integers("block_number", 0, 2**63 - 1) == number)
        if len(row) > 1:
            raise columns.fail("block_number", row[1], number, f"row {row[0]} has it already: one row a block")
        if len(row):
            part = columns.slice(int(row[0]), int(row[0]) + 1)
            return Header(
                part.fixed("miner", 20)[0].tobytes(),
                int(part.integers("gas_limit", 0, 2**63 - 1)[0]),
                int(part.integers("timestamp", 0, 2**63 - 1)[0]),
                part.fixed("parent_hash", 32)[0].tobytes(),
            )
    return Header()
