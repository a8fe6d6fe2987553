"""Transactions as columns, as far as their accesses may be told from them before they run: who calls whom with which data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import door
from .._kernels.patterns import HOP
from ..block import Block
from ..errors import BlockError
from ..evm.block import AnyBlock, EvmBlock, need_block

__all__ = ["Calls", "calls_of", "places_of"]


class Calls(NamedTuple):
    """What n transactions say.

    Parameters
    ----------
    sender, to : (n, 20) uint8
        `to` is 0 where a contract is created.
    creates : (n,) bool
    data : (m,) uint8
        All call data, one after the other.
    data_indptr : (n + 1,) int64
    """

    sender: NDArray[np.uint8]
    to: NDArray[np.uint8]
    creates: NDArray[np.bool_]
    data: NDArray[np.uint8]
    data_indptr: NDArray[np.int64]

    @property
    def n_tx(self) -> int:
        """Number of transactions."""
        return len(self.sender)

    def selectors(self) -> NDArray[np.int64]:
        """(n,) int64: the first four bytes of the data, big-endian; -1 where there are fewer, or a contract is created."""
        sizes = np.diff(self.data_indptr)
        has = (sizes >= 4) & ~self.creates
        found = np.full(self.n_tx, -1, np.int64)
        at = self.data_indptr[:-1][has]
        found[has] = (self.data[at[:, None] + np.arange(4)].astype(np.int64) << [24, 16, 8, 0]).sum(axis=1)
        return found


def _columns(rows: list[bytes], width: int) -> NDArray[np.uint8]:
    return np.frombuffer(b"".join(rows), np.uint8).reshape(-1, width)


def _blob(pieces: list[bytes]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    bounds = np.cumsum([0] + [len(one) for one in pieces]).astype(np.int64)
    return np.frombuffer(b"".join(pieces), np.uint8), bounds


def calls_of(block: AnyBlock) -> Calls:
    """What the transactions of a block say.

    Parameters
    ----------
    block : Block or EvmBlock
        A `Block` must have the columns `to` and `input`, as real ones have.

    Raises
    ------
    BlockError
        If a block does not tell whom its transactions call.

    Examples
    --------
    >>> block = Block.from_programs([[("NOOP", 1)]], meta={"to": [b"\\x02" * 20], "input": [b"\\xa9\\x05\\x9c\\xbb"]})
    >>> hex(calls_of(block).selectors()[0])
    '0xa9059cbb'
    """
    need_block("block", block)
    if isinstance(block, EvmBlock):
        txs = block.transactions
        data, bounds = _blob([tx.data for tx in txs])
        return Calls(
            _columns([tx.sender or b"" for tx in txs], 20), _columns([tx.to or bytes(20) for tx in txs], 20),
            np.array([tx.to is None for tx in txs], bool), data, bounds,
        )  # fmt: skip
    return _of_block(block)


def _of_block(block: Block) -> Calls:
    def column(name: str) -> list[Any] | None:
        known = block.meta is not None and name in block.meta.column_names
        return block.meta[name].to_pylist() if known and block.meta is not None else None

    to, data = column("to"), column("input")
    if data is None and to is not None:
        data = [b""] * block.n_tx  # a column of nothing is not kept
    elif to is None and data is not None:
        to = [None] * block.n_tx
    if block.n_tx and (to is None or data is None):
        raise BlockError(f"block {block.number} without columns 'to' and 'input': whom its transactions call is not known")
    to, data = to or [], data or []
    blob, bounds = _blob([one or b"" for one in data])
    door.array("sender", block.sender, np.uint8, (None, 20))
    return Calls(
        block.sender, _columns([one or bytes(20) for one in to], 20), np.array([one is None for one in to], bool), blob,
        bounds,
    )  # fmt: skip


def _is_address(word: bytes) -> bool:
    return not any(word[:12]) and any(word[12:20])


def places_of(data: bytes) -> Iterator[int]:
    """Where there are addresses in call data: in words one after the other, those of calls within it behind their selectors;
    and complements of where hops of paths begin, tokens of 20 bytes with fees of 3 between them (Uniswap V3).

    Examples
    --------
    >>> address = bytes(12) + b"a" * 20
    >>> list(places_of(bytes(4) + address + bytes(31) + bytes([36]) + bytes(4) + address))
    [4, 72]
    """
    at, inner = 4, 4
    while at + 32 <= len(data):
        if _is_address(data[at : at + 32]):
            yield at
        size = int.from_bytes(data[at : at + 32], "big")
        bound = inner if at < inner else len(data)
        at += 32
        if at + size > bound:
            size = 0
        if size > 20 and (size - 20) % HOP == 0:
            yield from (~hop for hop in range(at, at + size - 20, HOP))
            at += (size + 31) // 32 * 32
        elif size > 4 and size % 32 == 4 and at > inner:
            inner = at + size
            at += 4
        if at == inner:
            at = inner + 28
