"""Which dependencies count: published figures differ mostly for this reason, so every analysis takes these parameters.

Anything short of the full definition (all fields, slots, commutative credits) is for analysis: executors may use it as
an imperfect oracle, never as the truth.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .. import door
from .._kernels import access as _k
from .._kernels.jit import inputs
from ..block import Block
from ..errors import BlockError
from ..evm.block import AnyBlock, need_block
from ..keys import Keys, KeyTable
from ..machine.ops import Field, Mode
from .sets import AccessSets, need_access

__all__ = ["FEE_RECIPIENT", "GRANULARITIES", "account_ids", "select"]

#: What a key is: a slot (or balance, nonce, code), or the whole account.
GRANULARITIES: Final = ("slot", "account")
#: How credits, of the fee recipient above all, count.
FEE_RECIPIENT: Final = ("commutative", "plain", "ignored")


def select(
    access: AccessSets,
    block: AnyBlock,
    *,
    fields: Iterable[str | int] | None = None,
    granularity: str = "slot",
    fee_recipient: str = "commutative",
) -> AccessSets:
    """Keep the dependencies that an analysis wants to count.

    Parameters
    ----------
    access : AccessSets
        Over the keys of `block`; of an EVM block with a `table` of them.
    block : Block or EvmBlock
    fields : iterable of str, int or Field, optional
        Keep accesses of these fields only ("storage", "balance", "nonce", "code"); default all.
    granularity : str
        "slot": keys as they are. "account": keys become accounts, numbered as in `account_ids`; an account's mode holds
        the bits of all its keys.
    fee_recipient : str
        "commutative": credits stay CREDIT, so two credits of one balance do not conflict. "plain": every CREDIT, the
        fee recipient's and any other, becomes READ|WRITE, as if it were read and written. "ignored": accesses of the
        balance of the block's fee recipient are dropped, other credits stay CREDIT.

    Returns
    -------
    AccessSets
        With the same ``n_keys``, or the number of accounts.

    Raises
    ------
    BlockError
        If the sets are not of this block, a name is unknown, or "ignored" meets a block without a fee recipient.

    Notes
    -----
    Linear in accesses and keys.

    Examples
    --------
    >>> block = Block.from_programs([[("CREDIT", (5, 1, 0), 1), ("SLOAD", (5, 0, 7))]])
    >>> everything = AccessSets.from_dicts([{0: Mode.CREDIT, 1: Mode.READ}], n_keys=2)
    >>> select(everything, block, fields=["balance"], fee_recipient="plain")[0]
    {0: <Mode.READ|WRITE: 3>}
    >>> select(everything, block, granularity="account")[0]
    {0: <Mode.READ|CREDIT: 5>}
    """
    need_access("access", access)
    need_block("block", block)
    names = _names(access, block)
    door.choice("granularity", granularity, GRANULARITIES)
    door.choice("fee_recipient", fee_recipient, FEE_RECIPIENT)
    if isinstance(names, KeyTable) and names.whole and (fields is not None or fee_recipient == "ignored"):
        raise BlockError("access sets of whole accounts: which fields an access was of is not known any more")
    keep = np.ones(access.n_keys, bool) if fields is None else np.isin(names.key_field, _fields(fields))
    if fee_recipient == "ignored":
        keep &= ~_fee_balance(block, names)
    if fee_recipient == "plain" or not keep.all():
        access = _filtered(access, keep, plain=fee_recipient == "plain")
    return _by_account(access, names) if granularity == "account" else access


def _names(access: AccessSets, block: AnyBlock) -> Keys:
    """What the key ids stand for."""
    names = access.names(block)
    if access.n_tx != block.n_tx or names is None:
        text = f"{access.n_tx} transactions and {access.n_keys} keys"
        keys = f" and {block.n_keys}" if isinstance(block, Block) else " transactions, with a table of their keys"
        raise BlockError(f"access sets of {text}: must be of the block's {block.n_tx}{keys}")
    return names


def account_ids(keys: Keys) -> NDArray[np.int32]:
    """Account number of each key, (n_keys,) int32: dense, in order of the first key of each address.

    Parameters
    ----------
    keys : Block or KeyTable
    """
    if not isinstance(keys, Block):
        return _numbered(keys)
    if "account_ids" not in keys._derived:
        keys._derived["account_ids"] = _numbered(keys)
    return keys._derived["account_ids"]


def _numbered(keys: Keys) -> NDArray[np.int32]:
    nothing = np.zeros(keys.n_keys, np.uint8), np.zeros((keys.n_keys, 32), np.uint8)
    ids, _ = door.intern_rows(keys.key_address, *nothing)
    ids.flags.writeable = False
    return ids


def _fields(fields: Iterable[str | int]) -> list[int]:
    chosen = []
    for item in door.items("fields", [fields] if isinstance(fields, str) else fields, "field names or numbers"):
        if isinstance(item, str):
            if item.upper() not in Field.__members__:
                raise BlockError(f"field {item!r} is unknown: one of {', '.join(Field.__members__).lower()}")
            chosen.append(int(Field[item.upper()]))
        else:
            chosen.append(door.integer("field", item, 0, max(Field)))
    return chosen


def _fee_balance(block: AnyBlock, names: Keys) -> NDArray[np.bool_]:
    """True at the fee recipient's balance."""
    recipient = block.header.fee_recipient if isinstance(block, Block) else block.env.fee_recipient
    if recipient is None:
        raise BlockError(f"fee_recipient = 'ignored': block {block.number} does not name its fee recipient")
    address = np.frombuffer(recipient, np.uint8)
    return (names.key_field == Field.BALANCE) & (names.key_address == address).all(axis=1)


def _filtered(access: AccessSets, keep: NDArray[np.bool_], *, plain: bool) -> AccessSets:
    new_mode = np.arange(8, dtype=np.uint8)
    if plain:
        new_mode[4:] = (new_mode[4:] & ~np.uint8(Mode.CREDIT)) | np.uint8(Mode.READ | Mode.WRITE)
    indptr = np.empty(access.n_tx + 1, np.int64)
    keys, modes = np.empty(access.n_accesses, np.int32), np.empty(access.n_accesses, np.uint8)
    given = inputs(access.indptr, access.keys, access.modes, new_mode, keep)
    total = _k.select_sets(*given, indptr, keys, modes)
    return AccessSets.trusted(access.n_keys, indptr, keys[:total].copy(), modes[:total].copy(), table=access.table)


def _by_account(access: AccessSets, names: Keys) -> AccessSets:
    ids = account_ids(names)
    n_accounts = int(ids.max(initial=-1)) + 1
    accounts = ids[access.keys]
    made = merged(n_accounts, (access.indptr, accounts, access.modes))
    if access.table is None:
        return made
    address = np.empty((n_accounts, 20), np.uint8)
    address[ids] = names.key_address
    table = KeyTable(address, np.zeros(n_accounts, np.uint8), np.zeros((n_accounts, 32), np.uint8), whole=True)
    return AccessSets.trusted(n_accounts, made.indptr, made.keys, made.modes, table=table)


def merged(
    n_keys: int,
    first: tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.uint8]],
    second: tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.uint8]] | None = None,
) -> AccessSets:
    """Access sets from one or two CSRs of keys and modes, in any order, with repeats."""
    if second is None:
        second = np.zeros_like(first[0]), np.zeros(0, np.int32), np.zeros(0, np.uint8)
    room = len(first[1]) + len(second[1])
    indptr, keys, modes = np.empty(len(first[0]), np.int64), np.empty(room, np.int32), np.empty(room, np.uint8)
    total = _k.merge_sets(*inputs(*first, *second), n_keys, indptr, keys, modes)
    return AccessSets.trusted(n_keys, indptr, keys[:total].copy(), modes[:total].copy())
