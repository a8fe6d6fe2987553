"""What key ids stand for. A block of micro-ops knows its keys beforehand; those of an EVM block are met when it runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from . import door
from .errors import BlockError
from .machine.ops import Field

__all__ = ["KeyTable", "Keys", "StateChange", "name_of"]

_FIELDS: Final = tuple(Field)


class Keys(Protocol):
    """Whatever says what key ids 0, 1, … stand for: a `Block`, or a `KeyTable`."""

    @property
    def n_keys(self) -> int:
        """Number of keys."""

    @property
    def key_address(self) -> NDArray[np.uint8]:
        """(n_keys, 20) uint8."""

    @property
    def key_field(self) -> NDArray[np.uint8]:
        """(n_keys,) uint8 of `Field`."""

    @property
    def key_slot(self) -> NDArray[np.uint8]:
        """(n_keys, 32) uint8, big-endian."""

    def key_name(self, k: int) -> str:
        """Key `k` for people."""


@dataclass(frozen=True, eq=False, repr=False)
class KeyTable:
    """Keys by number: those of an execution or an estimate are ordered by address, field and slot.

    Parameters
    ----------
    address : (n, 20) uint8
    field : (n,) uint8
        `Field`.
    slot : (n, 32) uint8
        Big-endian; 0 but for storage.

    whole : bool
        Whether the numbers are of whole accounts: fields and slots then say nothing.

    Raises
    ------
    BlockError
        If an array is not as described, or a key is there twice.
    """

    address: NDArray[np.uint8]
    field: NDArray[np.uint8]
    slot: NDArray[np.uint8]
    whole: bool = False

    def __post_init__(self) -> None:
        field = door.array("field", self.field, np.uint8, (None,), high=int(max(Field)))
        address = door.array("address", self.address, np.uint8, (len(field), 20))
        slot = door.array("slot", self.slot, np.uint8, (len(field), 32))
        address, field, slot = (np.array(column, np.uint8, order="C") for column in (address, field, slot))
        if len(field) > 1:
            ids, first = door.intern_rows(address, field, slot)
            if len(first) < len(ids):
                again = int(np.flatnonzero(ids != np.arange(len(ids)))[0])
                raise BlockError(f"key {again} is key {int(first[ids[again]])} again: keys must be distinct")
        door.freeze(self, field=field, address=address, slot=slot, whole=bool(self.whole))

    @classmethod
    def trusted(cls, address: NDArray[np.uint8], field: NDArray[np.uint8], slot: NDArray[np.uint8]) -> KeyTable:
        """Freeze arrays of distinct keys that have just been made and that nobody else holds; nothing is checked."""
        made = object.__new__(cls)
        door.freeze(made, field=field, address=address, slot=slot, whole=False)
        return made

    @classmethod
    def from_keys(cls, keys: Iterable[tuple[bytes, int, int]]) -> KeyTable:
        """A table of (address, field, slot), in their order.

        Examples
        --------
        >>> KeyTable.from_keys([(bytes(20), Field.STORAGE, 5)]).key_name(0)[-8:]
        'slot 0x5'
        """
        listed = list(keys)
        for i, key in enumerate(listed):
            where, field, place = key if isinstance(key, tuple) and len(key) == 3 else (None, None, None)
            known = field in _FIELDS and isinstance(place, int | np.integer) and 0 <= place < 2**256
            if not isinstance(where, bytes) or len(where) != 20 or not known:
                raise BlockError(f"keys[{i}] = {door.shown(key)}: must be 20 bytes, a Field and a slot below 2**256")
        address = np.frombuffer(b"".join(one[0] for one in listed), np.uint8).reshape(-1, 20)
        slot = np.frombuffer(b"".join(int(one[2]).to_bytes(32, "big") for one in listed), np.uint8).reshape(-1, 32)
        return cls(address, np.array([one[1] for one in listed], np.uint8), slot)

    @property
    def n_keys(self) -> int:
        """Number of keys."""
        return len(self.field)

    @property
    def key_address(self) -> NDArray[np.uint8]:
        """`address`, as a block calls it."""
        return self.address

    @property
    def key_field(self) -> NDArray[np.uint8]:
        """`field`, as a block calls it."""
        return self.field

    @property
    def key_slot(self) -> NDArray[np.uint8]:
        """`slot`, as a block calls it."""
        return self.slot

    def key_name(self, k: int) -> str:
        """Key `k` for people."""
        return f"0x{self.address[k].tobytes().hex()}" if self.whole else name_of(self, k)

    def __len__(self) -> int:
        return len(self.field)

    def __getitem__(self, key: int) -> tuple[bytes, Field, int]:
        return self.address[key].tobytes(), Field(self.field[key]), int.from_bytes(self.slot[key].tobytes(), "big")

    def __iter__(self) -> Iterator[tuple[bytes, int, int]]:
        return (self[key] for key in range(len(self)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, KeyTable):
            return NotImplemented
        columns = ("address", "field", "slot", "whole")
        return all(np.array_equal(getattr(self, name), getattr(other, name)) for name in columns)

    __hash__ = None  # type: ignore[assignment]  # arrays compare by content

    def __repr__(self) -> str:
        return f"<KeyTable: {len(self):,} keys>"


class StateChange(NamedTuple):
    """What a block makes of the state: distinct keys, and their words after it, (n, 32) uint8 big-endian.

    The word of a code is its hash, 0 where there is none; `codes` has those that the block has put somewhere, by hash.
    """

    keys: KeyTable
    words: NDArray[np.uint8]
    codes: Mapping[bytes, bytes] = MappingProxyType({})


def name_of(keys: Keys, k: int) -> str:
    """Key `k` for people, e.g. ``0x0101…01 slot 0x5`` or ``0x0101…01 balance``.

    Examples
    --------
    >>> name_of(KeyTable(np.zeros((1, 20), np.uint8), np.ones(1, np.uint8), np.zeros((1, 32), np.uint8)), 0)[-10:]
    '00 balance'
    """
    k = door.integer("key", k, 0, keys.n_keys - 1)
    slot = keys.key_slot[k].tobytes().hex().lstrip("0") or "0"
    what = (f"slot 0x{slot}", "balance", "nonce", "code")[keys.key_field[k]]
    return f"0x{keys.key_address[k].tobytes().hex()} {what}"
