"""One reader for every kind of file: what a path *holds* decides, its name only where the content cannot tell.

A folder with op_trace files is read as op_trace, else one with cryo datasets as cryo, else as block files.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Final

from .. import door
from ..block import Block
from ..errors import BlockError, FileFormatError
from . import parquet, seed_json
from .parquet_file import file_kind, not_a_survey
from .paths import existing, nameable, reading

__all__ = ["FileKind", "block_numbers", "kind_of", "read_block", "read_blocks", "write_blocks"]

log = logging.getLogger("pevm_numba")

_OP_TRACE: Final = "__op_trace__"
_CRYO: Final = tuple(
    f"__{name}__"
    for name in (
        "transactions", "storage_reads", "storage_diffs", "balance_reads", "balance_diffs",
        "nonce_reads", "nonce_diffs", "code_reads", "code_diffs",
    )
)  # fmt: skip
_EXPECTED: Final = (
    "a block file NAME.parquet or a folder of them, a folder of cryo datasets, op_trace files, "
    "or PEVM-OPT-2's .json or .json.gz"
)


class FileKind(Enum):
    """What a path holds."""

    BLOCKS = "block files"
    CRYO = "cryo"
    OP_TRACE = "op_trace"
    SEED_JSON = "seed JSON"


def kind_of(path: str | os.PathLike[str]) -> FileKind:
    """Which reader a path needs.

    Parameters
    ----------
    path : path
        File or folder.

    Raises
    ------
    FileFormatError
        If there is nothing at the path, or nothing that can be read as blocks.
    """
    where = existing(path)
    return _folder_kind(where) if where.is_dir() else _file_kind(where)


def _folder_kind(where: Path) -> FileKind:
    with reading(where, "folder cannot be listed"):
        names = sorted(item.name for item in where.iterdir())
    tables = [name for name in names if name.endswith(".parquet")]
    if any(_OP_TRACE in name for name in tables):
        return FileKind.OP_TRACE
    if any(mark in name for name in tables for mark in _CRYO):
        return FileKind.CRYO
    if tables:
        return FileKind.BLOCKS
    raise FileFormatError(f"{where}: {'no Parquet file in' if names else 'empty'} folder: expected {_EXPECTED}")


def _file_kind(where: Path) -> FileKind:
    with reading(where, "not readable"), open(where, "rb") as file:
        start = file.read(64)
    lowered = where.name.lower()
    if start.startswith(b"PAR1") or (lowered.endswith(".parquet") and not start.lstrip().startswith(b"{")):
        return _parquet_kind(where)
    if start.startswith(b"\x1f\x8b") or start.lstrip().startswith(b"{") or lowered.endswith((".json", ".json.gz")):
        return FileKind.SEED_JSON
    raise FileFormatError(f"{where}: starts with {start[:8]!r}: expected {_EXPECTED}")


def _parquet_kind(where: Path) -> FileKind:
    if _OP_TRACE in where.name:
        return FileKind.OP_TRACE
    if any(mark in where.name for mark in _CRYO):
        raise FileFormatError(f"{where}: one file of a cryo dataset: expected its folder, {where.parent}")
    kind = file_kind(where)
    if kind in ("blocks", "state"):
        base = where.name.removesuffix(".parquet").removesuffix(f".{kind}")
        raise FileFormatError(f"{where}: a {kind} file, companion of a block file: expected {base}.parquet beside it")
    not_a_survey(where)
    return FileKind.BLOCKS  # whatever is missing for that, its reader names


def block_numbers(path: str | os.PathLike[str]) -> list[int]:
    """Numbers of all blocks at a path, ascending; programs are not read (but those of JSON).

    Raises
    ------
    FileFormatError
        As `read_blocks`.
    """
    kind = kind_of(path)
    if kind is FileKind.BLOCKS:
        return parquet.block_numbers(path)
    if kind is FileKind.SEED_JSON:
        return [seed_json.read_seed_json(path).number]
    if kind is FileKind.CRYO:
        from .cryo import cryo_numbers

        return list(cryo_numbers(path))
    from .op_trace import op_trace_numbers

    return list(op_trace_numbers(path))


def read_blocks(path: str | os.PathLike[str], numbers: Iterable[int] | None = None) -> Iterator[Block]:
    """Read blocks one by one from any kind of file that is known.

    Parameters
    ----------
    path : path
        Block file ``NAME.parquet`` (with its companions) or a folder of them, folder of cryo datasets, op_trace file or
        folder, or seed JSON (``.json``, ``.json.gz``).
    numbers : iterable of int, optional
        Which blocks, in which order. Default: all, ascending.

    Returns
    -------
    iterator of Block
        Each block is read when the iterator comes to it.

    Raises
    ------
    FileFormatError
        Naming file, column, row, value and rule; or the block number that is not there.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_blocks(folder + "/two.parquet", [Block.from_programs([], number=n) for n in (4, 9)])
    ...     [block.number for block in read_blocks(folder, [9, 4])]
    [9, 4]
    """
    if numbers is not None:
        numbers = door.items("numbers", numbers, "block numbers (one block: read_block)")
        numbers = [door.integer(f"numbers[{i}]", number, 0, 2**64 - 1) for i, number in enumerate(numbers)]
    kind = kind_of(path)
    log.debug("%s: reading as %s", path, kind.value)
    if kind is FileKind.BLOCKS:
        return parquet.read_blocks(path, numbers)
    if kind is FileKind.SEED_JSON:
        block = seed_json.read_seed_json(path)
        return iter([block for _ in parquet.chosen(path, numbers, [block.number])])
    if kind is FileKind.CRYO:
        from .cryo import read_cryo

        return read_cryo(path, None if numbers is None else parquet.chosen(path, numbers, block_numbers(path)))
    from .op_trace import read_op_trace

    return read_op_trace(path, None if numbers is None else parquet.chosen(path, numbers, block_numbers(path)))


def read_block(path: str | os.PathLike[str], number: int | None = None) -> Block:
    """Read one block from any kind of file that is known.

    Parameters
    ----------
    path : path
        As `read_blocks`.
    number : int, optional
        May be left out if there is only one block.

    Returns
    -------
    Block

    Raises
    ------
    FileFormatError
        As `read_blocks`; or if several blocks are there and none is named: the message lists them.

    Examples
    --------
    >>> import tempfile
    >>> block = Block.from_programs([[("SSTORE", (1, 0), 5)]], number=7)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_blocks(folder + "/one.json.gz", block)
    ...     read_block(folder + "/one.json.gz")
    <Block 7: 1 txs, 1 ops, 1 keys, london>
    """
    if number is not None:
        number = door.integer("number", number, 0, 2**64 - 1)
    kind = kind_of(path)
    if kind is FileKind.BLOCKS:
        return parquet.read_block(path, number)
    if kind is FileKind.SEED_JSON:
        return next(read_blocks(path, None if number is None else [number]))
    return next(read_blocks(path, [parquet.only(path, block_numbers(path)) if number is None else number]))


def write_blocks(path: str | os.PathLike[str], blocks: Block | Iterable[Block]) -> None:
    """Write blocks: seed JSON if the name ends in ``.json`` or ``.json.gz`` (exactly one block), else Parquet.

    Parameters
    ----------
    path : path
        ``NAME.parquet``, ``NAME.json`` or ``NAME.json.gz``; an existing file is replaced in one step at the end.
    blocks : Block or iterable of Block
        See `pevm_numba.io.parquet.write_blocks`.

    Raises
    ------
    FileFormatError
        If the layout cannot hold the blocks, or the system refuses to write.
    BlockError
        If `blocks` are not blocks.
    """
    where = nameable(path)
    if not isinstance(blocks, Block | Iterable) or isinstance(blocks, str | bytes | Mapping):
        raise BlockError(f"blocks = {door.shown(blocks)}: must be a Block or an iterable of them")
    if not where.name.endswith((".json", ".json.gz")):
        parquet.write_blocks(where, blocks)
        return
    given = [blocks] if isinstance(blocks, Block) else list(blocks)
    if len(given) != 1 or not isinstance(given[0], Block):
        raise FileFormatError(f"{where}: {len(given)} blocks: a JSON file holds exactly one Block; .parquet holds many")
    seed_json.write_seed_json(where, given[0])
