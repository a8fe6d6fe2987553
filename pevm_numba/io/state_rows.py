"""What a state has that another has not, as keys and values: so that a file keeps what a block changed, and no more."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..evm.hashing import keccak
from ..evm.world import AccountState
from ..machine.ops import Field

__all__ = ["StateRows", "account_states", "state_rows", "with_rows"]

_NOTHING: Final = AccountState(0, 0, b"", {})


class StateRows(NamedTuple):
    """Keys whose values differ, in the order of address, field and slot: columns of n rows.

    `known` says which values are there: a slot without one is gone, and an account whose balance has none is gone as a
    whole. An account that is new has its balance listed in any case. The value of a code is its hash.
    """

    address: NDArray[np.uint8]
    field: NDArray[np.uint8]
    slot: NDArray[np.uint8]
    value: NDArray[np.uint8]
    known: NDArray[np.bool_]


def account_states(given: Mapping[bytes, AccountState]) -> dict[bytes, AccountState]:
    """The accounts of a block's state as an execution has them: without slots that are 0."""
    return {
        address: one if all(one.storage.values()) else one._replace(storage={k: v for k, v in one.storage.items() if v})
        for address, one in given.items()
    }


def state_rows(
    before: Mapping[bytes, AccountState], after: Mapping[bytes, AccountState]
) -> tuple[StateRows, dict[bytes, bytes]]:
    """What makes one state of another, and the codes among it by their hash.

    Examples
    --------
    >>> before = {bytes(20): AccountState(5, 0, b"", {1: 7, 2: 8})}
    >>> rows, codes = state_rows(before, {bytes(20): AccountState(6, 0, b"", {1: 7})})
    >>> [Field(field).name for field in rows.field], rows.value[:, -1].tolist(), rows.known.tolist(), codes
    (['STORAGE', 'BALANCE'], [0, 6], [False, True], {})
    """
    found: list[tuple[bytes, Field, int, int | None]] = []
    codes: dict[bytes, bytes] = {}
    for address in sorted(before.keys() | after.keys()):
        old, new = before.get(address), after.get(address)
        if new is None:
            found.append((address, Field.BALANCE, 0, None))
        elif old != new:
            found += [(address, *row) for row in _account_rows(old, new, codes)]
    return StateRows(
        _bytes((row[0] for row in found), 20), np.array([row[1] for row in found], np.uint8),
        _bytes((row[2].to_bytes(32, "big") for row in found), 32),
        _bytes(((row[3] or 0).to_bytes(32, "big") for row in found), 32),
        np.array([row[3] is not None for row in found], bool),
    ), codes  # fmt: skip


def _bytes(rows: Any, width: int) -> NDArray[np.uint8]:
    return np.frombuffer(b"".join(rows), np.uint8).reshape(-1, width)


def _account_rows(
    old: AccountState | None, new: AccountState, codes: dict[bytes, bytes]
) -> list[tuple[Field, int, int | None]]:
    """What differs in one account: field, slot and value; its code is added to `codes`."""
    had = _NOTHING if old is None else old
    rows: list[tuple[Field, int, int | None]] = [
        (Field.STORAGE, slot, new.storage.get(slot))
        for slot in sorted(had.storage.keys() | new.storage.keys())
        if had.storage.get(slot) != new.storage.get(slot)
    ]
    if old is None or had.balance != new.balance:
        rows.append((Field.BALANCE, 0, new.balance))
    if had.nonce != new.nonce:
        rows.append((Field.NONCE, 0, new.nonce))
    if had.code != new.code:
        digest = keccak(new.code) if new.code else bytes(32)
        if new.code:
            codes[digest] = new.code
        rows.append((Field.CODE, 0, int.from_bytes(digest, "big")))
    return rows


def with_rows(
    before: Mapping[bytes, AccountState], rows: StateRows, codes: Mapping[bytes, bytes]
) -> dict[bytes, AccountState]:
    """The other state, the opposite of `state_rows`.

    Parameters
    ----------
    before : mapping of bytes to AccountState
        Is left as it is.
    rows : StateRows
        Those of an account one after the other.
    codes : mapping of bytes to bytes
        By hash, of all codes among the rows.

    Examples
    --------
    >>> before, after = {bytes(20): AccountState(5, 0, b"", {1: 7})}, {b"a" * 20: AccountState(0, 1, b"code", {})}
    >>> with_rows(before, *state_rows(before, after)) == after
    True
    """
    made = dict(before)
    keys = zip(rows.address, rows.field.tolist(), rows.slot, rows.value, rows.known.tolist())
    for address, group in groupby(keys, lambda row: row[0].tobytes()):
        account = made.get(address, _NOTHING)
        storage: dict[int, int] | None = None
        for _, field, slot, word, known in group:
            value = int.from_bytes(word.tobytes(), "big")
            if field == Field.STORAGE:
                storage = dict(account.storage) if storage is None else storage
                number = int.from_bytes(slot.tobytes(), "big")
                if known:
                    storage[number] = value
                else:
                    storage.pop(number, None)
            elif not known:
                made.pop(address, None)
                break
            elif field == Field.CODE:
                account = account._replace(code=codes[word.tobytes()])
            elif field == Field.NONCE:
                account = account._replace(nonce=value)
            else:
                account = account._replace(balance=value)
        else:
            made[address] = account if storage is None else account._replace(storage=storage)
    return made
