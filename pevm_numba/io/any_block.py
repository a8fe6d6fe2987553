"""Blocks of either machine from one path: a folder of tables with state holds those of the EVM, all else micro-ops."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..errors import FileFormatError
from ..evm.block import AnyBlock
from .evm_tables import evm_numbers, is_evm_folder, read_evm_blocks
from .files import block_numbers, read_block, read_blocks
from .node_json import read_node_block

__all__ = ["any_block_numbers", "read_any_block", "read_any_blocks"]


def any_block_numbers(path: str | os.PathLike[str]) -> list[int]:
    """Numbers of all blocks at a path, ascending.

    Raises
    ------
    FileFormatError
        As `read_any_blocks`.
    """
    return evm_numbers(path) if is_evm_folder(path) else block_numbers(path)


def read_any_blocks(path: str | os.PathLike[str], numbers: Iterable[int] | None = None) -> Iterator[AnyBlock]:
    """Blocks one by one: `read_evm_blocks` where the path is a folder with state, else `read_blocks`.

    Raises
    ------
    FileFormatError
        As those.
    """
    return read_evm_blocks(path, numbers) if is_evm_folder(path) else read_blocks(path, numbers)


def read_any_block(
    path: str | os.PathLike[str], number: int | None = None, *, prestate: str | os.PathLike[str] | None = None,
    fork: str | None = None,
) -> AnyBlock:  # fmt: skip
    """One block.

    Parameters
    ----------
    path : path
        As of `read_any_blocks`; with `prestate` a block as a node gives it.
    number : int, optional
        May be left out if there is only one block.
    prestate : path, optional
        What a node's prestateTracer says of the block.
    fork : str, optional
        With `prestate`: rules; default mainnet's.

    Raises
    ------
    FileFormatError
        As the readers; if several blocks are there and none is named; or if `number` or `fork` does not fit the input.
    """
    where = Path(path)
    if prestate is not None:
        if where.is_dir():
            raise FileFormatError(f"{path}: a folder; with a prestate it must be a file, a block as a node gives it")
        block = read_node_block(path, prestate, fork=fork)
        if number not in (None, block.number):
            raise FileFormatError(f"{path}: holds block {block.number}, not {number}")
        return block
    if fork is not None:
        raise FileFormatError(f"{path}: fork = {fork!r}: only of a block as a node gives it, with a prestate")
    if not is_evm_folder(path):
        return read_block(path, number)
    if number is None:
        known = evm_numbers(path)
        if len(known) != 1:
            text = f"{path}: holds {len(known)} blocks, {known[0]} to {known[-1]}" if known else f"{path}: holds no block"
            raise FileFormatError(f"{text}: say which with number=")
        number = known[0]
    return next(read_evm_blocks(path, [number]))
