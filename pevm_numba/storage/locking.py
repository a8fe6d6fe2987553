"""Who writes holds a lock, on a file of its own: databases have locks on theirs that closing it would give up."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from ..errors import StoreError

__all__ = ["locked"]


def locked(path: Path) -> int:
    """Lock a file, which is made, for the one who writes; held until the handle is closed.

    Raises
    ------
    StoreError
        If somebody else holds it.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise StoreError(f"{path}: another store object or process has the store open to write") from None
    return handle
