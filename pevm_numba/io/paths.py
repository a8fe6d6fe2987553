"""Files are replaced, never edited: a write that stops half-way leaves the old file and no debris."""

from __future__ import annotations

import os
import secrets
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import BlockError, FileFormatError, PevmError

__all__ = ["existing", "reading", "replacing", "target_of"]

#: What pyarrow, gzip and json raise for a damaged file; `pyarrow.ArrowException` children are all among these.
_DAMAGE = (OSError, EOFError, MemoryError, ArithmeticError, RuntimeError, ValueError, LookupError, TypeError)


def existing(path: str | os.PathLike[str]) -> Path:
    """`path` as a Path that exists.

    Raises
    ------
    FileFormatError
        If there is nothing at that path, or it cannot name a file.
    """
    try:
        where = Path(path)
        there = where.exists()
    except (TypeError, ValueError, OSError) as error:
        raise FileFormatError(f"{path!r}: not a path: {error}") from None
    if not there:
        raise FileFormatError(f"{where}: no such file or folder")
    return where


@contextmanager
def reading(path: Path, what: str) -> Iterator[None]:
    """Turn everything that a damaged file makes a library raise into a FileFormatError that names the file."""
    import pyarrow as pa

    try:
        yield
    except FileFormatError:
        raise
    except BlockError as error:
        raise FileFormatError(f"{path}: {error}") from None
    except PevmError:
        raise
    except (pa.ArrowException, zlib.error, *_DAMAGE) as error:
        text = " ".join(str(error).split()) or type(error).__name__
        raise FileFormatError(f"{path}: {what}: {text[:300]}") from error


def target_of(path: Path) -> Path:
    """Where a write to `path` ends up: links followed; a folder or device is refused, since it would be replaced.

    Raises
    ------
    FileFormatError
        If the target is no regular file or its folder is missing.
    """
    where = Path(os.path.realpath(path))
    if where.exists() and not where.is_file():
        raise FileFormatError(f"{path}: is not a regular file, so it cannot be replaced")
    if not where.parent.is_dir():
        raise FileFormatError(f"{path}: there is no folder {where.parent}")
    return where


@contextmanager
def replacing(*paths: Path) -> Iterator[list[Path]]:
    """Give temporary names beside `paths`; rename each onto its target at the end, or delete all on failure.

    A temporary file that was never made means that its target shall not exist: a file left from an earlier write is
    removed, since it would be taken for a companion of the new one. Each rename is atomic; several are not one step.

    Raises
    ------
    FileFormatError
        If the system refuses to write or rename.
    """
    paths = tuple(target_of(path) for path in paths)
    temporary = [path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp") for path in paths]
    try:
        yield temporary
        for made in temporary:
            if made.exists():
                with open(made, "rb+") as file:
                    os.fsync(file.fileno())
        for made, path in zip(temporary, paths):
            if made.exists():
                os.replace(made, path)
            else:
                path.unlink(missing_ok=True)
    except OSError as error:
        raise FileFormatError(f"{paths[0]}: cannot be written: {error}") from error
    finally:
        for made in temporary:
            made.unlink(missing_ok=True)
