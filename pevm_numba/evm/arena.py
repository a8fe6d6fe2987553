"""The memory that the EVM's kernels work on: buffers whose addresses stand in a context, so nobody may move or drop them.

Every table has a fixed room. What finds it full sets the status FULL and the run is thrown away: its owner makes a roomier
arena and begins anew, for nothing that kernels hold an address of can grow in place.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .._kernels.evm import layout
from .._kernels.evm.arithmetic import SCRATCH
from .._kernels.evm.curve import CURVE_ROOM
from .._kernels.evm.frames import DEPTH_LIMIT, add_code
from .._kernels.evm.hashing import SPONGE
from .._kernels.evm.memory import CHECKED
from .._kernels.evm.native import NATIVE_ROOM
from .._kernels.evm.regions import REGIONS
from .._kernels.evm.scheduling import HELD
from .._kernels.evm.versions import FINGERS
from ..door import integer
from .forks import Fork
from .hashing import EMPTY_HASH
from .opcodes import ENVIRONMENT, NEVER, STACK_LIMIT, deferred, packed
from .prices import prices

__all__ = ["Arena", "Room"]

#: Buffers begin at multiples of this many bytes, a line of the cache.
_ALIGN: Final = 64

#: Buffers that are written before they are read: to clear them took 17 ms of the 20 of a short transaction (measured).
_UNSET: Final = frozenset((
    "keys", "codes", "code_top", "accounts", "slots", "journal", "frames", "stack", "memory", "returned", "logs", "log_data",
    "notes", "cells",
))  # fmt: skip

#: Counts of bytes, and how far they grow.
_IN_BYTES: Final = frozenset(("code_bytes", "log_bytes", "memory", "returned"))
_MOST_BYTES: Final = 1 << 31

#: What workers share.
_SHARED: Final = ("keys", "values", "n_keys", "codes", "n_codes", "opcodes", "block_hashes", "lock")
_SHARED_TABLES: Final = ("key", "code")


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
        Met by one transaction; changes of one that can be undone.
    logs, log_bytes : int
        Of all transactions together.
    notes, cells : int
        What all transactions together have read and changed; only where that is kept.
    memory, returned : int
        Bytes of all calls in progress together, and of what a call returns.
    """

    keys: int = 1 << 14
    codes: int = 1 << 10
    code_bytes: int = 1 << 22
    accounts: int = 1 << 10
    slots: int = 1 << 13
    journal: int = 1 << 15
    logs: int = 1 << 10
    log_bytes: int = 1 << 20
    notes: int = 1 << 8
    cells: int = 1 << 8
    memory: int = 1 << 24
    returned: int = 1 << 22

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            integer(name, value, 64 if name == "returned" else 1, 2**40)

    def doubled(self) -> Room:
        """Twice as much of everything; of bytes no more than 2 GiB, which no gas of a block buys."""
        return replace(self, **{
            name: min(2 * value, max(value, _MOST_BYTES)) if name in _IN_BYTES else 2 * value
            for name, value in vars(self).items()
        })  # fmt: skip


def _forget(addresses: list[int]) -> None:
    for address in addresses:
        REGIONS.remove(address)


class Arena:
    """Buffers and context of one worker.

    Parameters
    ----------
    fork : Fork
    room : Room
    beside : Arena, optional
        Of another worker, whose keys, values and codes this one shares: also its room for them.

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

    def __init__(self, fork: Fork, room: Room | None = None, beside: Arena | None = None) -> None:
        room = beside.room if beside is not None else Room() if room is None else room
        self.fork: Fork = fork
        self.room: Room = room
        self._buffers: dict[str, NDArray[np.uint8]] = {}
        self._addresses: list[int] = []
        self._context = self.allocate("context", layout.CONTEXT.size).view(np.int64)
        self.address = int(self._context.ctypes.data)
        self._first = layout.CONTEXT.numbers
        self._make_tables(room, beside)
        for name in ("keys", "codes", "accounts", "slots", "journal", "logs"):
            self[f"{name.removesuffix('s')}_room"] = getattr(room, name)
        self["returned_room"] = room.returned
        ends = {
            "code": ("code_top", room.code_bytes), "memory": ("memory", room.memory), "log": ("log_data", room.log_bytes),
            "note": ("notes", room.notes * layout.NOTE.size), "cell": ("cells", room.cells * layout.CELL.size),
        }  # fmt: skip
        for name, (table, size) in ends.items():
            self[f"{name}_end"] = self[table] + size
        self["fork"] = int(fork)
        for name, gas in prices(fork).items():
            self[name] = gas
        #: What tables of opcodes say when nobody has changed them.
        self._opcodes: dict[str, NDArray[np.int64]] = {}
        if beside is None:
            self._opcodes["opcodes"] = np.array(packed(fork), np.int64)
            self.allow_opcodes()
            self._set_empty_code()
        self._finalizer = weakref.finalize(self, _forget, self._addresses)

    def _make_tables(self, room: Room, beside: Arena | None) -> None:
        tables = {
            "keys": (room.keys + 3) * layout.KEY.size, "values": (room.keys + 3) * 32, "n_keys": 64,
            "codes": room.codes * layout.CODE.size, "code_top": room.code_bytes, "n_codes": 64, "lock": 64,
            "accounts": room.accounts * layout.ACCOUNT.size, "slots": room.slots * layout.SLOT.size,
            "journal": room.journal * layout.JOURNAL.size, "scratch": 2 * SCRATCH, "sponge": -(-SPONGE // 64) * 64,
            "opcodes": 256 * 8, "native": NATIVE_ROOM, "curve": CURVE_ROOM, "held": 8 * HELD, "fingers": 8 * FINGERS,
            "frames": (DEPTH_LIMIT + 2) * layout.FRAME.size, "stack": (DEPTH_LIMIT + 2) * STACK_LIMIT * 32,
            "memory": room.memory, "returned": room.returned, "logs": room.logs * layout.LOG.size,
            "log_data": room.log_bytes, "environment": len(ENVIRONMENT) * 32, "block_hashes": 256 * 32,
            "notes": room.notes * layout.NOTE.size, "cells": room.cells * layout.CELL.size,
            "marks": (room.keys + 3) * 8,
        }  # fmt: skip
        for name, size in tables.items():
            self._make_table(name, size, beside if name in _SHARED else None)
        for name, entries in (("key", room.keys), ("code", room.codes), ("account", room.accounts), ("slot", room.slots)):
            size = 1 << (2 * entries).bit_length()
            self._make_table(f"{name}_table", 8 * size, beside if name in _SHARED_TABLES else None)
            self[f"{name}_mask"] = size - 1

    def _make_table(self, name: str, size: int, owner: Arena | None) -> None:
        if owner is None:
            self[name] = self.allocate(name, size).ctypes.data
        else:
            self._buffers[name] = owner.buffer(name)
            self[name] = owner[name]

    def _set_empty_code(self) -> None:
        """Number 0, which no table of codes has."""
        record = self.buffer("codes")[: layout.CODE.size]
        record[:32] = np.frombuffer(EMPTY_HASH[::-1], np.uint8)
        record[32:48].view(np.int64)[:] = self["code_top"], 0
        self.buffer("code_top")[:_ALIGN] = 0
        self["code_top"] += _ALIGN
        self.buffer("n_codes").view(np.int64)[0] = 1

    def allocate(self, name: str, size: int) -> NDArray[np.uint8]:
        """Bytes that kernels may touch, kept under a name; what had the name before is dropped. Zeros, but for `_UNSET`."""
        if name in self._buffers:
            self._drop(name)
        raw = (np.empty if name in _UNSET else np.zeros)(size + _ALIGN, np.uint8)
        shift = -raw.ctypes.data % _ALIGN
        buffer = raw[shift : shift + size]
        self._buffers[name] = buffer
        if CHECKED:
            REGIONS.add(buffer.ctypes.data, size)
            self._addresses.append(buffer.ctypes.data)
        return buffer

    def _drop(self, name: str) -> None:
        address = self._buffers.pop(name).ctypes.data
        if address in self._addresses:
            self._addresses.remove(address)
            REGIONS.remove(address)

    def buffer(self, name: str) -> NDArray[np.uint8]:
        """The bytes of a table."""
        return self._buffers[name]

    def __getitem__(self, name: str) -> int:
        return int(self._context[self._first[name] // 8])

    def __setitem__(self, name: str, value: int) -> None:
        self._context[self._first[name] // 8] = value

    def add_code(self, code: bytes) -> int:
        """Number of a piece of code, which is added if it is not there yet; status FULL if there is no room."""
        source = self.allocate("added", len(code))
        source[:] = np.frombuffer(code, np.uint8)
        return int(add_code(self.address, source.ctypes.data, len(code)))

    def step(self, on: bool = True, *, shown: bool = False) -> None:
        """Count steps from here on (``arena["steps"]``), or no more; if they are `shown`, suspend before each.

        The interpreter gets a table in which no opcode passes its first test, and looks again in the real one: who is not
        watched pays nothing.
        """
        if not on:
            table = self.buffer("deferred" if self["lazy"] else "opcodes")
            self["opcodes"], self["stepping"], self["shows"] = int(table.ctypes.data), 0, 0
            if self["lazy"]:
                self["stepping"] = int(self.buffer("opcodes").ctypes.data)
            return
        self["stepping"], self["shows"], self["steps"] = int(self.buffer("opcodes").ctypes.data), int(shown), 0
        table = self.allocate("stepping", 256 * 8)
        table.view(np.int64)[:] = NEVER
        self["opcodes"] = int(table.ctypes.data)

    def defer(self) -> None:
        """From here on suspend before what needs a key that has not been fetched."""
        self.allocate("deferred", 256 * 8)
        self._opcodes["deferred"] = np.array(deferred(self.fork), np.int64)
        self.allow_opcodes()
        self["lazy"] = 1
        self.step(False)

    def allow_opcodes(self, allowed: bool = True) -> None:
        """Let the machine know the fork's opcodes, or none any more, so that calls in progress end at their next one."""
        for name, table in self._opcodes.items():
            self.buffer(name).view(np.int64)[:] = table if allowed else NEVER

    def words(self, name: str) -> NDArray[np.uint64]:
        """A table of words as limbs, (n, 4) uint64."""
        return self.buffer(name).view(np.uint64).reshape(-1, 4)
