"""Block files: one row per transaction, with the blocks file and the state file beside them belonging to the same name.

A missing state file means that every key is zero before the block, so a file is never copied without its companions.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from .. import door
from ..block import Block, Header
from ..errors import BlockError, FileFormatError
from ..machine.gas import FORKS
from . import parquet_tables as tables
from .columns import column
from .parquet_file import SUFFIX, RowIndex, TableFile, companion, file_kind, not_a_survey
from .parquet_rows import KeyParts, state_columns, transaction_columns
from .paths import COMPANIONS, existing, replacing

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

__all__ = ["BlockFile", "block_numbers", "chosen", "only", "read_block", "read_blocks", "write_blocks"]

log = logging.getLogger("pevm_numba")

#: Bytes in memory of a row group, about; a block that has more has groups of its own. Reading one block loads its group.
_GROUP_BYTES: Final = 1 << 22

# -------------------------------------------------------------------- writing


def write_blocks(path: str | os.PathLike[str], blocks: Block | Iterable[Block]) -> None:
    """Write blocks as ``NAME.parquet`` with ``NAME.blocks.parquet`` and, if any key is set, ``NAME.state.parquet``.

    Parameters
    ----------
    path : path
        Ends in ``.parquet``; files of that name are replaced.
    blocks : Block or iterable of Block
        At least one, no number twice. A list or tuple is sorted by number; other iterables are written as they come and
        must ascend, so that more blocks than memory holds can be written.

    Raises
    ------
    FileFormatError
        If the path, the order or the numbers break a rule, or the system refuses to write.

    Notes
    -----
    Everything is written to temporary files first, so an interrupted write leaves the old files.

    Examples
    --------
    >>> import tempfile
    >>> block = Block.from_programs([[("SSTORE", (1, 0), 5)]], {(1, 0): 4}, number=7)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_blocks(folder + "/one.parquet", block)
    ...     read_block(folder + "/one.parquet") == block
    True
    """
    target = Path(path)
    if not target.name.endswith(SUFFIX) or target.name.endswith(COMPANIONS):
        raise FileFormatError(f"{target}: a block file is named NAME.parquet (not .blocks.parquet or .state.parquet)")
    if isinstance(blocks, Block):
        blocks = [blocks]
    if isinstance(blocks, list | tuple):
        blocks = sorted((_a_block(block) for block in blocks), key=lambda block: block.number)
    with replacing(target, companion(target, "blocks"), companion(target, "state")) as temporary:
        headers = _write(target, blocks, temporary[0], temporary[2])
        with _writer(temporary[1], tables.header_table([]).schema) as writer:
            writer.write_table(tables.header_table(headers))
    log.info("%s: wrote %d blocks", target, len(headers))


def _a_block(value: Any) -> Block:
    if not isinstance(value, Block):
        raise BlockError(f"blocks: {type(value).__name__} among them: must all be Block")
    return value


def _writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    import pyarrow.parquet as pq

    return pq.ParquetWriter(path, schema, compression="zstd", write_page_checksum=True)


class _Groups:
    """Writes tables as row groups of several small ones, none split: a group costs as much to find as a block to read."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._path, self._schema = path, schema
        self._writer: pq.ParquetWriter | None = None
        self._held: list[pa.Table] = []
        self._size = 0

    def __enter__(self) -> _Groups:
        return self

    def add(self, table: pa.Table) -> None:
        """Write a table, now or with those after it; the first makes the file."""
        if self._size + table.nbytes > _GROUP_BYTES:
            self.flush()
        self._held.append(table)
        self._size += table.nbytes

    def flush(self) -> None:
        """Write what is held, and make the file if there is none."""
        import pyarrow as pa

        self._writer = self._writer or _writer(self._path, self._schema)
        if self._held:
            table = pa.concat_tables(self._held).combine_chunks()
            self._writer.write_table(table, row_group_size=len(table))
        self._held, self._size = [], 0

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        try:
            if kind is None and self._held:
                self.flush()
        finally:
            if self._writer is not None:
                self._writer.close()


def _write(
    target: Path, blocks: Iterable[Block], block_file: Path, state_file: Path
) -> list[tuple[int, str, Header]]:
    """Write rows and state of each block; returns what the blocks file holds."""
    headers: list[tuple[int, str, Header]] = []
    with _Groups(block_file, tables.block_schema()) as rows, _Groups(state_file, tables.state_schema()) as state:
        rows.flush()  # there is a block file, even if no block has a transaction
        for block in blocks:
            number = _a_block(block).number
            if headers and number <= headers[-1][0]:
                rule = "no number twice" if number == headers[-1][0] else "ascending numbers (a list is sorted)"
                raise FileFormatError(f"{target}: block {number} after block {headers[-1][0]}: must have {rule}")
            headers.append((number, block.fork, block.header))
            for table in tables.block_tables(block):
                rows.add(table)
            for table in tables.state_tables(block):
                state.add(table)
    if not headers:
        raise FileFormatError(f"{target}: no block to write: must be at least one")
    return headers


# -------------------------------------------------------------------- a block file and its companions


class BlockFile:
    """A block file with its companions: opened, indexed and checked for order; programs are read when asked for.

    Parameters
    ----------
    path : Path
    state : bool
        Whether the state file is looked at; without, `blocks` gives none.

    Attributes
    ----------
    numbers : list of int
        Blocks, ascending.
    headers : dict of int to (str, Header)
        Fork and header of those that the blocks file has.
    index : RowIndex
        Rows of each block.
    """

    def __init__(self, path: Path, *, state: bool = True) -> None:
        self.path = path
        self.headers: dict[int, tuple[str, Header]] = {}
        with closing(TableFile(path, "block")) as file:
            self.index = _transaction_index(file)
        beside = companion(path, "blocks")
        if beside.exists():
            with closing(TableFile(beside, "blocks")) as file:
                self.headers = _read_headers(file)
        self.numbers = sorted({*self.index.numbers, *self.headers})
        self.state_path = companion(path, "state")
        self.state_index = None
        if state and self.state_path.exists():
            with closing(TableFile(self.state_path, "state")) as file:
                self.state_index = self._state_index(file)
        log.debug("%s: %d blocks, %d transactions", path, len(self.numbers), len(self.index.order))

    def _state_index(self, file: TableFile) -> RowIndex:
        given = column(file.path, file.read(["block_number"]), "block_number", np.arange(file.ends[-1]))
        index = RowIndex.of(given.required().integers(np.uint64, 0, 2**64 - 1))
        known = set(self.numbers)
        for number in index.numbers:
            if number not in known:
                raise given.wrong(int(index.rows(number)[0]), f"must be a block of {self.path.name}")
        return index

    def blocks(self, numbers: Iterable[int]) -> Iterator[Block]:
        """Read blocks in the order asked for."""
        with closing(TableFile(self.path, "block")) as file:
            if self.state_index is None:
                for number in numbers:
                    yield self._block(number, file, None)
                return
            with closing(TableFile(self.state_path, "state")) as state:
                for number in numbers:
                    yield self._block(number, file, state)

    def _block(self, number: int, file: TableFile, state: TableFile | None) -> Block:
        keys, rows = KeyParts(), self.index.rows(number)
        parts = transaction_columns(self.path, file.load(rows), rows, keys)
        if state is not None and self.state_index is not None:
            rows = self.state_index.rows(number)
            parts |= state_columns(self.state_path, state.load(rows), rows, keys)
        fork, header = self.headers.get(number, ("london", Header()))
        try:
            block = Block.from_arrays(number=number, fork=fork, header=header, **parts, **keys.table())
        except BlockError as error:
            raise FileFormatError(f"{self.path}: block {number}: {error}") from error
        log.info("%s: read block %d, %d transactions", self.path, number, block.n_tx)
        return block


def _transaction_index(file: TableFile) -> RowIndex:
    """Rows by block; they must be sorted by (block_number, tx_index), and tx_index must count from 0."""
    table, rows = file.read(["block_number", "tx_index"]), np.arange(file.ends[-1])
    number, tx = (column(file.path, table, name, rows).required() for name in ("block_number", "tx_index"))
    numbers = number.integers(np.uint64, 0, 2**64 - 1)
    number.reject(
        np.append(False, numbers[1:] < numbers[:-1])[: len(rows)], "rows must be sorted by block_number, then tx_index"
    )
    index = RowIndex.of(numbers)
    expected = rows - np.repeat(index.starts[:-1], np.diff(index.starts))
    given = tx.integers(np.int64, 0, 2**32 - 1)
    if (given != expected).any():
        row = int(np.argmax(given != expected))
        rule = "tx_index counts 0, 1, 2, ... in each block: sorted, no gap, no row twice"
        raise tx.wrong(row, f"must be {expected[row]} in block {numbers[row]}: {rule}")
    return index


def _read_headers(file: TableFile) -> dict[int, tuple[str, Header]]:
    """Fork and header of each block in a blocks file."""
    table, rows = file.read(file.columns), np.arange(file.ends[-1])
    given = {name: column(file.path, table, name, rows) for name in file.columns}
    numbers = given["block_number"].required().integers(np.uint64, 0, 2**64 - 1).tolist()
    forks = given["fork"].required().strings()
    values: dict[str, list[Any]] = {}
    for name, width in (("fee_recipient", 20), ("parent_hash", 32)):
        if name in given:
            known = given[name].known()
            values[name] = [row.tobytes() if there else None for row, there in zip(given[name].fixed(width), known)]
    for name in ("block_gas_limit", "timestamp"):
        if name in given:
            ints = given[name].integers(np.uint64, 0, 2**64 - 1)
            values[name] = [int(value) if there else None for value, there in zip(ints, given[name].known())]
    out: dict[int, tuple[str, Header]] = {}
    for row, number in enumerate(numbers):
        if number in out:
            raise given["block_number"].wrong(row, f"block {number} has a row already: one row for each block")
        if forks[row] not in FORKS:
            raise given["fork"].wrong(row, f"one of {', '.join(FORKS)}")
        out[number] = (str(forks[row]), Header(**{name: column[row] for name, column in values.items()}))
    return out


# -------------------------------------------------------------------- reading


def _catalogue(path: str | os.PathLike[str]) -> dict[int, BlockFile]:
    """Block numbers, ascending, to the block file that holds each: of one file, or of all block files in a folder."""
    where = existing(path)
    if where.is_dir():
        found = sorted(p for p in where.glob(f"*{SUFFIX}") if p.is_file() and not p.name.endswith(COMPANIONS))
        files = [BlockFile(p) for p in found if file_kind(p) == "block"]
        if found and not files:
            not_a_survey(found[0])
        if not files:
            raise FileFormatError(f"{where}: no block file in this folder: at least one NAME.parquet expected")
    else:
        files = [BlockFile(where)]
    out: dict[int, BlockFile] = {}
    for file in files:
        for number in file.numbers:
            if number in out:
                raise FileFormatError(f"{file.path}: block {number} is in {out[number].path} too: must be in one file")
            out[number] = file
    return dict(sorted(out.items()))


def chosen(path: str | os.PathLike[str], numbers: Iterable[int] | None, there: Collection[int]) -> list[int]:
    """Block numbers to read: all that are there, or those asked for, in the order asked.

    Raises
    ------
    FileFormatError
        If a number is not there; the message lists what is.
    """
    if numbers is None:
        return list(there)
    if isinstance(numbers, int | np.integer):
        numbers = [int(numbers)]
    out = [door.integer("block number", number, 0, 2**64 - 1) for number in numbers]
    known = set(there)
    for number in out:
        if number not in known:
            raise FileFormatError(f"{path}: block {number} is not there: it has {listed(there)}")
    return out


def listed(numbers: Collection[int]) -> str:
    """Block numbers for a message, shortened if there are many."""
    texts = [str(number) for number in numbers]
    if len(texts) > 12:
        return f"{len(numbers)} blocks: {', '.join([*texts[:6], '...', *texts[-3:]])}"
    return f"block{'s' if len(numbers) != 1 else ''} {', '.join(texts) or '(none)'}"


def only(path: str | os.PathLike[str], there: Collection[int]) -> int:
    """The number of the single block that is there.

    Raises
    ------
    FileFormatError
        If there is not exactly one.
    """
    if len(there) != 1:
        raise FileFormatError(f"{path}: holds {listed(there)}: say which with number=")
    return next(iter(there))


def block_numbers(path: str | os.PathLike[str]) -> list[int]:
    """Numbers of all blocks in a block file or a folder of them, ascending; no program is read.

    Raises
    ------
    FileFormatError
        If a file breaks a rule that can be seen without reading programs.
    """
    return list(_catalogue(path))


def read_blocks(path: str | os.PathLike[str], numbers: Iterable[int] | None = None) -> Iterator[Block]:
    """Read blocks one by one from a block file or a folder of block files, with their companions.

    Parameters
    ----------
    path : path
    numbers : iterable of int, optional
        Which blocks, in which order. Default: all, ascending.

    Returns
    -------
    iterator of Block
        Numbers, order and companions are checked at once; the programs of a block are read, by row groups, when the
        iterator comes to it.

    Raises
    ------
    FileFormatError
        Naming file, column, row, value and rule.

    Notes
    -----
    Neighbouring blocks of one row group load it once.
    """
    catalogue = _catalogue(path)
    return _iterate(chosen(path, numbers, catalogue), catalogue)


def _iterate(numbers: list[int], catalogue: dict[int, BlockFile]) -> Iterator[Block]:
    start = 0
    while start < len(numbers):
        file, stop = catalogue[numbers[start]], start + 1
        while stop < len(numbers) and catalogue[numbers[stop]] is file:
            stop += 1
        yield from file.blocks(numbers[start:stop])
        start = stop


def read_block(path: str | os.PathLike[str], number: int | None = None) -> Block:
    """Read one block; `number` may be left out if there is only one.

    Raises
    ------
    FileFormatError
        As `read_blocks`; or if several blocks are there and none is named.
    """
    catalogue = _catalogue(path)
    wanted = chosen(path, [only(path, catalogue) if number is None else number], catalogue)
    return next(_iterate(wanted, catalogue))
