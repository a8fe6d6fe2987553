"""Paths of stores: checked, kept on the disk, and made as a whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .. import door
from ..errors import StoreError, UsageError

__all__ = ["being_made", "beside", "place_of", "synced"]


def place_of(path: str | os.PathLike[str]) -> Path:
    """`path` as a Path that can name a store.

    Raises
    ------
    UsageError
        If it cannot.
    """
    try:
        where = Path(path)
    except TypeError as error:
        raise UsageError(f"path = {door.shown(path, 80)}: not a path: {error}") from None
    if "\0" in str(where):
        raise UsageError(f"path = {door.shown(path, 80)}: not a path: it has a zero byte")
    try:
        os.fsencode(where)
    except UnicodeEncodeError:
        raise UsageError(f"path = {door.shown(path, 80)}: not a path: it has half of a character") from None
    return where


def synced(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk.

    Raises
    ------
    OSError
        If the disk refuses.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def beside(path: Path) -> list[Path]:
    """Files that SQLite takes for a part of the database at a path, if there are any with something in them."""
    found = [path.with_name(path.name + ending) for ending in ("-wal", "-journal")]
    return [one for one in found if one.exists() and one.stat().st_size]


@contextmanager
def being_made(path: Path) -> Iterator[Path]:
    """A place beside `path` where a store can be made; then it is kept on the disk, and gets that name.

    Raises
    ------
    StoreError
        If there is something at `path`, or the system refuses; nothing is left then.
    """
    folder = None
    try:
        _need_nothing(path)
        folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        made = folder / path.name
        yield made
        if beside(made):
            raise StoreError(f"{path}: cannot be written: not all of it could be put into one file")
        for found in [*made.rglob("*"), made]:
            synced(found)
        _named(made, path)
    except OSError as error:
        raise StoreError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
    try:
        synced(path.parent)
    except OSError as error:
        raise StoreError(f"{path}: is there, but the disk does not say that its name is kept: {error}") from error


def _need_nothing(path: Path) -> None:
    if os.path.lexists(path):
        raise StoreError(f"{path}: is there already")
    for stranger in beside(path):
        raise StoreError(f"{stranger}: is there already: a database of that name would take it for its own")


def _named(made: Path, path: Path) -> None:
    """Give what was made its name; what somebody else has put there meanwhile is left."""
    if made.is_file():
        try:
            os.link(made, path)
        except FileExistsError:
            raise StoreError(f"{path}: is there already") from None
    else:
        _need_nothing(path)
        os.rename(made, path)
