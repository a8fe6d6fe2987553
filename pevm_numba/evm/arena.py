"""The memory that the EVM's kernels work on: buffers whose addresses stand in a context, so nobody may move or drop them.

Every table has a fixed room. What finds it full sets the status FULL and the run is thrown away: its owner makes a roomier
arena and begins anew, for nothing that kernels hold an address of can grow in place.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .._kernels.evm import layout
from .._kernels.evm.arithmetic import SCRATCH
from .._kernels.evm.frames import prepare_code
from .._kernels.evm.hashing import SPONGE
from .._kernels.evm.memory import CHECKED
from .._kernels.evm.regions import REGIONS
from ..errors import BlockError
from .forks import Fork
from .hashing import keccak
from .opcodes import packed
from .prices import prices

__all__ = ["Arena", "Room"]

#: Bytes between buffers' first bytes and multiples of this are avoided.
_ALIGN = 64


@dataclass(frozen=True)
class Room:
    """How much each table holds.

    Parameters
    ----------
    keys, codes : int
        Keys of the state (three an account, one a slot) and pieces of code, those that a run meets or makes included.
    code_bytes : int
        All code together.
    accounts, slots, journal : int
        Touched by one transaction; changes of one that can be undone.
    """

    keys: int = 1 << 14
    codes: int = 1 << 10
    code_bytes: int = 1 << 22
    accounts: int = 1 << 10
    slots: int = 1 << 13
    journal: int = 1 << 15

    def doubled(self) -> Room:
        """Twice as much of everything."""
        return replace(self, **{name: 2 * value for name, value in vars(self).items()})


def _forget(addresses: list[int]) -> None:
    for address in addresses:
        REGIONS.remove(address)


class Arena:
    """Buffers and context of one worker.

    Parameters
    ----------
    fork : Fork
    room : Room

    Notes
    -----
    `address` is the context's, what every kernel of the EVM takes first. Numbers of the context are read and written as
    items: ``arena["n_accounts"]``. Code number 0 is the empty code.

    Examples
    --------
    >>> arena = Arena(Fork.CANCUN)
    >>> arena["cold_slot"], arena.buffer("keys").nbytes >= arena["key_room"] * 64
    (2100, True)
    """

    def __init__(self, fork: Fork, room: Room | None = None) -> None:
        room = Room() if room is None else room
        self.fork, self.room = fork, room
        self._buffers: dict[str, NDArray[np.uint8]] = {}
        self._addresses: list[int] = []
        self._context = self._make("context", layout.CONTEXT.size).view(np.int64)
        self.address = int(self._context.ctypes.data)
        self._first = layout.CONTEXT.numbers
        tables = {
            "keys": (room.keys + 3) * layout.KEY.size, "values": (room.keys + 3) * 32, "n_keys": 8,
            "codes": room.codes * layout.CODE.size, "code_top": room.code_bytes, "n_codes": 8,
            "accounts": room.accounts * layout.ACCOUNT.size, "slots": room.slots * layout.SLOT.size,
            "journal": room.journal * layout.JOURNAL.size, "scratch": 2 * SCRATCH, "sponge": -(-SPONGE // 64) * 64,
            "opcodes": 256 * 8,
        }  # fmt: skip
        for name, size in tables.items():
            self[name] = self._make(name, size).ctypes.data
        for name, entries in (("key", room.keys), ("code", room.codes), ("account", room.accounts), ("slot", room.slots)):
            size = 1 << (2 * entries).bit_length()
            self[f"{name}_table"] = self._make(f"{name}_table", 8 * size).ctypes.data
            self[f"{name}_mask"] = size - 1
        for name in ("keys", "codes", "accounts", "slots", "journal"):
            self[f"{name.removesuffix('s')}_room"] = getattr(room, name)
        self["code_end"] = self["code_top"] + room.code_bytes
        self["fork"] = int(fork)
        for name, gas in prices(fork).items():
            self[name] = gas
        self.buffer("opcodes").view(np.int64)[:] = packed(fork)
        self.buffer("n_codes").view(np.int64)[0] = 0
        self.add_code(b"")
        self._finalizer = weakref.finalize(self, _forget, self._addresses)

    def _make(self, name: str, size: int) -> NDArray[np.uint8]:
        raw = np.zeros(size + _ALIGN, np.uint8)
        shift = -raw.ctypes.data % _ALIGN
        buffer = raw[shift : shift + size]
        self._buffers[name] = buffer
        if CHECKED:
            REGIONS.add(buffer.ctypes.data, size)
            self._addresses.append(buffer.ctypes.data)
        return buffer

    def buffer(self, name: str) -> NDArray[np.uint8]:
        """The bytes of a table."""
        return self._buffers[name]

    def __getitem__(self, name: str) -> int:
        return int(self._context[self._first[name] // 8])

    def __setitem__(self, name: str, value: int) -> None:
        self._context[self._first[name] // 8] = value

    def add_code(self, code: bytes) -> int:
        """Number of a piece of code, which is added if it is not there yet.

        Raises
        ------
        BlockError
            If there is no room.
        """
        digest = int.from_bytes(keccak(code), "big")
        number = int(self.buffer("n_codes").view(np.int64)[0])
        records = self.buffer("codes").reshape(-1, layout.CODE.size)
        known = records[:number, :32]
        word = np.frombuffer(digest.to_bytes(32, "little"), np.uint8)
        same = np.flatnonzero((known == word).all(axis=1))
        if len(same):
            return int(same[0])
        size = (2 * len(code) + 40 + 63) // 64 * 64  # behind it 40 zeros and its jump destinations
        if number >= self.room.codes or self["code_top"] + size > self["code_end"]:
            raise BlockError(f"code of {len(code)} bytes: no room left for {number + 1} pieces of code")
        start = self["code_top"] - self.buffer("code_top").ctypes.data
        self.buffer("code_top")[start : start + len(code)] = np.frombuffer(code, np.uint8)
        prepare_code(self["code_top"], len(code))
        numbers = records[number, 32:].view(np.int64)
        numbers[:3] = self["code_top"], len(code), 0
        records[number, :32] = word
        self["code_top"] += size
        self.buffer("n_codes").view(np.int64)[0] = number + 1
        if number:
            _insert(self.buffer("code_table").view(np.int64), self["code_mask"], word, 0, number)
        return number

    def words(self, name: str) -> NDArray[np.uint64]:
        """A table of words as limbs, (n, 4) uint64."""
        return self.buffer(name).view(np.uint64).reshape(-1, 4)


def _insert(table: NDArray[np.int64], mask: int, word: NDArray[np.uint8], salt: int, entry: int) -> None:
    """Put an entry into an open table, where `memory.hash_word` looks for it."""
    mixed = salt
    for limb in word.view(np.uint64).tolist():
        mixed = (mixed ^ limb) * 0x9E3779B97F4A7C15 % (1 << 64)
        mixed ^= mixed >> 32
    place = mixed & mask
    while table[place]:
        place = (place + 1) & mask
    table[place] = entry

