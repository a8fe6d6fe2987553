"""From what a block accessed to its list (EIP-7928), and from a list to what the executors run from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import door
from .._kernels.eip7928 import Columns
from ..block import Block
from ..errors import AccessListError, BlockError
from ..evm.accesses import BlockAccesses
from ..evm.hashing import keccak_many
from ..evm.observation import EvmAccessList
from ..keys import Keys, KeyTable
from ..machine.ops import Field
from .block_list import BlockAccessList
from .eip7928 import Eip7928List

__all__ = ["build_list", "changes_of_block", "changes_of_evm", "check_accounts", "list_of_block", "list_of_evm"]


def _offsets(owners: NDArray[Any], n: int) -> NDArray[np.int64]:
    """Offsets of rows that are ordered by owner."""
    return np.searchsorted(owners, np.arange(n + 1)).astype(np.int64)


def _sorted_rows(keys: Keys) -> NDArray[np.int64]:
    """Key numbers in the order of address, field and slot."""
    rows = np.concatenate([keys.key_address, keys.key_field[:, None], keys.key_slot], axis=1)
    text = np.ascontiguousarray(rows).view("S53")[:, 0]  # equal lengths, so stripped zeros do not matter
    if len(text) < 2 or (text[1:] > text[:-1]).all():
        return np.arange(len(text))
    return np.argsort(text, kind="stable")


def _accounts(addresses: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Distinct addresses in order, and the number of each row's."""
    text = np.ascontiguousarray(addresses).view("S20").reshape(-1)
    _, first, number = np.unique(text, return_index=True, return_inverse=True)
    return addresses[first], number.reshape(-1)


def build_list(
    keys: Keys, index: NDArray[Any], key: NDArray[Any], value: NDArray[np.uint8], *,
    addresses: NDArray[np.uint8] | None = None, codes: Mapping[bytes, bytes] | None = None,
) -> Eip7928List:  # fmt: skip
    """The list of a block that accessed `keys`, each of them, and changed some.

    Parameters
    ----------
    keys : Keys
        Slots that do not change are listed as read; of accounts every field that is there counts as access.
    index, key : (n,) int
        Block access index and key number of each change; a pair is there once.
    value : (n, 32) uint8
        Big-endian values after it; for code its hash, 0 for none.
    addresses : (m, 20) uint8, optional
        Accounts that were accessed, too.
    codes : mapping of bytes to bytes, optional
        Code by its hash, of all code that is put somewhere.

    Raises
    ------
    BlockError
        If code is not known, or a nonce is none.

    Examples
    --------
    >>> keys = KeyTable.from_keys([(b"\\x02" * 20, Field.STORAGE, 5), (b"\\x01" * 20, Field.NONCE, 0)])
    >>> [one.address[:1] for one in build_list(keys, np.array([1]), np.array([1]), np.eye(1, 32, 31, np.uint8))]
    [b'\\x01', b'\\x02']
    """
    order = _sorted_rows(keys)
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    more = np.empty((0, 20), np.uint8) if addresses is None else addresses
    address, number = _accounts(np.concatenate([keys.key_address[order], more]))
    n, owner, field, slot = len(address), number[: len(order)], keys.key_field[order], keys.key_slot[order]
    by = np.lexsort((index, place[key]))
    index, key, value = index[by].astype(np.uint32), place[key][by], value[by]
    of_slot = field[key] == Field.STORAGE
    changed = np.zeros(len(order), bool)
    changed[key[of_slot]] = True
    is_slot = field == Field.STORAGE
    slots, reads = np.flatnonzero(is_slot & changed), np.flatnonzero(is_slot & ~changed)
    columns: dict[str, Any] = {
        "address": address, "slot_indptr": _offsets(owner[slots], n), "slot": slot[slots],
        "change_indptr": _offsets(np.searchsorted(slots, key[of_slot]), len(slots)), "change_index": index[of_slot],
        "change_value": value[of_slot], "read_indptr": _offsets(owner[reads], n), "read": slot[reads],
    }  # fmt: skip
    for name, what in (("balance", Field.BALANCE), ("nonce", Field.NONCE), ("code", Field.CODE)):
        rows = np.flatnonzero(field[key] == what)
        columns[f"{name}_indptr"] = _offsets(owner[key[rows]], n)
        columns[f"{name}_index"] = index[rows]
        columns[name] = value[rows]
    large = np.flatnonzero(columns["nonce"][:, :24].any(axis=1))
    if len(large):
        raise BlockError(f"nonce = 0x{columns['nonce'][large[0]].tobytes().hex()}: must be below 2**64")
    columns["nonce"] = columns["nonce"][:, 24:]
    pieces = [_code_of(digest.tobytes(), codes or {}) for digest in columns.pop("code")]
    columns["code_bounds"] = np.cumsum([0] + [len(piece) for piece in pieces])
    columns["code_data"] = np.frombuffer(b"".join(pieces), np.uint8)
    return Eip7928List(Columns(**columns))


def _code_of(digest: bytes, codes: Mapping[bytes, bytes]) -> bytes:
    if not any(digest):
        return b""
    if digest not in codes:
        raise BlockError(f"codes without that of hash 0x{digest.hex()}: a list holds code itself")
    return codes[digest]


def list_of_evm(seen: BlockAccesses) -> Eip7928List:
    """The list of an EVM block, by what an execution of it accessed.

    Examples
    --------
    >>> from pevm_numba.execute.run import execute
    >>> from ..evm.workloads import generate_evm
    >>> done = execute(generate_evm("transfers", n_tx=2), "serial")
    >>> list_of_evm(done.accesses) == done.eip7928_list()
    True
    """
    changes = seen.change_index, seen.change_key, seen.change_value
    return build_list(seen.keys, *changes, addresses=seen.addresses, codes=seen.codes)


def list_of_block(
    block: Block, changes: BlockAccessList, accessed: NDArray[Any], codes: Mapping[bytes, bytes]
) -> Eip7928List:
    """The list of a block of micro-ops.

    Parameters
    ----------
    block : Block
    changes : BlockAccessList
        Net changes of each transaction.
    accessed : (n,) int
        Keys that transactions accessed, each once.
    codes : mapping of bytes to bytes
        Code by its hash, of all code that is put somewhere.
    """
    used = np.union1d(accessed, changes.keys)
    keys = KeyTable(block.key_address[used], block.key_field[used], block.key_slot[used])
    index = np.repeat(np.arange(1, block.n_tx + 1), np.diff(changes.indptr))
    value = np.ascontiguousarray(changes.values).view(np.uint8).reshape(-1, 32)[:, ::-1].copy()
    return build_list(keys, index, np.searchsorted(used, changes.keys), value, codes=codes)


class _Rows(NamedTuple):
    """Keys that a list names, (n, 53) uint8 of address, field and slot: changed slots, read ones, accounts by their balances,
    nonces and code that change; and its changes, each with the row of its key, its index and its value."""

    keys: NDArray[np.uint8]
    of_account: NDArray[np.bool_]
    change_row: NDArray[np.int64]
    change_index: NDArray[np.int64]
    change_value: NDArray[np.uint8]


def _owners(listed: Eip7928List, offsets: str) -> NDArray[np.int64]:
    """The account of each row."""
    return np.repeat(np.arange(len(listed)), np.diff(getattr(listed.columns, offsets)))


def _codes(listed: Eip7928List) -> list[bytes]:
    """All code that a list puts somewhere, in order."""
    owners = np.flatnonzero(np.diff(listed.columns.code_indptr)).tolist()
    return [code for account in owners for _, code in listed[account].code_changes]


def _rows(listed: Eip7928List) -> _Rows:
    columns, n, codes = listed.columns, len(listed), _codes(listed)
    hashes = [digest if code else bytes(32) for digest, code in zip(keccak_many(codes), codes)]
    nonce = np.zeros((len(columns.nonce), 32), np.uint8)
    nonce[:, 24:] = columns.nonce
    slots, reads, balances, nonces, coded = (
        _owners(listed, f"{name}_indptr") for name in ("slot", "read", "balance", "nonce", "code")
    )
    account = np.concatenate([slots, reads, np.arange(n), nonces, coded])
    sizes = (len(slots) + len(reads), n, len(nonces), len(coded))
    field = np.repeat(np.array([Field.STORAGE, Field.BALANCE, Field.NONCE, Field.CODE], np.uint8), sizes)
    slot = np.zeros((len(account), 32), np.uint8)
    slot[: sizes[0]] = np.concatenate([columns.slot, columns.read])
    keys = np.concatenate([columns.address[account], field[:, None], slot], axis=1)
    changed = np.repeat(np.arange(len(slots)), np.diff(columns.change_indptr))
    rows = np.concatenate([changed, sizes[0] + balances, sizes[0] + n + np.arange(len(nonces) + len(coded))])
    index = np.concatenate([columns.change_index, columns.balance_index, columns.nonce_index, columns.code_index])
    words = np.frombuffer(b"".join(hashes), np.uint8).reshape(-1, 32)
    of_account = np.repeat([False, True, False], [sizes[0], n, len(nonces) + len(coded)])
    return _Rows(
        keys, of_account, rows, index.astype(np.int64), np.concatenate([columns.change_value, columns.balance, nonce, words])
    )


def changes_of_evm(listed: Eip7928List, n_tx: int) -> EvmAccessList:
    """What a list says that each transaction changes; keys are all that it lists, accounts by their balances.

    Parameters
    ----------
    listed : Eip7928List
    n_tx : int
        Changes before the transactions and after them are left out: the machine makes them itself.

    Examples
    --------
    >>> from .eip7928 import AccountChanges
    >>> listed = Eip7928List.from_accounts([AccountChanges(bytes(20), ((5, ((0, 1), (1, 7), (2, 8))),), (6,))])
    >>> found = changes_of_evm(listed, 1)
    >>> [key[1:] for key in found.keys], found.key.tolist()
    ([(<Field.STORAGE: 0>, 5), (<Field.STORAGE: 0>, 6), (<Field.BALANCE: 1>, 0)], [0])
    """
    rows = _rows(listed)
    text = np.ascontiguousarray(rows.keys).view("S53").reshape(-1)
    _, first, number = np.unique(text, return_index=True, return_inverse=True)
    key, tx = number.reshape(-1)[rows.change_row], rows.change_index - 1
    order = np.lexsort((key, tx))
    order = order[(tx[order] >= 0) & (tx[order] < n_tx)]
    kept = rows.keys[first]
    table = KeyTable(kept[:, :20].copy(), kept[:, 20].copy(), kept[:, 21:].copy())
    indptr = np.searchsorted(tx[order], np.arange(n_tx + 1)).astype(np.int64)
    codes = tuple(code for code in _codes(listed) if code)
    return EvmAccessList(table, indptr, key[order].astype(np.int32), rows.change_value[order], codes)


def changes_of_block(listed: Eip7928List, block: Block) -> tuple[BlockAccessList, NDArray[np.bool_]]:
    """What a list says of a block of micro-ops, by the block's keys.

    Returns
    -------
    changes : BlockAccessList
    either_way : (n_keys,) bool
        Fields of accounts that are listed without such a change: whether they are read a list does not tell.

    Raises
    ------
    AccessListError
        If the list has what the block does not know, or changes before or after the transactions.

    Examples
    --------
    >>> from .eip7928 import AccountChanges
    >>> block = Block.from_programs([[("SSTORE", (0, 0, 5), 7), ("TOUCH", (0, 1, 0))]])
    >>> changes, either_way = changes_of_block(
    ...     Eip7928List.from_accounts([AccountChanges(bytes(20), ((5, ((1, 7),)),))]), block
    ... )
    >>> changes[0], changes.reads.tolist(), either_way.tolist()
    ({0: 7}, [], [False, True])
    """
    rows, n = _rows(listed), block.n_keys
    mine = np.concatenate([block.key_address, block.key_field[:, None], block.key_slot], axis=1)
    together = np.concatenate([mine, rows.keys])
    parts = (np.ascontiguousarray(part) for part in (together[:, :20], together[:, 20], together[:, 21:]))
    ids, _ = door.intern_rows(*parts)
    key = ids[n:]
    used = ~rows.of_account
    used[rows.change_row] = True
    unknown = np.flatnonzero(used & (key >= n))
    if len(unknown):
        one = rows.keys[unknown[0]]
        name = KeyTable(one[None, :20].copy(), one[None, 20].copy(), one[None, 21:].copy()).key_name(0)
        raise AccessListError(f"block {block.number}: access list rejected: {name}: listed, but not accessed")
    outside = np.flatnonzero((rows.change_index < 1) | (rows.change_index > block.n_tx))
    if len(outside):
        i = int(outside[0])
        place = f"{block.key_name(int(key[rows.change_row[i]]))} at index {rows.change_index[i]}"
        why = f"a block of micro-ops has changes at 1 to {block.n_tx} only"
        raise AccessListError(f"block {block.number}: access list rejected: {place}: {why}")
    changed = key[rows.change_row]
    order = np.lexsort((changed, rows.change_index))
    values = rows.change_value[order][:, ::-1].copy().view(np.uint64)
    indptr = np.searchsorted(rows.change_index[order], np.arange(1, block.n_tx + 2)).astype(np.int64)
    is_read = np.zeros(n, bool)
    is_read[key[used]] = True
    is_read[changed] = False
    known = np.isin(_text(block.key_address), _text(listed.columns.address))
    either_way = known & (block.key_field != Field.STORAGE)
    either_way[changed] = False
    reads = np.flatnonzero(is_read & ~either_way).astype(np.int32)
    return BlockAccessList(n, indptr, changed[order].astype(np.int32), values, reads), either_way


def _text(addresses: NDArray[np.uint8]) -> NDArray[Any]:
    return np.ascontiguousarray(addresses).view("S20").reshape(-1)


def check_accounts(listed: Eip7928List, block: Block, accessed: NDArray[np.bool_]) -> None:
    """Whether a list has all accounts of which keys were accessed, and no others.

    Raises
    ------
    AccessListError
        Naming the first that is missing or a phantom.

    Examples
    --------
    >>> block = Block.from_programs([[("SLOAD", (1, 0, 5))]])
    >>> check_accounts(Eip7928List.from_accounts([]), block, np.ones(1, bool))
    Traceback (most recent call last):
    ...
    pevm_numba.errors.AccessListError: block 0: access list rejected: 0x00...01: not listed, but accessed
    """
    done, said = {one.tobytes() for one in block.key_address[accessed]}, {one.tobytes() for one in listed.columns.address}
    for address in sorted(done ^ said):
        what = "not listed, but accessed" if address in done else "listed, but not accessed"
        raise AccessListError(f"block {block.number}: access list rejected: 0x{address.hex()}: {what}")
