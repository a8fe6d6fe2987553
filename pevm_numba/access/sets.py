"""Access sets: per transaction its distinct keys with READ, WRITE and CREDIT bits. An SSTORE is a WRITE, not a READ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import door, html
from ..block import Block
from ..errors import BlockError
from ..evm.block import AnyBlock
from ..keys import Keys, KeyTable
from ..machine.ops import Field, Mode
from ..tabular import Tabular

__all__ = ["AccessSets", "need_access"]


@dataclass(frozen=True, eq=False, repr=False)
class AccessSets(Tabular):
    """Access sets of a block's transactions, in block order. Make one with `access_sets` or `AccessSets.from_arrays`.

    Parameters
    ----------
    n_keys : int
        Key ids are in [0, n_keys).
    indptr : (n_tx + 1,) int64
        CSR offsets over transactions.
    keys : (n_entries,) int32
        Distinct key ids of each transaction, ascending.
    modes : (n_entries,) uint8
        `Mode` bits of each entry, 1..7.
    table : KeyTable, optional
        What the key ids stand for; without one they are those of a `Block`, or stand for nothing that has a name.

    Notes
    -----
    Transactions i < j conflict on a key unless both only READ it or both only CREDIT it.

    Examples
    --------
    >>> sets = AccessSets.from_dicts([{0: Mode.WRITE}, {0: Mode.READ, 2: Mode.READ}], n_keys=3)
    >>> sets
    <AccessSets: 2 txs, 3 accesses, 3 keys>
    >>> sets[1]
    {0: <Mode.READ: 1>, 2: <Mode.READ: 1>}
    """

    n_keys: int
    indptr: NDArray[np.int64]
    keys: NDArray[np.int32]
    modes: NDArray[np.uint8]
    table: KeyTable | None = None
    #: The block whose accesses these are, worked out from its programs or observed: they are exact then, not an estimate.
    exact_for: AnyBlock | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        n_keys = door.integer("n_keys", self.n_keys, 0, 2**31 - 1)
        if self.table is not None:
            door.instance("table", self.table, KeyTable)
            door.integer("n_keys of the table", self.table.n_keys, n_keys, n_keys)
        ids = door.array("keys", self.keys, np.int32, (None,), low=0, high=n_keys - 1)
        offsets = door.csr("indptr", self.indptr, None, len(ids))
        bits = door.array("modes", self.modes, np.uint8, (len(ids),), low=1, high=7)
        same = np.ones(len(ids), bool)
        same[offsets[:-1][offsets[:-1] < len(ids)]] = False
        bad = np.flatnonzero(same[1:] & (ids[1:] <= ids[:-1])) + 1
        if len(bad):
            i = int(bad[0])
            rule = "keys of a transaction must be distinct and ascending"
            raise BlockError(f"keys[{i}] = {ids[i]} after {ids[i - 1]}: {rule}")
        door.freeze(self, n_keys=n_keys, indptr=offsets.copy(), keys=ids.copy(), modes=bits.copy())

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.n_keys, self.indptr, self.keys, self.modes, self.table)

    @classmethod
    def from_arrays(cls, n_keys: int, indptr: ArrayLike, keys: ArrayLike, modes: ArrayLike) -> AccessSets:
        """Check and freeze arrays as in `AccessSets`.

        Raises
        ------
        BlockError
            If offsets, key range, key order or modes break a rule.
        """
        return cls(n_keys, indptr, keys, modes)  # type: ignore[arg-type]  # made arrays there

    @classmethod
    def trusted(
        cls,
        n_keys: int,
        indptr: NDArray[np.int64],
        keys: NDArray[np.int32],
        modes: NDArray[np.uint8],
        exact_for: AnyBlock | None = None,
        table: KeyTable | None = None,
    ) -> AccessSets:
        """Freeze arrays that a kernel has just made and that nobody else holds; nothing is checked."""
        made = object.__new__(cls)
        door.freeze(made, n_keys=n_keys, indptr=indptr, keys=keys, modes=modes, exact_for=exact_for, table=table)
        return made

    @classmethod
    def footprint(cls, block: Block) -> AccessSets:
        """The exact sets of a block, as they were worked out when it was made."""
        door.instance("block", block, Block)
        arrays = block.footprint_indptr, block.footprint_keys, block.footprint_modes
        return cls.trusted(block.n_keys, *arrays, exact_for=block)

    @classmethod
    def from_dicts(cls, sets: Sequence[Mapping[int, int]], n_keys: int) -> AccessSets:
        """From one mapping of key id to mode bits per transaction.

        Raises
        ------
        BlockError
            If an entry is no such mapping, or a key or mode breaks a rule.
        """
        ends, pairs = [0], list[tuple[int, int]]()
        low, high = -(2**63), 2**63 - 1  # the ranges that count are checked once the arrays stand
        for t, entry in enumerate(door.items("sets", sets, "mappings of key id to mode, one a transaction")):
            door.instance(f"sets[{t}]", entry, Mapping, " from key id to mode")
            ids = [door.integer(f"sets[{t}] key", k, low, high) for k in entry]
            modes = [door.integer(f"sets[{t}][{k}]", m, low, high) for k, m in entry.items()]
            pairs.extend(sorted(zip(ids, modes)))
            ends.append(len(pairs))
        return cls.from_arrays(n_keys, ends, [k for k, _ in pairs], [m for _, m in pairs])

    @classmethod
    def from_names(cls, sets: Sequence[Mapping[tuple[bytes, Field, int], int]]) -> AccessSets:
        """From one mapping of (address, `Field`, slot) to mode bits per transaction, over a table of these keys in order.

        Raises
        ------
        BlockError
            If a key or mode breaks a rule.

        Examples
        --------
        >>> sets = AccessSets.from_names([{(bytes(20), 3, 5): 1}, {(bytes(20), 0, 0): 2}])
        >>> len(sets.table), sets[0], sets[1]
        (2, {1: <Mode.READ: 1>}, {0: <Mode.WRITE: 2>})
        """
        table = KeyTable.from_keys(sorted({key for one in sets for key in one}))
        numbers = {key: k for k, key in enumerate(table)}
        found = cls.from_dicts([{numbers[key]: int(mode) for key, mode in one.items()} for one in sets], len(table))
        return cls.trusted(found.n_keys, found.indptr, found.keys, found.modes, table=table)

    def reordered(self, order: ArrayLike) -> AccessSets:
        """The sets of the transactions `order`, in that order.

        Parameters
        ----------
        order : (n,) int
            Transactions, each in [0, n_tx).

        Examples
        --------
        >>> AccessSets.from_dicts([{0: 1}, {1: 2}], n_keys=2).reordered([1, 0])[0]
        {1: <Mode.WRITE: 2>}
        """
        rows = door.array("order", order, np.int32, (None,), low=0, high=self.n_tx - 1)
        indptr, places = door.take_ranges(self.indptr, rows)
        return AccessSets.trusted(self.n_keys, indptr, self.keys[places], self.modes[places], table=self.table)

    @property
    def n_tx(self) -> int:
        """Number of transactions."""
        return len(self.indptr) - 1

    @property
    def n_accesses(self) -> int:
        """Number of entries: distinct keys summed over transactions."""
        return len(self.keys)

    def names(self, block: AnyBlock | None) -> Keys | None:
        """What the key ids stand for: the table, else `block` if it has the same keys; the ids may be those of accounts.

        Where accounts are as many as keys, each account has one key, of the same number; so the count tells.
        """
        if self.table is not None:
            return self.table
        return block if isinstance(block, Block) and block.n_keys == self.n_keys else None

    def key_label(self, k: int, block: AnyBlock | None) -> str:
        """``3 (0x… slot 0x5)`` if it is known what the ids stand for, ``3`` if not."""
        names = self.names(block)
        return f"{k}" if names is None else f"{k} ({names.key_name(k)})"

    def columns(self) -> dict[str, NDArray[Any]]:
        """One row for each access: transaction, key id, how; what the key is, if that is known.

        Returns
        -------
        dict
            ``tx_index`` uint32, ``key`` int32, ``read``, ``write`` and ``credit`` bool; with names ``address`` (n, 20),
            ``field`` uint8 (`Field`) and ``slot`` (n, 32) uint8. Of whole accounts only the address is a name.

        Examples
        --------
        >>> AccessSets.from_dicts([{0: 2}, {0: 1, 2: 3}], n_keys=3).to_arrow().to_pydict()["write"]
        [True, False, True]
        """
        tx = np.repeat(np.arange(self.n_tx, dtype=np.uint32), np.diff(self.indptr))
        bits = {mode.name.lower(): (self.modes & mode) > 0 for mode in Mode if mode.name}
        made = {"tx_index": tx, "key": self.keys, **bits}
        names = self.names(self.exact_for)
        if names is not None:
            made["address"] = names.key_address[self.keys]
            if not (isinstance(names, KeyTable) and names.whole):
                made |= {"field": names.key_field[self.keys], "slot": names.key_slot[self.keys]}
        return made

    def __len__(self) -> int:
        return self.n_tx

    def __iter__(self) -> Iterator[dict[int, Mode]]:
        return (self[t] for t in range(self.n_tx))

    def __getitem__(self, tx: int) -> dict[int, Mode]:
        tx = door.integer("transaction", tx, 0, self.n_tx - 1)
        part = slice(self.indptr[tx], self.indptr[tx + 1])
        return {int(k): Mode(int(m)) for k, m in zip(self.keys[part], self.modes[part])}

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, AccessSets):
            return NotImplemented
        return (
            self.n_keys == other.n_keys
            and np.array_equal(self.indptr, other.indptr)
            and np.array_equal(self.keys, other.keys)
            and np.array_equal(self.modes, other.modes)
            and self.table == other.table
        )

    __hash__ = None  # type: ignore[assignment]  # arrays compare by content

    def _repr_html_(self) -> str:
        modes = [int(np.count_nonzero(self.modes & mode)) for mode in Mode]
        facts = [("transactions", self.n_tx), ("accesses", self.n_accesses), ("keys", self.n_keys)]
        facts += zip(("read", "written", "credited"), modes)
        used, uses = np.unique(self.keys, return_counts=True)
        hot = np.argsort(-uses, kind="stable")[: html.MOST_ROWS].tolist()
        how = [self.modes[self.keys == used[i]] for i in hot]
        rows = (
            (self.key_label(int(used[i]), self.exact_for), int(uses[i]), *(int(np.count_nonzero(bits & m)) for m in Mode))
            for i, bits in zip(hot, how)
        )
        heads = ("hottest keys", "transactions", "read", "write", "credit")
        return html.table("Access sets", facts, heads, rows, len(used), "keys")

    def __repr__(self) -> str:
        return f"<AccessSets: {self.n_tx:,} txs, {self.n_accesses:,} accesses, {self.n_keys:,} keys>"


def need_access(name: str, value: Any) -> None:
    """A BlockError that names `value` unless it is an AccessSets."""
    door.instance(name, value, AccessSets, ", see access_sets(block)")
