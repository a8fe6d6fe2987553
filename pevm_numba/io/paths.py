"""Files are replaced, never edited: a write that stops half-way leaves the old file and no debris."""

from __future__ import annotations

import os
import secrets
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from .. import door
from ..errors import BlockError, FileFormatError, PevmError, UsageError

__all__ = ["COMPANIONS", "check_target", "existing", "nameable", "reading", "replacing", "target_of"]

#: What stands beside a block file and is read with it.
COMPANIONS = (".blocks.parquet", ".state.parquet")
_OP_TRACE = "__op_trace__"

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
        raise FileFormatError(f"{door.shown(path)}: not a path: {error}") from None
    if not there:
        raise FileFormatError(f"{where}: no such file or folder")
    return where


def nameable(path: str | os.PathLike[str]) -> Path:
    """`path` as a Path that can name a file, whether there is one or not.

    Raises
    ------
    FileFormatError
        If it cannot.
    """
    try:
        where = Path(path)
        where.exists()  # refuses a name that no file can have, such as one with a zero byte
    except (TypeError, ValueError, OSError) as error:
        raise FileFormatError(f"path = {door.shown(path)}: not a path: {error}") from None
    if "\0" in str(where):
        raise FileFormatError(f"path = {door.shown(path)}: a path has no zero byte")
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


def check_target(option: str, path: Path, sources: Iterable[Path], endings: tuple[str, ...] = ()) -> None:
    """Refuse, before any work, an output that could not be written or that reading an input would open.

    Parameters
    ----------
    option : str
        Named in the message.
    path : Path
        Of the output.
    sources : iterable of Path
        Inputs: files and folders; those that do not exist are left to their reader.
    endings : tuple of str
        What the name may end in; empty: anything.

    Raises
    ------
    UsageError
        If the name ends otherwise, is that of a companion of a block file, or is of an input: the file itself, its
        companions, whatever lies in an input folder, and for op_trace in the folders ``state`` and ``cryo`` beside it.
    FileFormatError
        If the target is no regular file or its folder is missing.
    """
    if endings and not path.name.endswith(endings):
        raise UsageError(f"{option} {path}: must be {' or '.join(f'NAME{ending}' for ending in endings)}")
    where = target_of(path)
    for name in {path.name.lower(), where.name.lower()}:
        if name.endswith(COMPANIONS):
            raise UsageError(f"{option} {path}: a file of that name is read as companion of a block file: choose another")
    for source in sources:
        if source.exists():
            _refuse_reading(option, path, where, source)


def _refuse_reading(option: str, path: Path, where: Path, source: Path) -> None:
    files, folders = _opened(source)
    if where in files[:1]:
        raise UsageError(f"{option} {path}: is the input")
    if where.parent in folders:
        raise UsageError(f"{option} {path}: is inside {where.parent}, which is read as input: choose another folder")
    there = files + [item for folder in folders for item in folder.iterdir() if item.is_file()]
    if where in files or (where.exists() and any(item.exists() and item.samefile(where) for item in there)):
        raise UsageError(f"{option} {path}: is read as part of the input {source}")


def _opened(source: Path) -> tuple[list[Path], list[Path]]:
    """Files, the input first, and folders that reading an input may open; links followed."""
    real = Path(os.path.realpath(source))
    if real.is_file() and _OP_TRACE not in source.name:
        base = source.name.removesuffix(".parquet")
        return [real, *(Path(os.path.realpath(source.with_name(base + ending))) for ending in COMPANIONS)], []
    files, folder = ([real], Path(os.path.realpath(source.parent))) if real.is_file() else ([], real)
    traced = bool(files) or any(_OP_TRACE in item.name for item in folder.iterdir())
    beside = [Path(os.path.realpath(folder.parent / name)) for name in ("state", "cryo")] if traced else []
    return files, [folder, *(place for place in beside if place.is_dir())]


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
    except (OSError, UnicodeEncodeError) as error:  # the latter by Arrow, of a name that is no UTF-8
        raise FileFormatError(f"{paths[0]}: cannot be written: {error}") from error
    finally:
        for made in temporary:
            made.unlink(missing_ok=True)
