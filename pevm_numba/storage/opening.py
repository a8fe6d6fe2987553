"""Stores by the name of their backend."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from .. import door
from ..errors import StoreError, UsageError
from .lmdb import LmdbStore
from .memory import MemoryStore
from .mmap import MmapStore
from .places import place_of
from .rocksdb import RocksdbStore
from .sqlite import SqliteStore
from .store import Store

__all__ = ["BACKENDS", "MODES", "backend_of", "open_store"]

_Maker = Callable[..., Store]
#: Backend -> what makes one; all but sqlite are folders.
_MAKERS: Final[dict[str, _Maker]] = {
    "mmap": MmapStore, "rocksdb": RocksdbStore, "lmdb": LmdbStore, "sqlite": SqliteStore,
}  # fmt: skip
BACKENDS: Final = ("memory", *_MAKERS)
MODES: Final = ("r", "w", "c", "x")
#: What is in a folder of a backend, and in no other's.
_MARKS: Final = (("pevm_numba.state", "mmap"), ("data.mdb", "lmdb"), ("CURRENT", "rocksdb"))


def backend_of(path: Path) -> str | None:
    """The backend of the store at a path; None if there is nothing that looks like one."""
    if path.is_dir():
        return next((backend for mark, backend in _MARKS if (path / mark).exists()), None)
    if path.is_file():
        with open(path, "rb") as file:
            return "sqlite" if file.read(16) == b"SQLite format 3\0" else None
    return None


def open_store(
    path: str | os.PathLike[str] | None = None, mode: str = "c", *, backend: str | None = None, **options: Any
) -> Store:
    """Open a store, or make one.

    Parameters
    ----------
    path : path
        Of a file for sqlite, else of a folder; None for "memory".
    mode : {"c", "w", "r", "x"}
        "c": to read and write, made if it is not there; "w": it must be there; "x": it must not; "r": to read only.
    backend : {"memory", "mmap", "rocksdb", "lmdb", "sqlite"}, optional
        Default: that of what is there; "mmap" for a new one, and "memory" without a path.
    **options
        Of the backend: see `MmapStore`, `RocksdbStore`, `LmdbStore`, `SqliteStore`. All have ``sync``: whether a commit is
        on the disk when it returns (default) or only with the system.

    Returns
    -------
    Store
        To be closed, or used as a context.

    Raises
    ------
    StoreError
        If it is damaged, of another backend, locked by another that writes, or cannot be made.
    UsageError
        If an option is unknown, or the backend's library is not installed.
    BlockError
        If the mode or the backend is unknown, or an option has a value that it cannot have.

    Examples
    --------
    >>> import tempfile
    >>> from ..keys import KeyTable
    >>> keys = KeyTable.from_keys([(bytes(20), 0, 5)])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with open_store(f"{folder}/state", backend="mmap") as store:
    ...         store.put_many(keys, [[0] * 31 + [7]])
    ...     with open_store(f"{folder}/state", "r") as store:
    ...         int(store.get_many(keys)[0, 31])
    7
    """
    door.choice("mode", mode, MODES)
    if backend is not None:
        door.choice("backend", backend, BACKENDS)
    if path is None:
        if backend not in (None, "memory") or options:
            raise UsageError(f"path = None: only a memory store has none, and that has no options, not {backend!r}")
        return MemoryStore()
    if backend == "memory":
        raise UsageError(f"path = {door.shown(path, 80)}: a memory store has none")
    where = place_of(path)
    try:
        found = backend_of(where)
    except OSError as error:
        raise StoreError(f"{where}: cannot be opened: {error.strerror or error}") from error
    if found is None and mode in ("r", "w"):
        raise StoreError(f"{where}: " + ("is no store" if where.exists() else "there is no store"))
    if found is not None and mode == "x":
        raise StoreError(f"{where}: there is a store already")
    if found is not None and backend not in (None, found):
        raise StoreError(f"{where}: is a store of {found}: must be one of {backend}")
    return _made(where, found or backend or "mmap", mode, options)


def _made(where: Path, backend: str, mode: str, options: dict[str, Any]) -> Store:
    maker = _MAKERS[backend]
    known = maker.__init__.__kwdefaults__ or {}
    for name in options:
        if name not in known or name == "read_only":
            names = ", ".join(sorted(set(known) - {"read_only"}))
            raise UsageError(f"option {name!r}: {backend} has none of that name: one of {names}")
    new = backend != "sqlite" and not where.exists()
    try:
        if new:
            where.mkdir()
        return maker(where, read_only=mode == "r", **options)
    except BaseException as error:
        if new and where.is_dir() and not any(where.iterdir()):
            where.rmdir()
        if isinstance(error, OSError):
            raise StoreError(f"{where}: cannot be opened: {error.strerror or error}") from error
        raise
