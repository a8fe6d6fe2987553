"""Blocks that really execute, from Parquet: cryo's transactions beside tables of headers, codes and the state before.

A folder has ``cryo/{network}__transactions__{N}_to_{N}.parquet`` and, in ``state/``, ``pre_state`` (and ``post_state``, if it
is known) of each block under such names; and there, of all blocks together, ``codes`` and ``headers``, and if need be
``block_hashes``, ``blob_hashes`` and ``access_lists``.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator
from os import PathLike
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from ..door import items, shown
from ..errors import BlockError, FileFormatError
from ..evm.block import EvmBlock
from ..evm.forks import Fork, fork_at
from ..evm.hashing import EMPTY_HASH, keccak
from ..evm.header import BlockEnv
from ..evm.transaction import Transaction
from ..evm.world import AccountState
from .paths import existing, reading

__all__ = ["chosen_numbers", "evm_numbers", "is_evm_folder", "read_evm_blocks"]

log = logging.getLogger("pevm_numba")

_U64: Final = 2**64 - 1
#: Whose tables these are: what rules hold is told by height and time.
_NETWORK: Final = "ethereum"
#: Columns that are needed.
_HEADER: Final = (
    "block_number", "timestamp", "miner", "gas_limit", "gas_used", "difficulty", "mix_hash", "base_fee_per_gas",
    "parent_hash", "excess_blob_gas", "parent_beacon_block_root", "receipts_root", "logs_bloom",
)  # fmt: skip
_TRANSACTION: Final = (
    "block_number", "transaction_index", "nonce", "from_address", "to_address", "value_binary", "input", "gas_limit",
    "gas_price", "transaction_type", "max_priority_fee_per_gas", "max_fee_per_gas", "chain_id",
)  # fmt: skip
_STATE: Final = ("address", "slot", "value", "exists", "balance", "nonce", "code_hash")


#: Code of the contract of EIP-4788, which runs in every block from Cancun on, without a transaction that calls it.
_BEACON_ROOTS_CODE: Final = bytes.fromhex(
    "3373fffffffffffffffffffffffffffffffffffffffe14604d57602036146024575f5ffd5b5f35801560495762001fff810690815414603c575f5ffd5b"
    "62001fff01545f5260205ff35b5f5ffd5b62001fff42064281555f359062001fff015500"
)


class _Row:
    """One row, with values looked at as they are taken."""

    __slots__ = ("_values", "path", "place")

    def __init__(self, path: Path, place: int, values: dict[str, Any]) -> None:
        self.path, self.place, self._values = path, place, values

    def fail(self, name: str, rule: str) -> FileFormatError:
        return FileFormatError(f"{self.path}: row {self.place}, {name} = {shown(self._values[name], 80)}: {rule}")

    def has(self, name: str) -> bool:
        return self._values[name] is not None

    def integer(self, name: str, high: int = _U64) -> int:
        value = self._values[name]
        if isinstance(value, str) and value.isdecimal():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= high:
            raise self.fail(name, f"must be an integer in [0, {high}]")
        return value

    def octets(self, name: str, size: int | None = None) -> bytes:
        value = self._values[name]
        if not isinstance(value, bytes) or (size is not None and len(value) != size):
            raise self.fail(name, "must be bytes" if size is None else f"must be {size} bytes")
        return value

    def word(self, name: str) -> int:
        value = self.octets(name)
        if len(value) > 32:
            raise self.fail(name, "must be 32 bytes at most")
        return int.from_bytes(value, "big")


def _rows(path: Path, names: Iterable[str]) -> Iterator[_Row]:
    """All rows, with those columns."""
    with reading(existing(path), "not a readable table"):
        table: pa.Table = pq.read_table(path)
    missing = [name for name in names if name not in table.column_names]
    if missing:
        raise FileFormatError(f"{path}: has no column {missing[0]!r}")
    for i, values in enumerate(table.select(list(names)).to_pylist()):
        yield _Row(path, i, values)


def is_evm_folder(path: str | PathLike[str]) -> bool:
    """Whether a folder has the tables that blocks are executed from."""
    folder = Path(path)
    return bool([*folder.glob("state/*__headers.parquet")] and [*folder.glob("cryo/*__transactions__*.parquet")])


class _Folder:
    """The tables of a folder; those of all blocks are read once."""

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = existing(path)
        self.network = _headers_of(self.path).name.split("__")[0]
        if self.network != _NETWORK:
            raise FileFormatError(f"{self.path}: tables of {self.network!r}: only the forks of {_NETWORK!r} are known")
        self.headers: dict[int, _Row] = {}
        for row in _rows(self._table("headers"), _HEADER):
            number = row.integer("block_number")
            if number in self.headers:
                raise row.fail("block_number", f"is that of row {self.headers[number].place}, too")
            self.headers[number] = row
        self.codes = {keccak(_BEACON_ROOTS_CODE): _BEACON_ROOTS_CODE}
        for row in _rows(self._table("codes"), ("code_hash", "code")):
            code = row.octets("code")
            if keccak(code) != row.octets("code_hash", 32):
                raise row.fail("code_hash", "must be the hash of the code")
            self.codes[row.octets("code_hash")] = code
        self.hashes: dict[int, dict[int, bytes]] = defaultdict(dict)
        for row in self._optional("block_hashes", ("block_number", "number", "hash")):
            self.hashes[row.integer("block_number")][row.integer("number")] = row.octets("hash", 32)
        self.blobs: dict[tuple[int, int], list[tuple[bytes, int]]] = defaultdict(list)
        for row in self._optional("blob_hashes", (*_PLACE, "versioned_hash", "max_fee_per_blob_gas")):
            fee = row.integer("max_fee_per_blob_gas", 2**256 - 1)
            self.blobs[_place(row)].append((row.octets("versioned_hash", 32), fee))
        self.lists: dict[tuple[int, int], list[tuple[bytes, list[int]]]] = defaultdict(list)
        for row in self._optional("access_lists", (*_PLACE, "address", "slot")):
            self._add_listed(row)

    def _add_listed(self, row: _Row) -> None:
        entries, address = self.lists[_place(row)], row.octets("address", 20)
        if not row.has("slot"):
            entries.append((address, []))
        elif not entries or entries[-1][0] != address:
            raise row.fail("slot", "must follow its address")
        else:
            entries[-1][1].append(row.word("slot"))

    def _table(self, kind: str, number: int | None = None, folder: str = "state") -> Path:
        name = kind if number is None else f"{kind}__{number:08d}_to_{number:08d}"
        return self.path / folder / f"{self.network}__{name}.parquet"

    def _optional(self, kind: str, names: tuple[str, ...]) -> Iterator[_Row]:
        path = self._table(kind)
        return _rows(path, names) if path.exists() else iter(())

    def environment(self, number: int) -> BlockEnv:
        """Of one block."""
        if number not in self.headers:
            raise BlockError(f"{self.path}: has no block {number}")
        row = self.headers[number]
        fork = fork_at(number, row.integer("timestamp"))
        after_paris, cancun = fork >= Fork.PARIS, fork >= Fork.CANCUN
        try:
            return BlockEnv(
                number=number, timestamp=row.integer("timestamp"), fork=fork, fee_recipient=row.octets("miner", 20),
                gas_limit=row.integer("gas_limit"),
                prev_randao=row.word("mix_hash") if after_paris else row.integer("difficulty", 2**256 - 1),
                base_fee=row.integer("base_fee_per_gas") if fork >= Fork.LONDON else None,
                excess_blob_gas=row.integer("excess_blob_gas") if cancun else None,
                parent_beacon_block_root=row.octets("parent_beacon_block_root", 32) if cancun else None,
                block_hashes={n: digest for n, digest in self.hashes[number].items() if n < number}
                | {number - 1: row.octets("parent_hash", 32)},
                gas_used=row.integer("gas_used"), logs_bloom=row.octets("logs_bloom", 256),
                receipts_root=row.octets("receipts_root", 32) if fork >= Fork.BYZANTIUM else None,
            )  # fmt: skip
        except FileFormatError:  # says where already
            raise
        except BlockError as error:
            raise FileFormatError(f"{row.path}: row {row.place}: {error}") from None

    def transactions(self, number: int) -> list[Transaction]:
        """Of one block, in its order."""
        rows = [*_rows(self._table("transactions", number, "cryo"), _TRANSACTION)]
        made = []
        for i, row in enumerate(rows):
            if _place(row) != (number, i):
                raise row.fail("transaction_index", f"must be {i}, of block {number}")
            try:
                made.append(Transaction(**self._fields(row, (number, i))))
            except FileFormatError:
                raise
            except BlockError as error:
                raise FileFormatError(f"{row.path}: row {row.place}: {error}") from None
        return made

    def _fields(self, row: _Row, place: tuple[int, int]) -> dict[str, Any]:
        kind = row.integer("transaction_type", 3)
        fields: dict[str, Any] = {
            "type": kind, "nonce": row.integer("nonce"), "gas_limit": row.integer("gas_limit"),
            "to": row.octets("to_address", 20) if row.has("to_address") else None, "value": row.word("value_binary"),
            "data": row.octets("input") if row.has("input") else b"", "sender": row.octets("from_address", 20),
        }  # fmt: skip
        if kind:
            fields["chain_id"] = row.integer("chain_id")
            fields["access_list"] = tuple((address, tuple(slots)) for address, slots in self.lists[place])
        if kind < 2:
            fields["gas_price"] = row.integer("gas_price")
        else:
            fields["max_fee_per_gas"] = row.integer("max_fee_per_gas")
            fields["max_priority_fee_per_gas"] = row.integer("max_priority_fee_per_gas")
        if kind == 3:
            blobs = self.blobs[place]
            fields["blob_versioned_hashes"] = tuple(digest for digest, _ in blobs)
            fields["max_fee_per_blob_gas"] = blobs[0][1] if blobs else 0
        return fields

    def state(self, kind: str, number: int) -> dict[bytes, AccountState]:
        """Accounts that exist."""
        found: dict[bytes, AccountState] = {}
        slots: dict[bytes, dict[int, int]] = defaultdict(dict)
        for row in _rows(self._table(kind, number), _STATE):
            address = row.octets("address", 20)
            if row.has("slot"):
                value = row.word("value") if row.has("value") else 0
                if value:
                    slots[address][row.word("slot")] = value
            elif row.has("exists") and row._values["exists"]:
                if address in found:
                    raise row.fail("address", "is there twice")
                code = self._code(row) if row.has("code_hash") else b""
                found[address] = AccountState(row.word("balance"), row.integer("nonce"), code, slots[address])
        return found

    def _code(self, row: _Row) -> bytes:
        digest = row.octets("code_hash", 32)
        if digest == EMPTY_HASH:
            return b""
        # code that does not run in these blocks is not in the table: something stands in that fails if it does run
        return self.codes.get(digest, b"\xfe" + digest)


_PLACE: Final = ("block_number", "transaction_index")


def _place(row: _Row) -> tuple[int, int]:
    return row.integer("block_number"), row.integer("transaction_index")


def _headers_of(folder: Path) -> Path:
    found = sorted(folder.glob("state/*__headers.parquet"))
    if not found:
        raise FileFormatError(f"{folder}: has no table state/…__headers.parquet")
    return found[0]


def evm_numbers(path: str | PathLike[str]) -> list[int]:
    """Numbers of the blocks in a folder, ascending.

    Raises
    ------
    FileFormatError
        Naming file, row, column, value and rule.
    """
    return sorted(row.integer("block_number") for row in _rows(_headers_of(existing(path)), ("block_number",)))


def chosen_numbers(path: str | PathLike[str], numbers: Iterable[int] = ()) -> list[int]:
    """Those of some numbers that are blocks in a folder, ascending: all of them must be; without any, all blocks.

    Raises
    ------
    FileFormatError
        If a block is not there, or none at all; or naming file, row, column, value and rule.
    """
    known, wanted = evm_numbers(path), set(numbers)
    if not known or wanted - set(known):
        lacks = ", ".join(map(str, sorted(wanted - set(known)))) or "any"
        raise FileFormatError(f"{path}: has none of the blocks {lacks}")
    return [number for number in known if not wanted or number in wanted]


def read_evm_blocks(path: str | PathLike[str], numbers: Iterable[int] | None = None) -> Iterator[EvmBlock]:
    """Blocks with all that executing them takes, one after the other.

    Parameters
    ----------
    path : path
        Folder as described at the top of this module.
    numbers : iterable of int, optional
        Heights; default all, ascending.

    Yields
    ------
    EvmBlock
        `after` is the state after the last transaction, where the folder has it. Contracts whose code is not in ``codes``
        get code that fails, and has another hash.

    Raises
    ------
    FileFormatError
        Naming file, row, column, value and rule.
    BlockError
        If a block is not there.
    """
    folder = _Folder(path)
    for number in sorted(folder.headers) if numbers is None else items("numbers", numbers, "heights"):
        env = folder.environment(number)
        after = folder.state("post_state", number) if folder._table("post_state", number).exists() else None
        block = EvmBlock(env, folder.transactions(number), folder.state("pre_state", number), after)
        log.info("%s: read block %d, %d transactions, %d accounts", folder.path, number, block.n_tx, len(block.state))
        yield block
