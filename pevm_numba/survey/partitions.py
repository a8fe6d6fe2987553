"""What a survey is split into: files, and ranges of blocks within large ones; each is done as a whole or not at all."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from .. import door
from ..block import Block
from ..errors import BlockError, FileFormatError
from ..evm.block import AnyBlock
from ..io.any_block import any_block_numbers, read_any_blocks
from ..io.evm_tables import is_evm_folder
from ..io.files import FileKind, kind_of
from ..io.parquet_access import read_accesses
from ..io.parquet_file import companion, file_kind, not_a_survey
from ..io.paths import COMPANIONS, existing
from .batch import Batch
from .metrics import measure, schema_of
from .remote import Remote, is_remote

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Partition", "partitions_of", "survey_partition"]

#: Accesses to have in memory at a time, about, where blocks are read one by one.
_ACCESSES: Final = 1 << 18
#: Blocks of a partition: those of the EVM are executed, which takes milliseconds each.
_BLOCKS: Final = 1000
_EVM_BLOCKS: Final = 50


@dataclass(frozen=True)
class Partition:
    """Some blocks of one source.

    Parameters
    ----------
    source : str
        Path or address of a file, or path of a folder that is read as one.
    numbers : tuple of int or None
        Which blocks; None: all that it has.
    stamp : str
        Size and time of the source, by which a change of it is noticed.
    """

    source: str
    numbers: tuple[int, ...] | None
    stamp: str

    @property
    def name(self) -> str:
        """Of its output file: readable, and distinct by source and blocks."""
        base = self.source.rstrip("/").rsplit("/", 1)[-1].removesuffix(".parquet")
        base = "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "_" for c in base)[:80]
        blocks = "" if self.numbers is None else f"{self.numbers[0]}_{self.numbers[-1]}" if self.numbers else "none"
        mark = hashlib.sha256(f"{self.source}\0{self.numbers}".encode()).hexdigest()[:10]
        return "-".join(part for part in ("part", base, blocks, mark) if part) + ".parquet"

    @property
    def identity(self) -> dict[str, Any]:
        """By which its output is known again."""
        digest = None if self.numbers is None else hashlib.sha256(repr(self.numbers).encode()).hexdigest()
        return {"source": self.source, "stamp": self.stamp, "blocks": digest}


def partitions_of(paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> list[Partition]:
    """What a survey of some paths is split into.

    Parameters
    ----------
    paths : path or address, or iterable of these
        Block files, op_trace files, folders of these; a folder of cryo datasets; a folder of blocks with state, which are
        executed on the EVM; PEVM-OPT-2 JSON. Addresses (``s3://…``, whatever fsspec knows) are of block files or op_trace
        files, and may have wildcards.

    Raises
    ------
    FileFormatError
        If there is nothing at one, nothing that can be read as blocks, or one is there twice.
    BlockError
        If none is given.
    """
    given = [paths] if isinstance(paths, str | os.PathLike) else door.items("paths", paths, "paths or addresses")
    if not given:
        raise BlockError("paths: empty: must be at least one path or address")
    found: list[Partition] = []
    for one in given:
        found += _remote(str(one)) if is_remote(one) else list(_local(existing(one)))
    seen: dict[str, str] = {}
    for part in found:
        if part.name in seen:
            raise FileFormatError(f"{part.source}: twice among the paths: a block is counted once")
        seen[part.name] = part.source
    return found


def _local(path: Path) -> Iterator[Partition]:
    where = Path(os.path.realpath(path))
    if is_evm_folder(where):
        yield from _ranges(where, _EVM_BLOCKS)
        return
    kind = kind_of(where)
    if where.is_dir() and kind is not FileKind.CRYO:
        names = sorted(item for item in where.glob("*.parquet") if item.is_file())
        marked = [item for item in names if "__op_trace__" in item.name]
        files = marked if kind is FileKind.OP_TRACE else [item for item in names if file_kind(item) == "block"]
        if names and not files:
            not_a_survey(names[0])
        if not files:
            raise FileFormatError(f"{path}: no block file in this folder: at least one NAME.parquet expected")
        for item in files:
            yield from _ranges(item, _BLOCKS)
        return
    yield from _ranges(where, _BLOCKS)


def _ranges(path: Path, size: int) -> Iterator[Partition]:
    """Ranges of the blocks at a path."""
    numbers, stamp = any_block_numbers(path), _stamp(path)
    for a in range(0, max(1, len(numbers)), size):
        yield Partition(str(path), tuple(numbers[a : a + size]), stamp)


def _stamp(path: Path) -> str:
    """Sizes and times of a file, or of all files below a folder, as one text."""
    items = sorted(item for item in path.rglob("*") if item.is_file()) if path.is_dir() else [path]
    if path.is_file():
        items += [beside for kind in ("blocks", "state") if (beside := companion(path, kind)).exists()]
    facts = [(item.name, (about := item.stat()).st_size, about.st_mtime_ns) for item in items]
    return hashlib.sha256(repr(facts).encode()).hexdigest()


def _remote(address: str) -> list[Partition]:
    there = Remote(address)
    several = any(mark in there.path for mark in "*?[")
    names = sorted(there.ask("glob", there.path)) if several else [there.path]
    names = [name for name in names if not name.endswith(COMPANIONS)]
    if not all(name.strip("/") and there.ask("exists", name) for name in names):
        raise FileFormatError(f"{address}: nothing there")
    about = {name: there.ask("info", name) for name in names}
    files = [name for name in names if about[name].get("type") != "directory"]
    if not files:
        rule = f"is a folder: give its files, such as {address.rstrip('/')}/*.parquet" if names else "nothing there"
        raise FileFormatError(f"{address}: {rule}")
    return [Partition(there.ask("unstrip_protocol", one), None, _remote_stamp(there, one, about[one])) for one in files]


def _remote_stamp(there: Remote, name: str, about: dict[str, Any]) -> str:
    """What the system tells of a file by which a change shows, and of the blocks file beside it."""
    kept = ("size", "ETag", "mtime", "LastModified", "updated", "created")
    beside = str(companion(Path(name), "blocks"))
    facts = [about, *([there.ask("info", beside)] if there.ask("exists", beside) else [])]
    return repr([[(key, str(fact[key])) for key in kept if key in fact] for fact in facts])


# -------------------------------------------------------------------- doing one


@contextmanager
def _at_hand(source: str) -> Iterator[Path]:
    """A local path of a source: itself, or a copy of a remote one, with its companion, for as long as it is needed."""
    if not is_remote(source):
        yield existing(source)
        return
    there = Remote(source)
    with tempfile.TemporaryDirectory(prefix="pevm_numba_") as folder:
        local = Path(folder) / there.path.rsplit("/", 1)[-1]
        there.ask("get_file", there.path, str(local))
        beside = companion(Path(there.path), "blocks")
        if there.ask("exists", str(beside)):
            there.ask("get_file", str(beside), str(local.with_name(beside.name)))
        try:
            yield local
        except FileFormatError as error:  # in words of the source: the copy is gone when they are read
            raise FileFormatError(str(error).replace(folder, source.rpartition("/")[0])) from error


def survey_partition(partition: Partition, metrics: Sequence[str]) -> pa.Table:
    """The columns asked for, a row for each block of a partition.

    Parameters
    ----------
    partition : Partition
    metrics : sequence of str
        As `columns_of` gives them.

    Raises
    ------
    PevmError
        If the source cannot be read.
    OSError
        If the system, or the file system of an address, does not answer.
    """
    import pyarrow as pa

    with _at_hand(partition.source) as path:
        numbers = any_block_numbers(path) if partition.numbers is None else list(partition.numbers)
        tables = [measure(batch, metrics) for batch in _batches(path, numbers)]
    return pa.concat_tables([schema_of(metrics).empty_table(), *tables]).combine_chunks()


def _batches(path: Path, numbers: list[int]) -> Iterator[Batch]:
    if not is_evm_folder(path) and kind_of(path) is FileKind.BLOCKS:
        for given in read_accesses(path, numbers):
            yield Batch.of_accesses(given)
        return
    some: list[AnyBlock] = []
    held = 0
    for block in read_any_blocks(path, numbers):
        size = len(block.footprint_keys) if isinstance(block, Block) else _ACCESSES // 16
        if some and held + size > _ACCESSES:
            yield Batch.of_blocks(some)
            some, held = [], 0
        some.append(block)
        held += size
    if some:
        yield Batch.of_blocks(some)
