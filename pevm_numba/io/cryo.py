"""Blocks from cryo datasets: they hold *net* effects without op order, so the gas is the chain's, booked as one BURN.

Per transaction: TOUCH for a value read and not changed, SLOAD / ADD or SUB of the difference / SSTORE TOP for a changed
one, CREDIT for balance increases of others than the sender; the fork is `free`. Codes are touched and stored as hashes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .. import door
from .._kernels import keccak
from .._kernels.context import Hashing
from .._kernels.jit import read_only
from ..block import Block, Header
from ..errors import FileFormatError
from ..machine.gas import GasItem, gas_schedule
from ..machine.ops import Field, Op
from . import trace_companions as beside
from .corpus_columns import Columns, DataFolder, limbs, read_columns, subtract
from .trace_companions import KeyValues, Transactions

__all__ = ["cryo_numbers", "read_cryo"]

#: Dataset -> field of its keys. `transactions` is required too, `blocks` is used if it is there.
_FIELDS: Final = {"storage": Field.STORAGE, "balance": Field.BALANCE, "nonce": Field.NONCE, "code": Field.CODE}


def cryo_numbers(path: str | PathLike[str]) -> list[int]:
    """Numbers of the blocks in a folder of cryo datasets, ascending.

    Parameters
    ----------
    path : path
        Folder of files named ``{network}__{dataset}__{start}_to_{end}.parquet``. The blocks are those of
        `transactions`; one without transactions has no rows and is known only by a `blocks` dataset or a name with
        start = end.

    Raises
    ------
    FileFormatError
        Naming file, column, row, value and rule.
    """
    return _numbers(_folder(path))


def read_cryo(path: str | PathLike[str], numbers: Iterable[int] | None = None) -> Iterator[Block]:
    """Blocks from a folder of cryo datasets, one after the other.

    Parameters
    ----------
    path : path
        Folder with the datasets transactions, storage_reads, storage_diffs, balance_reads, balance_diffs, nonce_reads,
        nonce_diffs, code_reads and code_diffs, as cryo writes them: binary columns, or hexadecimal text (``--hex``).
    numbers : iterable of int, optional
        Only these blocks, in this order; default all, ascending.

    Yields
    ------
    Block
        With fork `free`. gas_used of each transaction is the chain's. The fee recipient is `author` of a `blocks`
        dataset, else the one address in every transaction's balance_reads, else unknown; where its balance was read
        and did not change, that is a CREDIT of 0, since paying a fee of 0 reads nothing.

    Raises
    ------
    FileFormatError
        Naming file, column, row, value and rule: missing datasets and columns, unsorted or repeated rows, nulls, wrong
        lengths, transaction indices out of range.

    Notes
    -----
    A value whose `from_value` is not what the earlier rows of the block left is stored as a literal. Linear but for
    sorting; a file is read whole when its first block is asked for.

    References
    ----------
    cryo, https://github.com/paradigmxyz/cryo, crates/freeze/src/datasets.

    Examples
    --------
    >>> list(read_cryo("nowhere"))
    Traceback (most recent call last):
        ...
    pevm_numba.errors.FileFormatError: nowhere: ...
    """
    folder = _folder(path)
    known = _numbers(folder)
    there = set(known)
    for number in known if numbers is None else numbers:
        if number not in there:
            raise FileFormatError(f"{path}: block {number} is not there, only {len(there)} other blocks are")
        yield _block(folder, number)


def _folder(path: str | PathLike[str]) -> DataFolder:
    folder = DataFolder(Path(path))
    if not folder.files.get("transactions"):
        rule = "no file named NETWORK__transactions__START_to_END.parquet"
        raise FileFormatError(f"{path}: {rule}: cryo datasets are one folder, `transactions` among them")
    return folder


def _numbers(folder: DataFolder) -> list[int]:
    found: dict[int, Path] = {}
    listed = [n for f in folder.files.get("blocks", []) for n in read_columns(f.path, ["block_number"]).numbers()]
    for file in folder.files["transactions"]:
        columns = read_columns(file.path, ["block_number"])
        numbers = {int(n) for n in columns.numbers()} | {int(n) for n in listed if file.start <= n <= file.end}
        if not numbers and file.start == file.end:
            numbers = {file.start}
        for number in sorted(numbers):
            if not file.start <= number <= file.end:
                rule = f"must be in the range of the file's name, {file.start} to {file.end}"
                row = int(np.argmax(columns.integers("block_number", 0, 2**63 - 1) == number))
                raise columns.fail("block_number", row, number, rule)
            if number in found:
                raise FileFormatError(f"{file.path}: block {number} is also in {found[number].name}: must be in one")
            found[number] = file.path
    return sorted(found)


# -------------------------------------------------------------------- datasets


@dataclass(frozen=True)
class _Table:
    """Rows of one or several datasets: transaction, key with value before, and for diffs the value after."""

    tx: NDArray[np.int64]
    keys: KeyValues
    after: NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.tx)

    @classmethod
    def join(cls, parts: list[_Table]) -> _Table:
        """All rows, sorted by transaction."""
        tx = np.concatenate([part.tx for part in parts])
        order = np.argsort(tx, kind="stable")
        keys = KeyValues.join([part.keys for part in parts]).take(order)
        return cls(tx[order], keys, np.concatenate([part.after for part in parts])[order])


def _open(folder: DataFolder, dataset: str, number: int, names: list[str], optional: Iterable[str] = ()) -> Columns:
    columns = folder.block(dataset, number, ["block_number", "transaction_index", *names], optional)
    if columns is None:
        rule = "a block needs transactions and the _reads and _diffs of storage, balance, nonce and code"
        raise FileFormatError(f"{folder.folder}: dataset {dataset!r} has no file for block {number}: {rule}")
    return columns


def _table(folder: DataFolder, dataset: str, number: int, n_tx: int) -> _Table:
    """The rows of one dataset, checked."""
    what, reads = dataset.removesuffix("_reads").removesuffix("_diffs"), dataset.endswith("_reads")
    who = "contract_address" if reads and what in ("storage", "code") else "address"
    slots = ["slot"] if what == "storage" else []
    optional: tuple[str, ...] = ()
    if reads:
        values = {"storage": ["value"], "balance": ["balance_binary"], "nonce": ["nonce"], "code": []}[what]
        optional = ("code_hash", "code") if what == "code" else ()
    else:
        suffix = "_binary" if what == "balance" else ""
        values = [f"from_value{suffix}", f"to_value{suffix}"]
    columns = _open(folder, dataset, number, [who, *slots, *values], optional)
    if what == "code" and reads:
        values = ["code_hash"] if "code_hash" in columns or "code" not in columns else ["code"]
        if values[0] not in columns:
            raise FileFormatError(f"{columns.path}: column 'code' is there 0 times: must be there, or code_hash")
    tx = columns.integers("transaction_index", 0, 2**31 - 2)
    _check_transactions(columns, tx, n_tx)
    address = columns.fixed(who, 20)[0]
    slot = columns.fixed("slot", 32)[0] if slots else np.zeros((len(tx), 32), np.uint8)
    kind = np.full(len(tx), int(_FIELDS[what]), np.uint8)
    words = [_words(columns, name, what) for name in values]
    keys = KeyValues(address, kind, slot, words[0])
    _check_distinct(columns, tx, keys, who)
    return _Table(tx, keys, words[-1])


def _words(columns: Columns, name: str, what: str) -> NDArray[np.uint64]:
    if what == "nonce":
        return beside.word_of_integers(columns.integers(name, 0, 2**63 - 1))
    if what == "code" and name != "code_hash":
        return _hashes(columns, name)
    if what == "code":
        return limbs(beside.no_code_is_zero(columns.fixed(name, 32)[0]))
    return limbs(columns.fixed(name, 32)[0])


def _hashes(columns: Columns, name: str) -> NDArray[np.uint64]:
    """keccak-256 of each code as limbs; 0 for no code."""
    column = columns.binary(name)
    n = len(column)
    out = np.zeros((n, 4), np.uint64)
    if not n:
        return out
    ends = np.frombuffer(column.buffers()[1], np.int64)[column.offset : column.offset + n + 1]
    data = column.buffers()[2]
    raw = np.zeros(0, np.uint8) if data is None else np.frombuffer(data, np.uint8)[ends[0] : ends[-1]]
    ends = ends - ends[0]
    alone, each = read_only(np.arange(n + 1)), read_only(np.arange(n, dtype=np.int32))
    keccak.hash_all(Hashing(alone, each, read_only(ends), read_only(raw), out))
    out[np.diff(ends) == 0] = 0
    return out


def _check_transactions(columns: Columns, tx: NDArray[np.int64], n_tx: int) -> None:
    beyond = np.flatnonzero(tx >= n_tx)
    if len(beyond):
        row = int(beyond[0])
        raise columns.fail("transaction_index", row, tx[row], f"must be below {n_tx}, the number of transactions")
    falls = np.flatnonzero(tx[1:] < tx[:-1]) + 1
    if len(falls):
        row = int(falls[0])
        raise columns.fail("transaction_index", row, tx[row], f"rows must be sorted; the row before has {tx[row - 1]}")


def _intern(keys: KeyValues) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    return door.intern_rows(*(np.ascontiguousarray(part) for part in (keys.address, keys.kind, keys.slot)))


def _check_distinct(columns: Columns, tx: NDArray[np.int64], keys: KeyValues, who: str) -> None:
    ids, _ = _intern(keys)
    pair = tx << 31 | ids
    order = np.argsort(pair, kind="stable")
    again = np.flatnonzero(pair[order][1:] == pair[order][:-1])
    if len(again):
        row, first = int(order[again[0] + 1]), int(order[again[0]])
        rule = f"a key is there once a transaction, and row {columns.first_row + first} has it for {tx[row]} already"
        raise columns.fail(who, row, keys.address[row].tobytes(), rule)


# -------------------------------------------------------------------- the block


def _block(folder: DataFolder, number: int) -> Block:
    given = beside.transactions_of(folder, number)
    if given is None:
        raise FileFormatError(f"{folder.folder}: dataset 'transactions' has no file for block {number}")
    n_tx = len(given)
    reads, diffs = (
        _Table.join([_table(folder, f"{what}_{kind}", number, n_tx) for what in _FIELDS]) for kind in ("reads", "diffs")
    )
    header = _header(folder, number, reads, n_tx)
    ids, first = _intern(KeyValues.join([reads.keys, diffs.keys]))
    keys = KeyValues.join([reads.keys, diffs.keys]).take(first)
    read_id, diff_id = ids[: len(reads)].astype(np.int64), ids[len(reads) :].astype(np.int64)
    pre = _first_values(reads, diffs, read_id, diff_id, len(first))
    lowered = _lower(given, header, reads, diffs, (read_id, diff_id), pre)
    return Block.from_arrays(
        **lowered,
        sender=given.sender,
        nonce=given.nonce,
        gas_limit=given.gas_limit,
        key_address=keys.address,
        key_field=keys.kind,
        key_slot=keys.slot,
        state_key=np.arange(len(first)),
        state_value=pre,
        number=number,
        fork="free",
        header=header,
        meta=given.meta,
    )


def _first_values(
    reads: _Table, diffs: _Table, read_id: NDArray[np.int64], diff_id: NDArray[np.int64], n_keys: int
) -> NDArray[np.uint64]:
    """State before the block: of each key the value before the first transaction that names it."""
    order = np.argsort(np.concatenate([reads.tx, diffs.tx]), kind="stable")
    ids, first = np.unique(np.concatenate([read_id, diff_id])[order], return_index=True)
    out = np.zeros((n_keys, 4), np.uint64)
    out[ids] = np.concatenate([reads.keys.value, diffs.keys.value])[order[first]]
    return out


def _header(folder: DataFolder, number: int, reads: _Table, n_tx: int) -> Header:
    """From the `blocks` dataset; without one, the fee recipient if only one address is in all balance_reads."""
    columns = folder.block("blocks", number, ["block_number"], ("author", "timestamp", "gas_limit", "parent_hash"))
    facts: dict[str, Any] = {}
    if columns is not None and len(columns):
        if len(columns) > 1:
            raise columns.fail("block_number", 1, number, "one row a block")
        for name, fact, width in (("author", "fee_recipient", 20), ("parent_hash", "parent_hash", 32)):
            raw, known = columns.fixed(name, width, nulls=True) if name in columns else (None, [False])
            if raw is not None and known[0]:
                facts[fact] = raw[0].tobytes()
        for name, fact in (("timestamp", "timestamp"), ("gas_limit", "block_gas_limit")):
            value = int(columns.integers(name, 0, 2**63 - 1, null=-1)[0]) if name in columns else -1
            if value >= 0:
                facts[fact] = value
    if "fee_recipient" not in facts and n_tx:
        balances = reads.keys.take(reads.keys.kind == Field.BALANCE)
        ids, first = _intern(balances)
        everywhere = np.flatnonzero(np.bincount(ids, minlength=len(first)) == n_tx)
        if len(everywhere) == 1:
            facts["fee_recipient"] = balances.address[first[everywhere[0]]].tobytes()
    return Header(**facts)


def _follows(diffs: _Table, ids: NDArray[np.int64], pre: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Whether each diff starts from what the earlier ones left."""
    order = np.argsort(ids, kind="stable")  # rows are sorted by transaction, so within a key they stay so
    before = pre[ids[order]]
    same = np.flatnonzero(ids[order][1:] == ids[order][:-1])
    before[same + 1] = diffs.after[order[same]]
    out = np.empty(len(ids), bool)
    out[order] = (before == diffs.keys.value[order]).all(axis=1)
    return out


@dataclass(frozen=True)
class _Changes:
    """How each diff is replayed, as masks: `credit`, `step` (SLOAD, ADD or SUB, SSTORE TOP), else a literal."""

    credit: NDArray[np.bool_]
    step: NDArray[np.bool_]
    falls: NDArray[np.bool_]
    difference: NDArray[np.uint64]
    burn: NDArray[np.int64]


def _changes(given: Transactions, diffs: _Table, ids: NDArray[np.int64], pre: NDArray[np.uint64]) -> _Changes:
    n_tx, kind = len(given), diffs.keys.kind
    up, falls = subtract(diffs.after, diffs.keys.value)
    down, _ = subtract(diffs.keys.value, diffs.after)
    follows = _follows(diffs, ids, pre)
    others = (diffs.keys.address != given.sender[diffs.tx]).any(axis=1)
    credit = (kind == Field.BALANCE) & others & ~falls & follows
    step = (kind != Field.CODE) & follows & ~credit
    price = gas_schedule("free")[GasItem.ARITHMETIC]
    dear = np.bincount(diffs.tx[step], minlength=n_tx) * price > given.gas_used  # other chains have gas_used 0
    step &= ~dear[diffs.tx]
    burn = given.gas_used - np.bincount(diffs.tx[step], minlength=n_tx) * price
    return _Changes(credit, step, falls, np.where(falls[:, None], down, up), burn)


def _lower(
    given: Transactions,
    header: Header,
    reads: _Table,
    diffs: _Table,
    ids: tuple[NDArray[np.int64], NDArray[np.int64]],
    pre: NDArray[np.uint64],
) -> dict[str, Any]:
    """Programs as arguments of `Block.from_arrays`: per transaction TOUCHes, changes, one BURN."""
    (read_id, diff_id), n_tx, base = ids, len(given), len(reads)
    how = _changes(given, diffs, diff_id, pre)
    touched = np.flatnonzero(~np.isin(reads.tx << 31 | read_id, diffs.tx << 31 | diff_id))
    unpaid = np.zeros(len(touched), bool)
    if header.fee_recipient is not None:
        fee = np.frombuffer(header.fee_recipient, np.uint8)
        unpaid = (reads.keys.kind[touched] == Field.BALANCE) & (reads.keys.address[touched] == fee).all(axis=1)
    credited, stepped, paid = (np.flatnonzero(mask) for mask in (how.credit, how.step, how.burn > 0))
    looks = np.flatnonzero(~how.credit)
    words = np.concatenate([how.difference, diffs.after, np.zeros((1, 4), np.uint64)])
    zero, after = 2 * len(diffs), np.where(how.step, -1, np.arange(len(diffs)) + len(diffs))
    looked = np.where(unpaid, Op.CREDIT, Op.TOUCH), read_id[touched]
    ops: list[tuple[Any, ...]] = [  # transaction, place within it, op, key row, argument
        (reads.tx[touched], touched, *looked, np.where(unpaid, zero, -1)),
        (diffs.tx[credited], base + 3 * credited, Op.CREDIT, diff_id[credited], credited),
        (diffs.tx[looks], base + 3 * looks, np.where(how.step, Op.SLOAD, Op.TOUCH)[looks], diff_id[looks], -1),
        (diffs.tx[stepped], base + 3 * stepped + 1, np.where(how.falls, Op.SUB, Op.ADD)[stepped], -1, stepped),
        (diffs.tx[looks], base + 3 * looks + 2, Op.SSTORE, diff_id[looks], after[looks]),
        (paid, base + 3 * len(diffs), Op.BURN, -1, how.burn[paid]),
    ]
    columns = [np.concatenate([np.broadcast_to(op[i], op[0].shape) for op in ops]).astype(np.int64) for i in range(5)]
    order = np.lexsort((columns[1], columns[0]))
    tx, _, code, key, arg = (column[order] for column in columns)
    return {
        "op_indptr": np.searchsorted(tx, np.arange(n_tx + 1)),
        "op_code": code,
        "op_key": key,
        "op_arg": arg,
        "words": words,
    }
