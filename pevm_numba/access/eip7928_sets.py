"""Access sets from a block access list alone (EIP-7928). Reads carry no transaction there, so there are only bounds.

What a list tells is who changed what. Who read a slot that others change it does not tell, and who only read never matters.
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

#: Whom reads of what others change are charged to; see `sets_of_list`.
READS: Final = ("nobody", "writer", "account")


def _credits(changes: EvmAccessList) -> NDArray[np.bool_]:
    """Which changes are balances that grow, as far as the list tells: from the change before."""
    balance = np.flatnonzero(changes.keys.field[changes.key] == Field.BALANCE)
    found = np.zeros(changes.n_changes, bool)
    last: dict[int, bytes] = {}
    for i in balance.tolist():
        key, value = int(changes.key[i]), changes.values[i].tobytes()
        found[i] = key not in last or value > last[key]
        last[key] = value
    return found


def _spends(changes: EvmAccessList) -> NDArray[np.bool_]:
    """Which changes are balances of accounts whose nonce the same transaction changes: they pay for it."""
    tx = np.repeat(np.arange(changes.n_tx), np.diff(changes.indptr))
    field, address = changes.keys.field[changes.key], changes.keys.address[changes.key]
    text = np.ascontiguousarray(address).view("S20").reshape(-1)
    pays = {(int(t), one) for t, one in zip(tx[field == Field.NONCE], text[field == Field.NONCE])}
    return np.array([f == Field.BALANCE and (int(t), one) in pays for t, one, f in zip(tx, text, field)], bool)


def sets_of_list(listed: Eip7928List, n_tx: int, reads: str = "writer") -> AccessSets:
    """What each transaction accesses, as far as its block's list tells.

    Parameters
    ----------
    listed : Eip7928List
    n_tx : int
        Transactions of the block.
    reads : str
        "nobody": what a transaction changes it only writes: a lower bound. "writer": it has read it before, as
        most do. "account": who changes anything of an account's storage has read all of it that changes in the block: most of
        what can be.

    Returns
    -------
    AccessSets
        Over the list's keys. A balance that grows is added to (CREDIT), unless its account pays for the transaction.

    Raises
    ------
    BlockError
        If `reads` is none of these.

    Notes
    -----
    No bound is certain from above: a transaction may read what it changes nothing of. Executors take all of them as hints.

    References
    ----------
    EIP-7928.

    Examples
    --------
    >>> from .eip7928 import AccountChanges
    >>> slots = ((5, ((1, 7),)), (6, ((2, 9),)))
    >>> listed = Eip7928List.from_accounts([AccountChanges(bytes(20), slots, (), ((1, 4), (2, 5)))])
    >>> for reads in READS:
    ...     print(reads, [[mode.name for mode in one.values()] for one in sets_of_list(listed, 2, reads)])
    nobody [['WRITE', 'CREDIT'], ['WRITE', 'CREDIT']]
    writer [['READ|WRITE', 'CREDIT'], ['READ|WRITE', 'CREDIT']]
    account [['READ|WRITE', 'READ', 'CREDIT'], ['READ', 'READ|WRITE', 'CREDIT']]
    """
    door.instance("listed", listed, Eip7928List)
    n_tx = door.integer("n_tx", n_tx, 0, 2**31 - 1)
    door.choice("reads", reads, READS)
    listed.check(n_tx=n_tx)
    changes = changes_of_evm(listed, n_tx)
    write = int(Mode.WRITE) if reads == "nobody" else int(Mode.READ | Mode.WRITE)
    grows = _credits(changes) & ~_spends(changes)
    modes = np.where(grows, int(Mode.CREDIT), write).astype(np.uint8)
    own = changes.indptr, changes.key, modes
    sets = merged(len(changes.keys), own)
    if reads == "account":
        sets = merged(len(changes.keys), own, _all_slots(changes))
    return AccessSets.trusted(sets.n_keys, sets.indptr, sets.keys, sets.modes, table=changes.keys)


def _all_slots(changes: EvmAccessList) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.uint8]]:
    """Of each transaction the slots that change in accounts of which it changes one."""
    slots = np.unique(changes.key[changes.keys.field[changes.key] == Field.STORAGE])
    _, owner = np.unique(np.ascontiguousarray(changes.keys.address).view("S20").reshape(-1), return_inverse=True)
    of_account: dict[int, list[int]] = {}
    for slot in slots.tolist():
        of_account.setdefault(int(owner.reshape(-1)[slot]), []).append(slot)
    is_slot = changes.keys.field == Field.STORAGE
    keys, ends = list[int](), [0]
    for t in range(changes.n_tx):
        touched = {int(owner.reshape(-1)[k]) for _, k in changes.entries(t) if is_slot[k]}
        keys += sorted(slot for account in touched for slot in of_account[account])
        ends.append(len(keys))
    return np.array(ends, np.int64), np.array(keys, np.int32), np.full(len(keys), int(Mode.READ), np.uint8)
