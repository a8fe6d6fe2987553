"""Exact replay of op_trace files: the machine charges the traced gas by its *own* rules, so order and warmth are kept.

How a row becomes ops: reads TOUCH; kept writes SSTORE the traced value; balance increases of accounts that the
transaction does not otherwise read CREDIT the difference; KECCAK256 hashes zeros of the traced size; runs of other
opcodes are NOOPs; one BURN at the end makes the gas before refunds equal to the traced one. Storage keys that were warm
when first touched form the access list. Of a reverted frame only accesses remain whose key no live op of the
transaction touches, as TOUCHes; a balance that was only written there leaves nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import door
from .._kernels import op_trace as _k
from .._kernels.jit import inputs
from ..block import Block
from ..errors import FileFormatError
from ..machine.gas import GasItem, GasSchedule, gas_schedule
from ..machine.ops import Field
from . import trace_companions as beside
from . import trace_rows as _t
from .corpus_columns import Columns, DataFile, DataFolder, data_files, read_columns, subtract
from .trace_companions import MAX_GAS, KeyValues, Transactions
from .trace_rows import ACTION, FIELD, HAS_VALUE, OPS, WRITES, Rows, rows_of

__all__ = ["op_trace_numbers", "read_op_trace"]


def op_trace_numbers(path: str | PathLike[str]) -> list[int]:
    """Numbers of the blocks in an op_trace file, or in all op_trace files of a folder, ascending.

    Parameters
    ----------
    path : path
        A file, or a folder of files named ``{network}__op_trace__{start}_to_{end}.parquet``. A block without
        transactions has no rows: it is known only by a name with start = end.

    Raises
    ------
    FileFormatError
        Naming file, column, row, value and rule.
    """
    return sorted(_index(Path(path)))


def read_op_trace(path: str | PathLike[str], numbers: Iterable[int] | None = None) -> Iterator[Block]:
    """Blocks of an op_trace file or folder, one after the other.

    Parameters
    ----------
    path : path
        As for `op_trace_numbers`. In the same folder, or in ``../cryo`` and ``../state``, are looked for, all of them
        optional: `transactions` (sender, nonce, gas limit, hash, …; else sender and nonce are taken from the trace and
        the gas limit is the gas before refunds), `pre_state` (else the first traced values are the state before the
        block) and `headers`.
    numbers : iterable of int, optional
        Only these blocks, in this order; default all, ascending.

    Yields
    ------
    Block
        With the mainnet fork of its number, `free` before Berlin. A code is its hash, 0 for none. System rows
        (transaction_index -1) are in the state before the block. A gas limit is raised where the machine would run out
        of gas or below the 2,300 gas of EIP-2200: with transactions at hand that is rare, since the machine has never
        charged more than the chain had; without them, the last SSTORE may need it.

    Raises
    ------
    FileFormatError
        Naming file, column, row, value and rule: missing or mistyped columns, unsorted or repeated rows, nulls and
        values out of range, gas that differs from `transactions`.

    Notes
    -----
    A file is read whole when its first block is asked for. About 0.3 µs a row.

    Examples
    --------
    >>> list(read_op_trace("nowhere"))
    Traceback (most recent call last):
        ...
    pevm_numba.errors.FileFormatError: nowhere: ...
    """
    index = _index(Path(path))
    folder = Path(path).absolute()
    folder = folder if folder.is_dir() else folder.parent
    here, state, cryo = (DataFolder(f) for f in (folder, folder.parent / "state", folder.parent / "cryo"))
    headers = beside.headers_in(here.folder, state.folder)
    opened: tuple[Path, Columns] | None = None
    for number in sorted(index) if numbers is None else numbers:
        if number not in index:
            raise FileFormatError(f"{path}: block {number} is not there, only {len(index)} other blocks are")
        if opened is None or opened[0] != index[number]:
            opened = index[number], read_columns(index[number], _t.COLUMNS)
        source = _Companions(
            beside.transactions_of(here, number) or beside.transactions_of(cryo, number),
            beside.pre_state_of(here, number) or beside.pre_state_of(state, number),
            beside.header_of(headers, number),
        )
        yield _block(number, opened[1].of_block(number), source)


@dataclass(frozen=True)
class _Companions:
    transactions: Transactions | None
    state: KeyValues | None
    header: Any


def _index(path: Path) -> dict[int, Path]:
    """Block number -> file."""
    if path.is_dir():
        files = [f.path for f in data_files(path).get("op_trace", [])]
        if not files:
            raise FileFormatError(f"{path}: no file named NETWORK__op_trace__START_to_END.parquet in this folder")
    else:
        files = [path]
    found: dict[int, Path] = {}
    for file in files:
        numbers = [int(n) for n in read_columns(file, ["block_number"]).numbers()]
        named = DataFile.of(file)
        if not numbers and named is not None and named.start == named.end:
            numbers = [named.start]
        for number in numbers:
            if number in found:
                raise FileFormatError(f"{file}: block {number} is also in {found[number].name}: a block is in one file")
            found[number] = file
    return found


# -------------------------------------------------------------------- keys and state


def _key_rows(rows: Rows) -> tuple[NDArray[np.int64], KeyValues]:
    """Key row of each trace row (-1 for none), and the key rows, with three more for each account that is deleted."""
    named = np.flatnonzero(FIELD[rows.op] >= 0)
    place = np.full(len(rows.op), -1, np.int64)
    place[named] = np.arange(len(named))
    own = KeyValues(rows.address[named], FIELD[rows.op[named]].astype(np.uint8), rows.slot[named], rows.value[named])
    gone = rows.address[rows.op == _t.DELETE]
    nothing = np.zeros((len(gone), 4), np.uint64)
    parts = [beside.field_rows(gone, kind, nothing) for kind in (Field.BALANCE, Field.NONCE, Field.CODE)]
    return place, KeyValues.join([own, *parts])


def _pre_values(rows: Rows, ids: NDArray[np.int64], n_keys: int, given: tuple[NDArray[Any], KeyValues] | None) -> Any:
    """State before the transactions (n_keys, 4): given or first traced values, then what the system rows wrote."""
    out = np.zeros((n_keys, 4), np.uint64)
    if given is not None:
        out[given[0]] = given[1].value
    else:
        read = HAS_VALUE[rows.op] & ~WRITES[rows.op]
        known = np.flatnonzero((ids >= 0) & (read | (WRITES[rows.op] & rows.knows_prev)))
        keys, first = np.unique(ids[known], return_index=True)
        source = known[first]
        out[keys] = np.where(read[source, None], rows.value[source], rows.prev[source])
    for i in np.flatnonzero(WRITES[rows.op[: rows.first]] & ~rows.reverted[: rows.first]):
        out[ids[i]] = rows.value[i]
    return out


def _accounts(address: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Account number of each key, and the keys of each account as CSR."""
    n = len(address)
    account, first = door.intern_rows(np.ascontiguousarray(address), np.zeros(n, np.uint8), np.zeros((n, 32), np.uint8))
    indptr = np.concatenate([[0], np.cumsum(np.bincount(account, minlength=len(first)))]).astype(np.int64)
    return account.astype(np.int64), indptr, np.argsort(account, kind="stable").astype(np.int64)


# -------------------------------------------------------------------- the block


def _gas_before_refund(rows: Rows, n_tx: int, transactions: Transactions | None) -> tuple[NDArray[Any], NDArray[Any]]:
    """Gas before and after refunds of each transaction, checked against `transactions`."""
    tx, gas = rows.tx[rows.first :], rows.gas[rows.first :]
    before, after, count = (np.zeros(n_tx, np.int64) for _ in range(3))
    np.add.at(after, tx, gas)
    np.add.at(before, tx, np.where(rows.op[rows.first :] == _t.REFUND, 0, gas))
    np.add.at(count, tx, rows.count[rows.first :])
    for name, total in (("gas", before), ("gas", after), ("count", count)):
        wrong = np.flatnonzero((total < 0) | (total > MAX_GAS))
        if len(wrong):
            row = rows.first + int(np.searchsorted(tx, wrong[0]))
            rule = f"the rows of transaction {wrong[0]} add up to {total[wrong[0]]}: must be in [0, {MAX_GAS}]"
            raise rows.columns.fail(name, row, getattr(rows, name)[row], rule)
    if transactions is not None:
        wrong = np.flatnonzero(transactions.gas_used != after)
        if len(wrong):
            row = rows.first + int(np.searchsorted(tx, wrong[0]))
            rule = (
                f"the rows of transaction {wrong[0]} add up to {after[wrong[0]]}: must be its gas_used in "
                f"{transactions.columns.path}, {transactions.gas_used[wrong[0]]}"
            )
            raise rows.columns.fail("gas", row, rows.gas[row], rule)
    return before, after


def _senders(rows: Rows, n_tx: int) -> dict[str, Any]:
    """Sender and nonce from the trace itself: the first nonce that a transaction reads is its sender's."""
    at = np.flatnonzero((rows.op == _t.NONCE_READ) & (rows.tx >= 0))
    txs, first = np.unique(rows.tx[at], return_index=True)
    if len(txs) < n_tx:
        tx = int(np.setdiff1d(np.arange(n_tx), txs)[0])
        row = int(np.searchsorted(rows.tx, tx))
        rule = f"transaction {tx} has no NONCE_READ, which names its sender"
        raise rows.columns.fail("op", row, repr(OPS[rows.op[row]]), rule)
    at = at[first]
    wide = np.flatnonzero(rows.value[at, 1:].any(axis=1))
    if len(wide):
        row = int(at[wide[0]])
        raise rows.columns.fail("value", row, rows.value[row], "a nonce must be below 2**64")
    return {"sender": rows.address[at], "nonce": rows.value[at, 0]}


def _block(number: int, columns: Columns, source: _Companions) -> Block:
    rows, given = rows_of(columns), source.transactions
    n_tx = rows.n_tx if given is None else len(given)
    if rows.n_tx != n_tx:
        row = max(0, len(rows.tx) - 1)
        what = f"must end at {n_tx - 1}: {given.columns.path} has {n_tx} transactions" if given is not None else ""
        raise columns.fail("transaction_index", row, rows.tx[row] if len(rows.tx) else "none", what)
    before, after = _gas_before_refund(rows, n_tx, given)
    place, named = _key_rows(rows)
    table = named if source.state is None else KeyValues.join([named, source.state])
    dense, first = door.intern_rows(*(np.ascontiguousarray(a) for a in (table.address, table.kind, table.slot)))
    ids = np.append(dense, np.int32(-1)).astype(np.int64)[place]
    state = None if source.state is None else (dense[len(named) :], source.state)
    pre = _pre_values(rows, ids, len(first), state)
    keys = table.take(first)
    lowered, need = _lower(number, rows, ids, keys, pre.copy(), before)
    if given is None:
        who, limit = _senders(rows, n_tx), before
        meta: Any = {"chain_gas_used": after.astype(np.uint64)}
    else:
        who, limit, meta = {"sender": given.sender, "nonce": given.nonce}, given.gas_limit, given.meta
    return Block.from_arrays(
        **lowered,
        **who,
        gas_limit=np.maximum(limit, need),
        key_address=keys.address,
        key_field=keys.kind,
        key_slot=keys.slot,
        state_key=np.arange(len(keys)),
        state_value=pre,
        number=number,
        fork=beside.mainnet_fork(number),
        header=source.header,
        meta=meta,
    )


def _lower(
    number: int,
    rows: Rows,
    ids: NDArray[np.int64],
    keys: KeyValues,
    pre: NDArray[np.uint64],
    before: NDArray[np.int64],
) -> tuple[dict[str, Any], NDArray[np.int64]]:
    """Programs and access lists as arguments of `Block.from_arrays`, and the gas limit that each transaction needs."""
    prices: GasSchedule = gas_schedule(beside.mainnet_fork(number))
    part, n_tx = slice(rows.first, None), len(before)
    tx, op = rows.tx[part], rows.op[part]
    n = len(op)
    delta, falls = subtract(rows.value[part], rows.prev[part])
    sizes, payload = np.unique(rows.size[part], return_inverse=True)
    hash_gas = prices[GasItem.KECCAK] + prices[GasItem.KECCAK_WORD] * ((sizes[payload] + 31) // 32)
    account, account_indptr, account_keys = _accounts(keys.address)
    deleted = account[ids[part][op == _t.DELETE]]
    room = n + 2 * int((op == _t.KECCAK).sum()) + n_tx + int(np.diff(account_indptr)[deleted].sum())
    code, op_indptr = np.zeros(room, np.uint8), np.zeros(n_tx + 1, np.int64)
    key, arg, words = np.zeros(room, np.int64), np.zeros(room, np.int64), np.zeros((room, 4), np.uint64)
    list_indptr, list_key, need = np.zeros(n_tx + 1, np.int64), np.zeros(n, np.int64), np.zeros(n_tx, np.int64)
    n_ops, n_words, n_list = _k.lower(
        *inputs(
            np.searchsorted(tx, np.arange(n_tx + 1)), ACTION[op], ids[part],
            np.concatenate([rows.value[part], np.zeros((1, 4), np.uint64)]), delta, falls & (op == _t.BALANCE_WRITE),
            rows.gas[part], rows.count[part], payload.astype(np.int64), hash_gas.astype(np.int64), rows.reverted[part],
            keys.kind, account, account_indptr, account_keys, before, prices.array,
        ),
        pre, op_indptr, code, key, arg, words, list_indptr, list_key, need,
    )  # fmt: skip
    out = {
        "op_indptr": op_indptr,
        "op_code": code[:n_ops],
        "op_key": key[:n_ops],
        "op_arg": arg[:n_ops],
        "words": words[:n_words],
        "payload_indptr": np.concatenate([[0], np.cumsum(sizes)]),
        "payload_data": np.zeros(int(sizes.sum()), np.uint8),
    }
    return out | _access_lists(list_indptr, list_key[:n_list], account, keys.address), need


def _access_lists(
    indptr: NDArray[np.int64], key: NDArray[np.int64], account: NDArray[np.int64], address: NDArray[np.uint8]
) -> dict[str, Any]:
    """Access lists with one address entry for each account, its keys behind it."""
    tx = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    order = np.lexsort((account[key], tx))
    key, tx = key[order], tx[order]
    begins = np.ones(len(key), bool)
    begins[1:] = (tx[1:] != tx[:-1]) | (account[key][1:] != account[key][:-1])
    head = np.flatnonzero(begins)
    entry = np.insert(key, head, -1 - np.arange(len(head)))
    ends = indptr + np.searchsorted(head, indptr)
    return {"list_indptr": ends, "list_entry": entry, "list_address": address[key[head]]}

