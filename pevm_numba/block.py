"""A block is a frozen bundle of read-only arrays, checked once here: kernels index with its numbers and check nothing.

Whatever numbering the caller used, key ids come out dense and in first-touch order (programs, access lists, declared
sets, then the remaining pre-state in key order), so equal contents give equal arrays and equal digests.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import door, joining, parts
from . import programs as plain
from .errors import BlockError
from .keys import name_of
from .machine.gas import gas_schedule
from .metadata import Header, concat_meta, hash_meta, meta_table

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Block", "Header", "KeyTuple"]

#: A key in plain Python: (address of 20 bytes, field, slot of 32 bytes).
KeyTuple = tuple[bytes, int, bytes]


@dataclass(frozen=True, eq=False, repr=False, init=False)
class Block:
    """One block of transactions: programs over interned state keys, with the state before them.

    Make one with `Block.from_programs`, `Block.from_arrays`, `generate` or `read_block`; the bare constructor (and so
    `dataclasses.replace`) refuses, since nothing would be checked. All arrays are C-contiguous and read-only.

    Parameters
    ----------
    number : int
        Block number, in [0, 2**64).
    fork : str
        Name of the gas prices, see `machine.gas.FORKS`.
    header : Header
    sender : (n_tx, 20) uint8
    nonce : (n_tx,) uint64
    gas_limit : (n_tx,) int64
        In gas, in [0, 2**63).
    op_indptr : (n_tx + 1,) int64
        Program of transaction t: ops ``op_indptr[t]:op_indptr[t + 1]``.
    op_code : (n_ops,) uint8
        `Op`.
    op_key : (n_ops,) int32
        Key id, -1 where the op has none.
    op_arg : (n_ops,) int32
        Row of `words` (SSTORE: or -1 for the stack top), payload number, or a count; -1 if unused.
    words : (n_words, 4) uint64
        Literals as little-endian limbs, one row for each op that has one, in order.
    payload_indptr : (n_payloads + 1,) int64
    payload_data : (n_bytes,) uint8
        KECCAK payloads, one for each KECCAK, in order.
    key_address, key_field, key_slot : (n_keys, 20), (n_keys,), (n_keys, 32) uint8
        The key table, all rows distinct, in first-touch order.
    pre_values : (n_keys, 4) uint64
        State before the block, as limbs; 0 = absent.
    list_indptr : (n_tx + 1,) int64
    list_entry : (n_entries,) int32
        EIP-2930 access list in order, duplicates kept: a key id, or ``-1 - r`` for an address entry, whose address is
        ``list_address[r]``.
    list_address : (n_address_entries, 20) uint8
    read_indptr, write_indptr : (n_tx + 1,) int64
    read_key, write_key : (n,) int32
        Declared reads and writes: key ids as the source gave them.
    declares_reads, declares_writes : (n_tx,) bool
        False = nothing declared (not the same as declaring nothing to be read).
    footprint_indptr : (n_tx + 1,) int64
    footprint_keys : (n_entries,) int32
        Distinct keys that each transaction could touch, ascending.
    footprint_modes : (n_entries,) uint8
        How: `Mode` bits.
    meta : pyarrow.Table or None
        Optional columns of `META_COLUMNS` that hold anything.

    Notes
    -----
    The footprint is exact for a straight-line program that succeeds, and a superset for one that fails.

    Examples
    --------
    >>> a, b = (b"\\x01" * 20, 0, bytes(32)), (b"\\x02" * 20, 0, bytes(32))
    >>> block = Block.from_programs([[("SSTORE", a, 7)], [("SLOAD", a), ("ADD", 1), ("SSTORE", b, "TOP")]])
    >>> block
    <Block 0: 2 txs, 4 ops, 2 keys, london>
    >>> block.to_programs()[1][2][0]
    <Op.SSTORE: 1>
    """

    number: int
    fork: str
    header: Header
    sender: NDArray[np.uint8]
    nonce: NDArray[np.uint64]
    gas_limit: NDArray[np.int64]
    op_indptr: NDArray[np.int64]
    op_code: NDArray[np.uint8]
    op_key: NDArray[np.int32]
    op_arg: NDArray[np.int32]
    words: NDArray[np.uint64]
    payload_indptr: NDArray[np.int64]
    payload_data: NDArray[np.uint8]
    key_address: NDArray[np.uint8]
    key_field: NDArray[np.uint8]
    key_slot: NDArray[np.uint8]
    pre_values: NDArray[np.uint64]
    list_indptr: NDArray[np.int64]
    list_entry: NDArray[np.int32]
    list_address: NDArray[np.uint8]
    read_indptr: NDArray[np.int64]
    read_key: NDArray[np.int32]
    declares_reads: NDArray[np.bool_]
    write_indptr: NDArray[np.int64]
    write_key: NDArray[np.int32]
    declares_writes: NDArray[np.bool_]
    footprint_indptr: NDArray[np.int64]
    footprint_keys: NDArray[np.int32]
    footprint_modes: NDArray[np.uint8]
    meta: pa.Table | None = None
    _derived: dict[Any, Any] = field(default_factory=dict, init=False)

    def __init__(self, *_: Any, **__: Any) -> None:
        raise BlockError("make a Block with Block.from_programs, Block.from_arrays, generate or read_block")

    def __setstate__(self, state: dict[str, Any]) -> None:
        door.freeze(self, **(state | {"_derived": {}}))

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_derived"}

    @property
    def n_tx(self) -> int:
        """Number of transactions."""
        return len(self.sender)

    @property
    def n_ops(self) -> int:
        """Number of micro-ops."""
        return len(self.op_code)

    @property
    def n_keys(self) -> int:
        """Number of distinct state keys, those of the pre-state included."""
        return len(self.key_field)

    @property
    def footprint(self) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """CSR (indptr, keys) of the keys that each transaction could touch."""
        return self.footprint_indptr, self.footprint_keys

    @property
    def chain_gas_used(self) -> NDArray[np.int64] | None:
        """The chain's own gas used, (n_tx,) int64, -1 where unknown; None if unknown for all."""
        if self.meta is None or "chain_gas_used" not in self.meta.column_names:
            return None
        column = self.meta["chain_gas_used"].combine_chunks()
        known = column.is_valid().to_numpy(zero_copy_only=False)
        values = column.fill_null(0).to_numpy().astype(np.int64)
        return np.where(known, values, np.int64(-1))

    def __len__(self) -> int:
        return self.n_tx

    @classmethod
    def from_arrays(
        cls,
        *,
        sender: ArrayLike,
        op_indptr: ArrayLike,
        op_code: ArrayLike,
        op_key: ArrayLike,
        op_arg: ArrayLike,
        key_address: ArrayLike,
        key_field: ArrayLike,
        key_slot: ArrayLike,
        words: ArrayLike | None = None,
        payload_indptr: ArrayLike | None = None,
        payload_data: ArrayLike | None = None,
        nonce: ArrayLike | None = None,
        gas_limit: ArrayLike | None = None,
        list_indptr: ArrayLike | None = None,
        list_entry: ArrayLike | None = None,
        list_address: ArrayLike | None = None,
        declared_reads: tuple[ArrayLike, ArrayLike, ArrayLike] | None = None,
        declared_writes: tuple[ArrayLike, ArrayLike, ArrayLike] | None = None,
        state_key: ArrayLike | None = None,
        state_value: ArrayLike | None = None,
        number: int = 0,
        fork: str = "london",
        header: Header | None = None,
        meta: pa.Table | Mapping[str, Any] | None = None,
    ) -> Block:
        """Build a block from arrays; this is the door at which everything is checked.

        Parameters
        ----------
        sender, op_indptr, op_code, op_arg, nonce, gas_limit, header, number, fork
            As in `Block`. Default nonce 0, gas limit 2**24.
        key_address, key_field, key_slot : (n_rows, 20), (n_rows,), (n_rows, 32) uint8
            Key rows in any order; **equal rows may repeat**, they are interned here.
        op_key : (n_ops,) int
            Row of that table, -1 where the op takes none.
        words : (n_words, 4) uint64
            Literals, least significant limb first; rows may be shared between ops.
        payload_indptr, payload_data
            KECCAK payloads; they may be shared between ops.
        list_indptr, list_entry, list_address
            Access lists as in `Block`, with key *rows* for keys.
        declared_reads, declared_writes : (indptr, rows, declares)
            CSR of key rows and a (n_tx,) bool array: whether the transaction declares anything.
        state_key : (n,) int
            Key rows that the pre-state names; no key twice.
        state_value : (n, 4) uint64
            Their values.
        meta : pyarrow.Table or mapping of column name to Arrow array
            Columns of `META_COLUMNS`, n_tx rows.

        Raises
        ------
        BlockError
            Naming array, place, value and rule.

        Notes
        -----
        O(ops + key rows + bytes): one hashing pass over the rows and a few linear ones.
        """
        number = door.integer("number", number, 0, 2**64 - 1)
        gas_schedule(door.text("fork", fork))
        header = Header() if header is None else header
        door.instance("header", header, Header)
        rows = door.KeyRows(key_address, key_field, key_slot)
        arrays = parts.transactions(sender, nonce, gas_limit)
        n_tx = len(arrays["sender"])
        arrays |= parts.programs(rows, n_tx, (op_indptr, op_code, op_key, op_arg), words, (payload_indptr, payload_data))
        arrays |= parts.access_lists(rows, n_tx, list_indptr, list_entry, list_address)
        arrays |= parts.declared(rows, n_tx, "read", declared_reads)
        arrays |= parts.declared(rows, n_tx, "write", declared_writes)
        arrays |= rows.finish(state_key, state_value)
        arrays |= parts.footprint(arrays)
        made = object.__new__(cls)
        extra = {"meta": meta_table(meta, n_tx), "_derived": dict[Any, Any]()}
        door.freeze(made, number=number, fork=fork, header=header, **arrays, **extra)
        return made

    @classmethod
    def from_programs(
        cls,
        programs: Iterable[Sequence[Sequence[Any]]],
        state: Mapping[Any, int] | None = None,
        *,
        senders: Sequence[bytes | int] | None = None,
        nonces: Sequence[int] | None = None,
        gas_limits: Sequence[int] | None = None,
        access_lists: Sequence[Sequence[Any]] | None = None,
        declared_reads: Sequence[Sequence[Any] | None] | None = None,
        declared_writes: Sequence[Sequence[Any] | None] | None = None,
        number: int = 0,
        fork: str = "london",
        header: Header | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> Block:
        """Build a block from plain Python: for notebooks, tests and small examples.

        Parameters
        ----------
        programs : iterable of programs
            A program is a sequence of ops: ``("SLOAD", key)``, ``("SSTORE", key, value)`` or ``("SSTORE", key, "TOP")``,
            ``("ADD", value)``, ``("SUB", value)``, ``("KECCAK", data)``, ``("NOOP", n)``, ``("TOUCH", key)``,
            ``("CREDIT", key, value)``, ``("BURN", n)``; names in any case, or `Op`. Values are ints in [0, 2**256).
            A key is ``(address, field, slot)`` or ``(address, slot)`` for storage; address and slot are bytes of length
            20 and 32 or ints.
        state : mapping of key to int
            Values before the block.
        senders : sequence of addresses, optional
            Default: transaction t has the address t + 1.
        access_lists : sequence of lists, optional
            Entries ``(address, [slot, ...])``, as in EIP-2930.
        declared_reads, declared_writes : sequence of lists of keys or None, optional

        Raises
        ------
        BlockError
            Naming transaction, op, value and rule.

        Examples
        --------
        >>> block = Block.from_programs([[("CREDIT", (5, 1, 0), 10)]], {(5, 1, 0): 32})
        >>> block.n_keys, int(block.pre_values[0, 0])
        (1, 32)
        """
        per_tx = (senders, nonces, gas_limits, access_lists, declared_reads, declared_writes)
        columns = plain.columns(programs, state, per_tx)
        return cls.from_arrays(number=number, fork=fork, header=header, meta=meta, **columns)

    def to_programs(self) -> list[list[tuple[Any, ...]]]:
        """The programs in plain Python, in the form that `from_programs` takes, ops as `Op` and keys as full tuples."""
        return plain.programs_of(self)

    def key(self, k: int) -> KeyTuple:
        """Key number `k` as (address bytes, field, slot bytes)."""
        k = door.integer("key", k, 0, self.n_keys - 1)
        return self.key_address[k].tobytes(), int(self.key_field[k]), self.key_slot[k].tobytes()

    def key_name(self, k: int) -> str:
        """Key number `k` for people, e.g. ``0x0101…01 slot 0x05`` or ``0x0101…01 balance``."""
        return name_of(self, k)

    def state(self) -> dict[KeyTuple, int]:
        """All non-zero values before the block, as {(address, field, slot): value}."""
        return plain.state_of(self, self.pre_values)

    @classmethod
    def concat(
        cls,
        blocks: Sequence[Block],
        *,
        number: int | None = None,
        fork: str | None = None,
        header: Header | None = None,
    ) -> Block:
        """Join blocks into one, order kept: the transactions of the first, then of the second, and so on.

        A key's value before the joined block is that of the *first* block that has the key; what later blocks held as
        their pre-state is then the work of the earlier transactions (or, for blocks that were not neighbours, lost).

        Parameters
        ----------
        blocks : sequence of Block
            At least one.
        number, header : optional
            Default: those of the first block.
        fork : str, optional
            Needed if the blocks differ in it.

        Raises
        ------
        BlockError
            If there is no block, or forks differ and none is given.

        Examples
        --------
        >>> key = (1, 0, 0)
        >>> one = Block.from_programs([[("SSTORE", key, 1)], [("SLOAD", key)]])
        >>> Block.concat([one.slice(0, 1), one.slice(1)]) == one
        True
        """
        blocks = joining.joinable(blocks, fork)
        first = blocks[0]
        return cls.from_arrays(
            number=first.number if number is None else number,
            fork=first.fork if fork is None else fork,
            header=first.header if header is None else header,
            meta=concat_meta([(block.meta, block.n_tx) for block in blocks]),
            **joining.concat_columns(blocks),
        )

    def slice(self, start: int, stop: int | None = None) -> Block:
        """The block of transactions ``start:stop`` on the *same* pre-state: earlier transactions are left out, not run.

        Parameters
        ----------
        start, stop : int
            In [0, n_tx], start <= stop; stop defaults to the end.

        Raises
        ------
        BlockError
            If the range is not within the block.
        """
        stop = self.n_tx if stop is None else stop
        start = door.integer("start", start, 0, self.n_tx)
        stop = door.integer("stop", stop, start, self.n_tx)
        meta = None if self.meta is None else self.meta.slice(start, stop - start)
        head: dict[str, Any] = {"number": self.number, "fork": self.fork, "header": self.header, "meta": meta}
        return Block.from_arrays(**head, **joining.slice_columns(self, start, stop))

    def digest(self) -> str:
        """SHA-256 of the whole content in hexadecimal: equal for equal blocks, whatever they were made from."""
        if "digest" not in self._derived:
            sha = hashlib.sha256()
            sha.update(repr((self.number, self.fork, self.header)).encode())
            for item in fields(self):
                value = getattr(self, item.name)
                if isinstance(value, np.ndarray) and not item.name.startswith("footprint"):
                    sha.update(f"{item.name}{value.shape}{value.dtype.str}".encode())
                    sha.update(value.data if value.size else b"")
            hash_meta(sha, self.meta)
            self._derived["digest"] = sha.hexdigest()
        return self._derived["digest"]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Block):
            return NotImplemented
        return self is other or self.digest() == other.digest()

    def __hash__(self) -> int:
        return hash(self.digest())

    def __repr__(self) -> str:
        return f"<Block {self.number}: {self.n_tx:,} txs, {self.n_ops:,} ops, {self.n_keys:,} keys, {self.fork}>"

    def _repr_html_(self) -> str:
        return plain.html_of(self)
