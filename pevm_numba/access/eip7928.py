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
from .._kernels.eip7928_decode import COUNTS, decode
from .._kernels.eip7928_encode import encode, room_for
from .._kernels.jit import inputs
from ..errors import BlockError
from ..evm.hashing import keccak
from .eip7928_rules import ITEM_COST, Rule, RuleError

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
        found = np.zeros(6, np.int64)
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

        Examples
        --------
        >>> Eip7928List.decode(b"\\xc0").n_accounts
        0
        """
        door.instance("data", data, bytes)
        (given,) = inputs(np.frombuffer(data, np.uint8))
        counts, found, empty = np.zeros(len(COUNTS), np.int64), np.zeros(6, np.int64), _columns([0] * len(COUNTS))
        rule = decode(given, False, counts, empty, found)
        if rule:
            raise RuleError(Rule(rule), f"byte {found[5]} of {len(data)}")
        columns = _columns(counts.tolist())
        counts[:] = 0
        decode(given, True, counts, columns, found)
        made = cls(columns)
        made._encoded = data
        return made

    def encode(self) -> bytes:
        """The list as RLP, of which there is one.

        Examples
        --------
        >>> Eip7928List.from_accounts([]).encode()
        b'\\xc0'
        """
        if self._encoded is None:
            out = np.empty(room_for(self.columns), np.uint8)
            self._encoded = out[encode(self.columns, out) :].tobytes()
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
        listed = [_changes_of(a, one) for a, one in enumerate(door.items("accounts", accounts, "AccountChanges"))]
        slots, reads, codes = list[bytes](), list[bytes](), list[tuple[int, bytes]]()
        changes, balances, nonces = list[tuple[int, bytes]](), list[tuple[int, bytes]](), list[tuple[int, bytes]]()
        ends: dict[str, list[int]] = {offsets: [0] for offsets, _, _ in _PARTS}
        for a, one in enumerate(listed):
            place = f"account {a}"
            for slot, values in _pairs_of(f"{place}, storage_changes", one.storage_changes, "a slot and its changes"):
                slots.append(_word(f"{place}, slot", slot, 32))
                its = f"{place}, slot 0x{slots[-1].hex().lstrip('0') or '0'}"
                changes += [_change(its, index, value, 32) for index, value in _pairs_of(its, values)]
                ends["change_indptr"].append(len(changes))
            read = door.items(f"{place}, storage_reads", one.storage_reads, "slots")
            reads += [_word(f"{place}, read", slot, 32) for slot in read]
            for changed, width, name in ((balances, 32, "balance"), (nonces, 8, "nonce")):
                pairs = _pairs_of(f"{place}, {name}_changes", getattr(one, f"{name}_changes"))
                changed += [_change(f"{place}, {name}", index, value, width) for index, value in pairs]
            codes += _codes(place, one.code_changes)
            for name, rows in (("slot", slots), ("read", reads), ("balance", balances), ("nonce", nonces), ("code", codes)):
                ends[f"{name}_indptr"].append(len(rows))
        at = {offsets: np.array(rows, np.int64) for offsets, rows in ends.items()}
        bounds = np.cumsum([0] + [len(code) for _, code in codes])
        return cls(Columns(
            _rows([_address(a, one.address) for a, one in enumerate(listed)], 20), at["slot_indptr"], _rows(slots, 32),
            at["change_indptr"], *_indexed(changes, 32), at["read_indptr"], _rows(reads, 32), at["balance_indptr"],
            *_indexed(balances, 32), at["nonce_indptr"], *_indexed(nonces, 8), at["code_indptr"], _indices(codes), bounds,
             np.frombuffer(b"".join(code for _, code in codes), np.uint8),
        ))  # fmt: skip

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


def _columns(counts: list[int]) -> Columns:
    """Room for so many rows of each kind."""
    accounts, slots, changes, reads, balances, nonces, codes, code_bytes = counts
    offsets = {name: np.zeros(n + 1, np.int64) for name, n in (
        ("slot_indptr", accounts), ("change_indptr", slots), ("read_indptr", accounts), ("balance_indptr", accounts),
        ("nonce_indptr", accounts), ("code_indptr", accounts), ("code_bounds", codes),
    )}  # fmt: skip
    rows = {name: np.empty((n, width), np.uint8) for name, n, width in (
        ("address", accounts, 20), ("slot", slots, 32), ("change_value", changes, 32), ("read", reads, 32),
        ("balance", balances, 32), ("nonce", nonces, 8),
    )}  # fmt: skip
    indices = {f"{name}_index": np.empty(n, np.uint32) for name, n in (
        ("change", changes), ("balance", balances), ("nonce", nonces), ("code", codes),
    )}  # fmt: skip
    return Columns(**offsets, **rows, **indices, code_data=np.empty(code_bytes, np.uint8))


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


def _codes(place: str, given: Any) -> list[tuple[int, bytes]]:
    pairs = _pairs_of(f"{place}, code_changes", given, "an index and a code")
    for i, (_, code) in enumerate(pairs):
        door.instance(f"{place}, code_changes[{i}] code", code, bytes)
    return [(_index(f"{place}, code", index), code) for index, code in pairs]


def _index(place: str, index: Any) -> int:
    return door.integer(f"{place}, block access index", index, 0, _MOST_INDEX)


def _change(place: str, index: Any, value: Any, width: int) -> tuple[int, bytes]:
    return _index(place, index), _word(place, value, width)


def _address(a: int, address: bytes) -> bytes:
    if not isinstance(address, bytes) or len(address) != 20:
        raise BlockError(f"account {a}, address = {door.shown(address, 80)}: must be 20 bytes")
    return address


def _word(name: str, value: int, width: int) -> bytes:
    return door.integer(name, value, 0, 256**width - 1).to_bytes(width, "big")


def _rows(words: list[bytes], width: int) -> NDArray[np.uint8]:
    return np.frombuffer(b"".join(words), np.uint8).reshape(-1, width)


def _indices(pairs: list[Any]) -> NDArray[np.uint32]:
    return np.array([index for index, _ in pairs], np.uint32)


def _indexed(pairs: list[tuple[int, bytes]], width: int) -> tuple[NDArray[np.uint32], NDArray[np.uint8]]:
    return _indices(pairs), _rows([word for _, word in pairs], width)
