"""What the transactions of a run have read and changed, by keys that do not depend on who met them first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import door
from ..errors import BlockError
from ..keys import KeyTable, StateChange
from ..machine.ops import Field, Mode
from .engine import Engine
from .hashing import EMPTY_HASH
from .world import key_table, replaced

__all__ = ["CHANGES", "EvmAccessList", "Observation", "access_list", "observe", "state_change", "table_of"]

_CREDIT: Final = 2


@dataclass(frozen=True, eq=False, repr=False)
class EvmAccessList:
    """Net changes of each transaction: what ``bal`` runs from (after EIP-7928).

    Parameters
    ----------
    keys : KeyTable
    indptr : (n_tx + 1,) int64
        CSR offsets by block position.
    key : (n,) int32
        Keys whose value after the transaction differs from that before it, ascending.
    values : (n, 32) uint8
        Big-endian values after the transaction; for code its hash.
    codes : tuple of bytes
        Code that the changes put somewhere.

    Raises
    ------
    BlockError
        If an argument is not as described.
    """

    keys: KeyTable
    indptr: NDArray[np.int64]
    key: NDArray[np.int32]
    values: NDArray[np.uint8]
    codes: tuple[bytes, ...]

    def __post_init__(self) -> None:
        door.instance("keys", self.keys, KeyTable)
        key = door.array("key", self.key, np.int32, (None,), low=0, high=len(self.keys) - 1)
        indptr = door.csr("indptr", self.indptr, None, len(key))
        values = door.array("values", self.values, np.uint8, (len(key), 32))
        tx = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
        bad = np.flatnonzero((np.diff(key) <= 0) & (np.diff(tx) == 0))
        if len(bad):
            i = int(bad[0]) + 1
            raise BlockError(f"key[{i}] = {key[i]} after {key[i - 1]}: must be distinct and ascending in a transaction")
        codes = door.items("codes", self.codes, "pieces of code")
        for i, code in enumerate(codes):
            door.instance(f"codes[{i}]", code, bytes)
        door.freeze(self, key=key, indptr=indptr, values=values, codes=tuple(codes))

    @property
    def n_tx(self) -> int:
        """Number of transactions."""
        return len(self.indptr) - 1

    def entries(self, tx: int) -> Iterator[tuple[int, int]]:
        """Place and key of each change of a transaction."""
        start, end = int(self.indptr[tx]), int(self.indptr[tx + 1])
        return zip(range(start, end), self.key[start:end].tolist())

    @property
    def n_changes(self) -> int:
        """Number of (transaction, key) pairs that change."""
        return len(self.key)

    def __repr__(self) -> str:
        return f"<EvmAccessList: {self.n_tx:,} txs, {self.n_changes:,} changes>"


class Observation(NamedTuple):
    """Keys, and access sets as a CSR of keys (ascending) and modes; changes as they were kept."""

    keys: KeyTable
    indptr: NDArray[np.int64]
    key: NDArray[np.int32]
    modes: NDArray[np.uint8]
    #: Changes with canonical keys: transaction, key, kind, value (little-endian), in block order.
    changes: NDArray[Any]
    #: Values of the keys before the block, (n, 32) uint8 little-endian.
    before: NDArray[np.uint8]
    #: Code that transactions have put somewhere, even if it was gone again after the block.
    codes: tuple[bytes, ...]


#: Changes as `Observation` has them.
CHANGES: Final = np.dtype([("tx", "i8"), ("key", "i8"), ("kind", "i8"), ("value", "u1", (32,))])


def table_of(engine: Engine, used: NDArray[np.int64]) -> tuple[KeyTable, NDArray[np.int64]]:
    """The keys of those numbers in canonical order, and each one's place in it."""
    words, owners = key_table(engine.arena)
    accounts = np.cumsum(owners < 0) - 1
    is_slot = owners[used] >= 0
    heads = np.where(is_slot, owners[used], used)
    rows = np.zeros((len(used), 53), np.uint8)
    rows[:, :20] = words[heads, 19::-1]
    rows[:, 20] = np.where(is_slot, int(Field.STORAGE), int(Field.BALANCE) + accounts[used] % 3)
    rows[is_slot, 21:] = words[used[is_slot], ::-1]
    order = np.argsort(rows.view("S53")[:, 0], kind="stable") if len(rows) else np.empty(0, np.int64)
    place = np.empty(len(used), np.int64)
    place[order] = np.arange(len(used))
    rows = rows[order]
    return KeyTable.trusted(rows[:, :20].copy(), rows[:, 20].copy(), rows[:, 21:].copy()), place


def observe(engine: Engine) -> Observation:
    """What was read and changed in the last run, which must have kept records."""
    n_tx = len(engine.txs)
    reads, cells = engine.notes.records, engine.changes.records
    read_tx, reads = engine.notes.tx[reads["key"] >= 0], reads[reads["key"] >= 0]
    change_tx = engine.changes.tx
    used, inverse = np.unique(np.concatenate([reads["key"], cells["key"]]), return_inverse=True)
    keys, place = table_of(engine, used)
    ids = place[inverse]
    modes = np.concatenate([
        np.full(len(reads), int(Mode.READ), np.uint8),
        np.where(cells["kind"] == _CREDIT, int(Mode.CREDIT), int(Mode.WRITE)).astype(np.uint8),
    ])  # fmt: skip
    pairs, which = np.unique(np.concatenate([read_tx, change_tx]) * len(keys) + ids, return_inverse=True)
    merged = np.zeros(len(pairs), np.uint8)
    np.bitwise_or.at(merged, which, modes)
    indptr = np.searchsorted(pairs, np.arange(n_tx + 1) * max(1, len(keys)))
    changes = np.empty(len(cells), CHANGES)
    changes["tx"], changes["key"], changes["kind"] = change_tx, ids[len(reads) :], cells["kind"]
    changes["value"] = cells["value"]
    before = np.zeros((len(keys), 32), np.uint8)
    old = used < len(engine.before)
    before[place[old]] = engine.before[used[old]].view(np.uint8)
    columns = indptr.astype(np.int64), (pairs % max(1, len(keys))).astype(np.int32), merged
    placed = changes[keys.field[changes["key"]] == Field.CODE]["value"]
    hashes = {int.from_bytes(value.tobytes(), "little") for value in placed}
    known = engine.codes() if hashes else {}
    return Observation(keys, *columns, changes, before, tuple(sorted({known.get(one, b"") for one in hashes} - {b""})))


def access_list(seen: Observation, n_tx: int) -> EvmAccessList:
    """Changes with the values that they lead to; credits are added up."""
    now = {int(k): int.from_bytes(seen.before[k].tobytes(), "little") for k in np.unique(seen.changes["key"])}
    order = np.lexsort((seen.changes["key"], seen.changes["tx"]))
    changes = seen.changes[order]
    values = np.empty((len(changes), 32), np.uint8)
    for i, change in enumerate(changes):
        key, value = int(change["key"]), int.from_bytes(change["value"].tobytes(), "little")
        now[key] = (now[key] + value) % 2**256 if change["kind"] == _CREDIT else value
        values[i] = np.frombuffer(now[key].to_bytes(32, "big"), np.uint8)
    indptr = np.searchsorted(changes["tx"], np.arange(n_tx + 1)).astype(np.int64)
    return EvmAccessList(seen.keys, indptr, changes["key"].astype(np.int32), values, seen.codes)


def state_change(engine: Engine) -> StateChange:
    """What the last run changed, if `Engine.finish` has been called: system calls and withdrawals included."""
    now = engine.arena.words("values")[: len(key_table(engine.arena)[1])]
    before, (changed, given) = engine.before.copy(), engine.given
    before[changed] = given
    used, _ = replaced(before, now)
    keys, place = table_of(engine, used)
    words = np.empty((len(used), 32), np.uint8)
    words[place] = now[used].view(np.uint8)[:, ::-1]
    put = {words[k].tobytes() for k in np.flatnonzero(keys.field == Field.CODE)} - {bytes(32), EMPTY_HASH}
    known = engine.codes() if put else {}
    return StateChange(keys, words, {digest: known[int.from_bytes(digest, "big")] for digest in sorted(put)})
