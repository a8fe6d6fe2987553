"""Block access lists as clients exchange them (EIP-7928): what a block accesses, and the values that it leaves behind.

Indices of changes: 0 is before the transactions, 1 to n the transactions, n + 1 after them. Reads carry none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import door
from .._kernels import eip7928 as _k
from .._kernels.eip7928 import Columns
from .._kernels.jit import inputs
from ..errors import BlockError
from ..evm.hashing import keccak
from .eip7928_rules import ITEM_COST, Rule, RuleError
from .eip7928_wire import Rows, decode, encode

__all__ = ["AccountChanges", "Eip7928List"]

#: Indices of changes fit in four bytes.
_MOST_INDEX: Final = 2**32 - 1

#: What has changes.
_CHANGED: Final = ("change", "balance", "nonce", "code")

#: Offsets of a list, what they count rows of, and columns of such rows with their widths.
_PARTS: Final = (
    ("slot_indptr", "address", (("slot", 32),)),
    ("change_indptr", "slot", (("change_index", None), ("change_value", 32))),
    ("read_indptr", "address", (("read", 32),)),
    ("balance_indptr", "address", (("balance_index", None), ("balance", 32))),
    ("nonce_indptr", "address", (("nonce_index", None), ("nonce", 8))),
    ("code_indptr", "address", (("code_index", None),)),
)


class AccountChanges(NamedTuple):
    """What a list says of one account, in plain Python; changes are pairs of block access index and value."""

    address: bytes
    storage_changes: tuple[tuple[int, tuple[tuple[int, int], ...]], ...] = ()
    storage_reads: tuple[int, ...] = ()
    balance_changes: tuple[tuple[int, int], ...] = ()
    nonce_changes: tuple[tuple[int, int], ...] = ()
    code_changes: tuple[tuple[int, bytes], ...] = ()


def _number(row: NDArray[np.uint8]) -> int:
    return int.from_bytes(row.tobytes(), "big")


class Eip7928List:
    """A block access list in the order that its hash demands; made by `decode`, `from_accounts` or an execution.

    Parameters
    ----------
    columns : Columns
        Rows of accounts, slots, reads and changes, with offsets; numbers are big-endian rows of bytes.

    Raises
    ------
    BlockError
        If columns do not fit together.
    RuleError
        Naming the first account and row out of order.

    References
    ----------
    EIP-7928: Block-Level Access Lists.

    Examples
    --------
    >>> listed = Eip7928List.from_accounts([AccountChanges(b"\\x01" * 20, ((5, ((1, 7),)),), (6,))])
    >>> listed
    <Eip7928List: 1 accounts, 1 slots changed, 1 read, 1 changes>
    >>> Eip7928List.decode(listed.encode()) == listed
    True
    >>> Eip7928List.from_accounts([]).hash().hex()[:8]
    '1dcc4de8'
    """

    __slots__ = ("_encoded", "columns")

    columns: Columns

    def __init__(self, columns: Columns) -> None:
        door.instance("columns", columns, Columns)
        made = {"address": door.array("address", columns.address, np.uint8, (None, 20))}
        for offsets, of, parts in _PARTS:
            for name, width in parts:
                shape, dtype = ((None,), np.uint32) if width is None else ((None, width), np.uint8)
                made[name] = door.array(name, getattr(columns, name), dtype, shape)
            rows = {len(made[name]) for name, _ in parts}
            if len(rows) > 1:
                raise BlockError(f"{' and '.join(name for name, _ in parts)}: must have as many rows")
            made[offsets] = door.csr(offsets, getattr(columns, offsets), len(made[of]), rows.pop())
        made["code_data"] = door.array("code_data", columns.code_data, np.uint8, (None,))
        bounds = door.csr("code_bounds", columns.code_bounds, len(made["code_index"]), len(made["code_data"]))
        made["code_bounds"] = bounds
        self._keep(Columns(**made))
        found = np.zeros(2, np.int64)
        rule = _k.check_order(self.columns, found)
        if rule:
            raise RuleError(Rule(rule), self._place(Rule(rule), int(found[0]), int(found[1])))

    def _keep(self, columns: Columns) -> None:
        self.columns = Columns(*inputs(*(np.array(column, order="C") for column in columns)))
        self._encoded: bytes | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.columns,)

    def _place(self, rule: Rule, account: int, row: int) -> str:
        """Where it is that a rule of order is broken."""
        columns, place = self.columns, f"account {account}, 0x{self.columns.address[account].tobytes().hex()}"
        if rule in (Rule.SLOT_ORDER, Rule.SLOT_TWICE, Rule.SLOT_UNCHANGED):
            return f"{place}, slot 0x{_number(columns.slot[row]):x}"
        if rule in (Rule.READ_ORDER, Rule.READ_TWICE, Rule.READ_AND_CHANGED):
            return f"{place}, slot 0x{_number(columns.read[row]):x}"
        return f"{place}, row {row}" if rule in (Rule.INDEX_ORDER, Rule.INDEX_TWICE) else place

    # ---------------------------------------------------------------- the wire

    @classmethod
    def decode(cls, data: bytes) -> Eip7928List:
        """The list that these bytes encode.

        Parameters
        ----------
        data : bytes
            RLP; each list has one encoding, any other is refused.

        Raises
        ------
        RuleError
            With the rule, and the byte or account where it is broken.
        UsageError
            If the library `rlp` is not installed (extra `access`).

        Notes
        -----
        Some 0.6 us for each number and each list. The first call imports the library, 0.1 s.

        Examples
        --------
        >>> Eip7928List.decode(b"\\xc0").n_accounts
        0
        """
        door.instance("data", data, bytes)
        made = cls(decode(data))
        made._encoded = data
        return made

    def encode(self) -> bytes:
        """The list as RLP, of which there is one.

        Raises
        ------
        UsageError
            If the library `rlp` is not installed (extra `access`).

        Notes
        -----
        Some 0.8 us for each number and each list, once: it is kept.

        Examples
        --------
        >>> Eip7928List.from_accounts([]).encode()
        b'\\xc0'
        """
        if self._encoded is None:
            self._encoded = encode(self.columns)
        return self._encoded

    def hash(self) -> bytes:
        """Keccak-256 of the encoding: what a header commits to.

        Examples
        --------
        >>> Eip7928List.from_accounts([]).hash().hex()
        '1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d49347'
        """
        return keccak(self.encode())

    # ---------------------------------------------------------------- plain Python

    @classmethod
    def from_accounts(cls, accounts: Iterable[AccountChanges]) -> Eip7928List:
        """A list of such accounts, whose order is checked and not made.

        Raises
        ------
        BlockError
            If a value is none that a list can hold, naming account, field, value and rule.
        RuleError
            If something is out of order.

        Examples
        --------
        >>> Eip7928List.from_accounts([AccountChanges(b"\\x01" * 20, nonce_changes=((1, -1),))])
        Traceback (most recent call last):
        ...
        pevm_numba.errors.BlockError: account 0, nonce = -1: must be in [0, 18446744073709551615]
        """
        rows = Rows()
        for a, one in enumerate(door.items("accounts", accounts, "AccountChanges")):
            _gather(rows, f"account {a}", _changes_of(a, one))
        return cls(rows.columns())

    def __len__(self) -> int:
        return len(self.columns.address)

    def __getitem__(self, a: int) -> AccountChanges:
        a = door.integer("account", a, 0, len(self) - 1)
        columns = self.columns
        start, stop = columns.code_indptr[a : a + 2].tolist()
        bounds = columns.code_bounds[start : stop + 1].tolist()
        codes = (columns.code_data[i:j].tobytes() for i, j in pairwise(bounds))
        return AccountChanges(
            columns.address[a].tobytes(),
            tuple(
                (_number(columns.slot[s]), self._pairs("change", s, "change_value")) for s in _range(columns.slot_indptr, a)
            ),
            tuple(_number(columns.read[r]) for r in _range(columns.read_indptr, a)),
            self._pairs("balance", a), self._pairs("nonce", a),
            tuple(zip(columns.code_index[start:stop].tolist(), codes)),
        )  # fmt: skip

    def _pairs(self, name: str, owner: int, values: str = "") -> tuple[tuple[int, int], ...]:
        indices, rows = getattr(self.columns, f"{name}_index"), getattr(self.columns, values or name)
        return tuple((int(indices[i]), _number(rows[i])) for i in _range(getattr(self.columns, f"{name}_indptr"), owner))

    def __iter__(self) -> Iterator[AccountChanges]:
        return (self[a] for a in range(len(self)))

    # ---------------------------------------------------------------- what it is about

    @property
    def n_accounts(self) -> int:
        """Number of accounts."""
        return len(self)

    @property
    def n_items(self) -> int:
        """Addresses and slots: what a block's gas limit bounds."""
        return len(self) + len(self.columns.slot) + len(self.columns.read)

    @property
    def n_changes(self) -> int:
        """Number of values, of storage, balances, nonces and code."""
        return sum(len(getattr(self.columns, f"{name}_index")) for name in _CHANGED)

    def check(self, *, n_tx: int | None = None, gas_limit: int | None = None) -> None:
        """What a list must be in a block.

        Parameters
        ----------
        n_tx : int, optional
            Transactions of the block.
        gas_limit : int, optional
            Of the block, in gas.

        Raises
        ------
        RuleError
            INDEX_BEYOND or TOO_MANY_ITEMS.

        Examples
        --------
        >>> Eip7928List.from_accounts([AccountChanges(bytes(20))]).check(n_tx=0, gas_limit=1_999)
        Traceback (most recent call last):
        ...
        pevm_numba.access.eip7928_rules.RuleError: block access list, 1 items in a block of 1,999 gas: addresses ...
        """
        columns = self.columns
        if n_tx is not None:
            last = door.integer("n_tx", n_tx, 0, _MOST_INDEX - 1) + 1
            for name in _CHANGED:
                beyond = np.flatnonzero(getattr(columns, f"{name}_index") > last)
                if len(beyond):
                    row = int(beyond[0])
                    index = getattr(columns, f"{name}_index")[row]
                    raise RuleError(Rule.INDEX_BEYOND, f"{name} {row} at index {index} in a block of {last - 1} transactions")
        if gas_limit is not None:
            gas_limit = door.integer("gas_limit", gas_limit, 0, 2**64 - 1)
            if self.n_items > gas_limit // ITEM_COST:
                raise RuleError(Rule.TOO_MANY_ITEMS, f"{self.n_items:,} items in a block of {gas_limit:,} gas")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Eip7928List):
            return NotImplemented
        return all(np.array_equal(one, two) for one, two in zip(self.columns, other.columns))

    __hash__ = None  # type: ignore[assignment]  # arrays compare by content

    def __repr__(self) -> str:
        columns = self.columns
        slots, reads = len(columns.slot), len(columns.read)
        what = f"{len(self):,} accounts, {slots:,} slots changed, {reads:,} read, {self.n_changes:,} changes"
        return f"<Eip7928List: {what}>"


def _range(offsets: NDArray[np.int64], owner: int) -> range:
    return range(int(offsets[owner]), int(offsets[owner + 1]))


def _changes_of(a: int, given: Any) -> AccountChanges:
    """An account as given, with its fields by name."""
    if not isinstance(given, tuple | list) or not 1 <= len(given) <= len(AccountChanges._fields):
        raise BlockError(f"accounts[{a}] = {door.shown(given, 80)}: must be an AccountChanges")
    return AccountChanges(*given)


def _pairs_of(place: str, given: Any, what: str = "an index and a value") -> list[Any]:
    """What must be pairs, as a list of them."""
    pairs = door.items(place, given, f"pairs of {what}")
    for i, one in enumerate(pairs):
        if not isinstance(one, tuple | list | np.ndarray) or len(one) != 2:
            raise BlockError(f"{place}[{i}] = {door.shown(one, 80)}: must be a pair of {what}")
    return pairs


def _gather(rows: Rows, place: str, one: AccountChanges) -> None:
    """Add an account to rows, each value checked."""
    rows.numbers["address"] += _address(place, one.address)
    for slot, values in _pairs_of(f"{place}, storage_changes", one.storage_changes, "a slot and its changes"):
        rows.numbers["slot"] += _word(f"{place}, slot", slot, 32)
        its = f"{place}, slot 0x{int(slot):x}"
        for index, value in _pairs_of(its, values):
            rows.indices["change"].append(_index(its, index))
            rows.numbers["change_value"] += _word(its, value, 32)
        rows.end_slot()
    for slot in door.items(f"{place}, storage_reads", one.storage_reads, "slots"):
        rows.numbers["read"] += _word(f"{place}, read", slot, 32)
    for name, width in (("balance", 32), ("nonce", 8)):
        for index, value in _pairs_of(f"{place}, {name}_changes", getattr(one, f"{name}_changes")):
            rows.indices[name].append(_index(f"{place}, {name}", index))
            rows.numbers[name] += _word(f"{place}, {name}", value, width)
    for i, (index, code) in enumerate(_pairs_of(f"{place}, code_changes", one.code_changes, "an index and a code")):
        door.instance(f"{place}, code_changes[{i}] code", code, bytes)
        rows.indices["code"].append(_index(f"{place}, code", index))
        rows.codes.append(code)
    rows.end_account()


def _index(place: str, index: Any) -> int:
    return door.integer(f"{place}, block access index", index, 0, _MOST_INDEX)


def _address(place: str, address: bytes) -> bytes:
    if not isinstance(address, bytes) or len(address) != 20:
        raise BlockError(f"{place}, address = {door.shown(address, 80)}: must be 20 bytes")
    return address


def _word(name: str, value: int, width: int) -> bytes:
    return door.integer(name, value, 0, 256**width - 1).to_bytes(width, "big")
