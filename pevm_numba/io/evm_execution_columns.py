"""The lists in the file of an EVM execution, between arrays and Arrow: each a column of lists of structs, checked when read.

Arrays are named ``list.member``; ``list.indptr`` are CSR offsets by row of the file, and ``list.member.known`` says what is
not null, where null may be.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..evm.hashing import EMPTY_HASH, keccak_many
from ..machine.ops import Field
from .columns import Column
from .parquet_tables import fixed_binaries

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "ALL_LISTS", "Arrays", "as_binaries", "check_lists", "known_codes", "list_arrays", "pieces", "read_lists",
    "reject_filled_ends", "rows_of",
]  # fmt: skip

#: Arrays of a file, by ``list.member``.
Arrays: TypeAlias = dict[str, NDArray[Any]]


class _Number(NamedTuple):
    """A member that is an integer: as what type it is held, and between what bounds."""

    dtype: Any
    low: int
    high: int


_KEY: Final = _Number(np.int32, 0, 2**31 - 1)
_PLACE: Final[dict[str, _Number | int]] = {"address": 20, "field": _Number(np.uint8, 0, int(max(Field))), "slot": 32}
#: Members of each list: a number, or binaries of a width.
_LISTS: Final[dict[str, dict[str, _Number | int]]] = {
    "accesses": {"key": _KEY, "mode": _Number(np.uint8, 1, 7)},
    "changes": {"key": _KEY, "kind": _Number(np.uint8, 1, 2), "value": 32},
    "touched": {"address": 20, "slot": 32, "saved": _Number(np.int64, -(2**63), 2**63 - 1)},
    "listed": {"key": _KEY, "value": 32},
    "keys": {**_PLACE, "before": 32},
    "listed_keys": {**_PLACE},
    "listed_addresses": {"address": 20},
    "changed": {**_PLACE, "value": 32},
    "state": {**_PLACE, "value": 32},
    "after_transactions": {**_PLACE, "value": 32},
}
#: Members that may be null.
_NULLABLE: Final = ("touched.slot", "state.value", "after_transactions.value")
#: Lists of transactions; lists of the block as a whole, which are in the first row.
_OF_TX: Final = ("logs", "accesses", "changes", "touched")
_OF_BLOCK: Final = ("keys", "listed_keys", "listed_addresses", "changed", "state", "after_transactions", "codes")
#: Lists of keys, each once, in the order of address, field and slot.
_TABLES: Final = ("keys", "listed_keys", "changed", "state", "after_transactions")
#: Values that may be code, and in which table their keys are.
_VALUES: Final = {
    "changes": "keys", "listed": "listed_keys", "changed": "changed", "state": "state",
    "after_transactions": "after_transactions",
}  # fmt: skip
ALL_LISTS: Final = ("logs", *_LISTS, "codes")


# -------------------------------------------------------------------- to Arrow


def as_binaries(name: str, given: list[bytes]) -> Arrays:
    """Offsets and bytes of binaries of any length."""
    ends = np.zeros(len(given) + 1, np.int64)
    np.cumsum([len(one) for one in given], out=ends[1:])
    return {f"{name}.indptr": ends, name: np.frombuffer(b"".join(given), np.uint8)}


def pieces(arrays: Arrays, name: str) -> list[bytes]:
    """The binaries, the opposite."""
    ends, data = arrays[f"{name}.indptr"].tolist(), arrays[name].tobytes()
    return [data[start:stop] for start, stop in pairwise(ends)]


def list_arrays(arrays: Arrays) -> dict[str, pa.Array]:
    """Columns of all lists."""
    return {
        "logs": _logs(arrays),
        **{name: _listed(arrays[f"{name}.indptr"], _structs(arrays, name)) for name in _LISTS},
        "codes": _listed(arrays["codes.indptr"], _binaries(arrays, "codes.code")),
    }


def _listed(offsets: NDArray[np.int64], entries: pa.Array) -> pa.Array:
    import pyarrow as pa

    return pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), entries)


def _binaries(arrays: Arrays, name: str) -> pa.Array:
    import pyarrow as pa

    ends, data = arrays[f"{name}.indptr"], np.ascontiguousarray(arrays[name])
    return pa.LargeBinaryArray.from_buffers(
        pa.large_binary(), len(ends) - 1, [None, pa.py_buffer(np.ascontiguousarray(ends)), pa.py_buffer(data)]
    )


def _structs(arrays: Arrays, name: str) -> pa.Array:
    import pyarrow as pa

    made = []
    for member in _LISTS[name]:
        values = arrays[f"{name}.{member}"]
        if values.ndim > 1:
            made.append(fixed_binaries(values, arrays.get(f"{name}.{member}.known")))
        else:
            made.append(pa.array(values.astype(np.uint32) if member == "key" else values))
    return pa.StructArray.from_arrays(made, [*_LISTS[name]])


def _logs(arrays: Arrays) -> pa.Array:
    import pyarrow as pa

    members = [
        fixed_binaries(arrays["logs.address"]),
        _listed(arrays["logs.topics.indptr"], fixed_binaries(arrays["logs.topics"])), _binaries(arrays, "logs.data"),
    ]  # fmt: skip
    return _listed(arrays["logs.indptr"], pa.StructArray.from_arrays(members, ["address", "topics", "data"]))


# -------------------------------------------------------------------- from Arrow


def read_lists(given: Mapping[str, Column]) -> tuple[Arrays, dict[str, Column]]:
    """Arrays of all lists, and the column of each member, to say what is wrong in it.

    Raises
    ------
    FileFormatError
        Naming column, row, value and rule.
    """
    arrays, columns = _read_logs(given["logs"])
    for name, members in _LISTS.items():
        arrays[f"{name}.indptr"], entries = given[name].items()
        for member, kind in members.items():
            full, one = f"{name}.{member}", entries.member(member)
            if full in _NULLABLE:
                arrays[f"{full}.known"] = one.known()
            else:
                one.required()
            columns[full] = one
            arrays[full] = one.fixed(kind) if isinstance(kind, int) else one.integers(*kind)
    arrays["codes.indptr"], codes = given["codes"].items()
    arrays["codes.code.indptr"], arrays["codes.code"] = codes.required().binaries()
    columns["codes.code"] = codes
    return arrays, columns


def _read_logs(given: Column) -> tuple[Arrays, dict[str, Column]]:
    arrays: Arrays = {}
    arrays["logs.indptr"], entries = given.items()
    address, topics, data = (entries.member(name).required() for name in ("address", "topics", "data"))
    arrays["logs.address"] = address.fixed(20)
    arrays["logs.topics.indptr"], words = topics.items()
    arrays["logs.topics"] = words.required().fixed(32)
    arrays["logs.data.indptr"], arrays["logs.data"] = data.binaries()
    topics.reject(np.diff(arrays["logs.topics.indptr"]) > 4, "must be at most 4 topics")
    return arrays, {"logs.topics": topics}


def rows_of(arrays: Arrays, name: str) -> NDArray[np.int64]:
    """The row of each entry of a list."""
    indptr = arrays[f"{name}.indptr"]
    return np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))


def known_codes(arrays: Arrays) -> dict[bytes, bytes]:
    """All code of a file by its hash, and no code by both words that stand for it."""
    codes = pieces(arrays, "codes.code")
    return {bytes(32): b"", EMPTY_HASH: b"", **dict(zip(keccak_many(codes), codes))}


def check_lists(given: Mapping[str, Column], arrays: Arrays, columns: Mapping[str, Column]) -> None:
    """Whether lists are where they belong, their entries in order and once, and keys and code known.

    Raises
    ------
    FileFormatError
        Naming column, row, value and rule.
    """
    last = len(given["logs"]) - 1
    for name in _OF_TX:
        sizes = np.diff(arrays[f"{name}.indptr"])
        given[name].reject((sizes > 0) & np.isin(np.arange(last + 1), (0, last)), "must be empty: no transaction is there")
    for name in _OF_BLOCK:
        sizes = np.diff(arrays[f"{name}.indptr"])
        given[name].reject((sizes > 0) & (np.arange(last + 1) > 0), "must be empty: what is of the whole block is in row 0")
    for name in _TABLES:
        is_slot = arrays[f"{name}.field"] == int(Field.STORAGE)
        columns[f"{name}.slot"].reject(~is_slot & arrays[f"{name}.slot"].any(axis=1), "must be 0 but for storage")
        _ascending(arrays, columns, name, "address", [arrays[f"{name}.{part}"] for part in _PLACE])
    for name, table in (("accesses", "keys"), ("changes", "keys"), ("listed", "listed_keys")):
        key, n_keys = arrays[f"{name}.key"], len(arrays[f"{table}.field"])
        columns[f"{name}.key"].reject(key >= n_keys, f"must be below {n_keys}, the number of entries of {table}")
        _ascending(arrays, columns, name, "key", [key.astype(">i8").view(np.uint8).reshape(-1, 8)])
    _check_touched(arrays, columns)
    _check_values(arrays, columns)


def _ascending(arrays: Arrays, columns: Mapping[str, Column], name: str, member: str, parts: list[NDArray[np.uint8]]) -> None:
    """Whether entries of each row are distinct and ascending, by parts that are bytes, (n,) or (n, width)."""
    rows = rows_of(arrays, name)
    if len(rows) > 1:
        joined = np.ascontiguousarray(np.concatenate([part.reshape(len(rows), -1) for part in parts], axis=1))
        text = joined.view(f"S{joined.shape[1]}").reshape(-1)  # equal lengths, so stripped zeros do not matter
        falls = np.zeros(len(rows), bool)
        falls[1:] = (rows[1:] == rows[:-1]) & (text[1:] <= text[:-1])
        columns[f"{name}.{member}"].reject(falls, "entries must be distinct and ascending in a row")


def _check_touched(arrays: Arrays, columns: Mapping[str, Column]) -> None:
    """Accounts by address, each before its slots."""
    address, is_slot, rows = arrays["touched.address"], arrays["touched.slot.known"], rows_of(arrays, "touched")
    _ascending(arrays, columns, "touched", "address", [address, is_slot.astype(np.uint8), arrays["touched.slot"]])
    heads = np.ones(len(rows), bool)
    heads[1:] = (rows[1:] != rows[:-1]) | (address[1:] != address[:-1]).any(axis=1)
    columns["touched.slot"].reject(heads & is_slot, "an entry of the account, without a slot, must come before it")


def _check_values(arrays: Arrays, columns: Mapping[str, Column]) -> None:
    """Code must be known by its hash, and nonces below 2**64; what is null in a state must be gone."""
    known = np.array([*known_codes(arrays)], "S32")
    for name, table in _VALUES.items():
        values, column = arrays[f"{name}.value"], columns[f"{name}.value"]
        field = arrays[f"{table}.field"]
        if name != table:
            field = field[arrays[f"{name}.key"]]
        words = np.ascontiguousarray(values).view("S32").reshape(-1)
        column.reject((field == int(Field.CODE)) & ~np.isin(words, known), "is the hash of no code in column codes")
        column.reject((field == int(Field.NONCE)) & values[:, :24].any(axis=1), "a nonce must be below 2**64")
        if f"{name}.value.known" not in arrays:
            continue
        gone = ~arrays[f"{name}.value.known"]
        column.reject(gone & (field > int(Field.BALANCE)), "must not be null: of an account that is gone the balance is")
        address = arrays[f"{name}.address"]
        same = np.zeros(len(field) + 1, bool)
        same[1:-1] = (address[1:] == address[:-1]).all(axis=1) if len(field) > 1 else False
        dead = gone & (field == int(Field.BALANCE))
        column.reject(dead & (same[1:] | same[:-1]), "must not be null: another entry is of that account, so it is not gone")


def reject_filled_ends(given: Mapping[str, Column], names: tuple[str, ...]) -> None:
    """Whether the first and last row, which are of no transaction, have nothing in columns of transactions.

    Raises
    ------
    FileFormatError
        Naming column, row, value and rule.
    """
    for name in names:
        ends = given[name].known()
        ends[1:-1] = False
        given[name].reject(ends, "must be null: no transaction is there")
