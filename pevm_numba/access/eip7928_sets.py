"""Access sets from a block access list alone (EIP-7928). Reads carry no transaction there, so there are only bounds.

What a list tells is who changed what. Who read what others change it does not tell, and what nobody changed never matters.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from .. import door
from ..evm.observation import EvmAccessList
from ..machine.ops import Field, Mode
from .eip7928 import Eip7928List
from .eip7928_build import changes_of_evm
from .sets import AccessSets
from .view import merged

__all__ = ["READS", "sets_of_list"]

#: Whom reads of what others change are charged to, fewest conflicts first; see `sets_of_list`.
READS: Final = ("nobody", "writer", "account", "everybody")


def _fixed(changes: EvmAccessList) -> NDArray[np.bool_]:
    """Which changes are no mere credits: all but balances; those that fall, from the change before; those of who pays.

    Who pays changes his nonce, but so do creators and who has signed a delegation: only if nobody else does, it is he.
    """
    tx = np.repeat(np.arange(changes.n_tx), np.diff(changes.indptr))
    field, account = changes.keys.field[changes.key], _owner(changes)[changes.key]
    nonce = np.flatnonzero(field == Field.NONCE)
    sender = np.full(changes.n_tx, -1, np.int64)
    sender[tx[nonce]] = account[nonce]
    sender[np.bincount(tx[nonce], minlength=changes.n_tx) > 1] = -1
    fixed = (field != Field.BALANCE) | (account == sender[tx])
    last: dict[int, bytes] = {}
    for i in np.flatnonzero(field == Field.BALANCE).tolist():
        key, value = int(changes.key[i]), changes.values[i].tobytes()
        fixed[i] |= value < last.get(key, b"")
        last[key] = value
    return fixed


def _owner(changes: EvmAccessList) -> NDArray[np.int64]:
    """The account of each key, by number."""
    text = np.ascontiguousarray(changes.keys.address).view("S20").reshape(-1)
    return np.unique(text, return_inverse=True)[1].reshape(-1)


def sets_of_list(listed: Eip7928List, n_tx: int, reads: str = "writer") -> AccessSets:
    """What each transaction accesses, as far as its block's list tells.

    Parameters
    ----------
    listed : Eip7928List
    n_tx : int
        Transactions of the block.
    reads : str
        "nobody": what a transaction changes it only writes: a lower bound. "writer": it has read it before, as most do, which
        are the same conflicts, but tells from whom values come (``edges="raw"``). "account": who changes anything of an
        account's storage has read all of it that changes in the block: a guess. "everybody": each transaction has read all
        that changes: an upper bound.

    Returns
    -------
    AccessSets
        Over the list's keys. A balance is added to (CREDIT) unless it is less than after the change before, or its account
        is the only one of which the transaction changes the nonce: that pays for it.

    Raises
    ------
    BlockError
        If `reads` is none of these.
    RuleError
        INDEX_BEYOND, if the list is of a block of more transactions.

    Notes
    -----
    Of a block of the EVM, who conflicts by "nobody" does conflict, and who conflicts does so by "everybody": by all keys, and
    by those of storage. That bound is wide, as nothing in a list says that a transaction did not call a contract, or look at
    a balance: by all keys it is the block, one transaction after the other; by those of storage, whoever changes some waits
    for all before, and all after wait for him. It takes n_tx times as many entries as keys change. Executors take all of
    these as hints.

    References
    ----------
    EIP-7928.

    Examples
    --------
    >>> from .eip7928 import AccountChanges
    >>> slots = ((5, ((1, 7),)), (6, ((2, 9),)))
    >>> listed = Eip7928List.from_accounts([AccountChanges(bytes(20), slots, (), ((1, 4), (2, 5)))])
    >>> for reads in READS[:3]:
    ...     print(reads, [[mode.name for mode in one.values()] for one in sets_of_list(listed, 2, reads)])
    nobody [['WRITE', 'CREDIT'], ['WRITE', 'CREDIT']]
    writer [['READ|WRITE', 'CREDIT'], ['READ|WRITE', 'CREDIT']]
    account [['READ|WRITE', 'READ', 'CREDIT'], ['READ', 'READ|WRITE', 'CREDIT']]
    >>> [mode.name for mode in sets_of_list(listed, 3, "everybody")[2].values()]
    ['READ', 'READ', 'READ']
    """
    door.instance("listed", listed, Eip7928List)
    n_tx = door.integer("n_tx", n_tx, 0, 2**31 - 1)
    door.choice("reads", reads, READS)
    listed.check(n_tx=n_tx)
    changes = changes_of_evm(listed, n_tx)
    write = int(Mode.WRITE) if reads == "nobody" else int(Mode.READ | Mode.WRITE)
    modes = np.where(_fixed(changes), write, int(Mode.CREDIT)).astype(np.uint8)
    more = {"account": _all_slots, "everybody": _all_keys}.get(reads)
    sets = merged(len(changes.keys), (changes.indptr, changes.key, modes), None if more is None else more(changes))
    return AccessSets.trusted(sets.n_keys, sets.indptr, sets.keys, sets.modes, table=changes.keys)


def _all_keys(changes: EvmAccessList) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.uint8]]:
    """Of each transaction all keys that change."""
    changed, n = np.unique(changes.key), changes.n_tx
    return np.arange(n + 1) * len(changed), np.tile(changed, n), np.full(n * len(changed), int(Mode.READ), np.uint8)


def _all_slots(changes: EvmAccessList) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.uint8]]:
    """Of each transaction the slots that change in accounts of which it changes one."""
    slots = np.unique(changes.key[changes.keys.field[changes.key] == Field.STORAGE])
    owner = _owner(changes)
    of_account: dict[int, list[int]] = {}
    for slot in slots.tolist():
        of_account.setdefault(int(owner[slot]), []).append(slot)
    is_slot = changes.keys.field == Field.STORAGE
    keys, ends = list[int](), [0]
    for t in range(changes.n_tx):
        touched = {int(owner[k]) for _, k in changes.entries(t) if is_slot[k]}
        keys += sorted(slot for account in touched for slot in of_account[account])
        ends.append(len(keys))
    return np.array(ends, np.int64), np.array(keys, np.int32), np.full(len(keys), int(Mode.READ), np.uint8)
