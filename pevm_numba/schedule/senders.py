"""One sender's transactions never run at once when the order is free: here that is a key that all of them write."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .. import door
from ..access.sets import AccessSets, need_access
from ..evm.block import AnyBlock, need_block
from .independent import checked_senders, sender_chains

__all__ = ["block_of", "chains_of", "sender_numbers", "with_senders"]


def block_of(access: AccessSets, block: AnyBlock | None) -> AnyBlock | None:
    """The block that the access sets are about: as given, else the one that they are exact for, else None.

    Raises
    ------
    BlockError
        If access is no AccessSets, block no Block, or the two differ in size.
    """
    need_access("access", access)
    block = access.exact_for if block is None else block
    if block is not None:
        need_block("block", block)
        door.integer("number of transactions of the access sets", access.n_tx, block.n_tx, block.n_tx)
    return block


def chains_of(n_tx: int, block: AnyBlock | None) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """`sender_chains` of a block; without one every transaction is its own sender's first and only one."""
    if block is None:
        return np.arange(n_tx, dtype=np.int32), np.full(n_tx, -1, np.int32)
    return sender_chains(block.sender, block.nonce)


def sender_numbers(first: NDArray[np.int32], next_of: NDArray[np.int32]) -> NDArray[np.int32]:
    """(n_tx,) int32: the place in `first` of each transaction's sender.

    Raises
    ------
    BlockError
        If `first` and `next_of` are not as `sender_chains` makes them.

    Examples
    --------
    >>> sender_numbers(np.array([1, 2], np.int32), np.array([-1, -1, 0], np.int32)).tolist()
    [1, 0, 1]
    """
    first, next_of = checked_senders(first, next_of)
    number = np.full(len(next_of), -1, np.int32)
    at, who = first, np.arange(len(first), dtype=np.int32)
    while len(at):  # as many steps as the longest chain has transactions, each over the chains that go on
        number[at] = who
        at, who = next_of[at], who[next_of[at] >= 0]
        at = at[at >= 0]
    return number


def with_senders(access: AccessSets, first: NDArray[np.int32], next_of: NDArray[np.int32]) -> AccessSets:
    """The access sets with one more key for each sender of several transactions, which all of these write.

    The ids of the new keys follow the old ones. Without such senders: the access sets themselves.

    Raises
    ------
    BlockError
        If access is no AccessSets, or `first` and `next_of` are not as `sender_chains` makes them for it.

    Examples
    --------
    >>> access = AccessSets.from_dicts([{0: 1}, {}, {0: 1}], n_keys=1)
    >>> with_senders(access, np.array([1, 2], np.int32), np.array([-1, -1, 0], np.int32))[2]
    {0: <Mode.READ: 1>, 1: <Mode.WRITE: 2>}
    """
    need_access("access", access)
    first, next_of = checked_senders(first, next_of)
    door.array("next_of", next_of, np.int32, (access.n_tx,))
    several = next_of[first] >= 0
    if not several.any():
        return access
    key = np.cumsum(several) - 1 + access.n_keys
    number = sender_numbers(first, next_of)
    extra = several[number].astype(np.int64)
    indptr = access.indptr + np.concatenate([[0], np.cumsum(extra)])
    last = indptr[1:][extra > 0] - 1
    old = np.ones(indptr[-1], bool)
    old[last] = False
    keys, modes = np.empty(len(old), np.int32), np.full(len(old), 2, np.uint8)
    keys[old], modes[old] = access.keys, access.modes
    keys[last] = key[number[extra > 0]]
    return AccessSets.trusted(access.n_keys + int(several.sum()), indptr, keys, modes)
