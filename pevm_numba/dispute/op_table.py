"""All ops of a block as bytes, made by whole columns: `machine_state.op_bytes` gives the same, one at a time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .. import door
from ..block import Block
from ..machine.ops import TOP, Op
from .machine_state import KEY_BYTES

__all__ = ["op_table"]

_HAS_KEY = np.array([op.takes_key for op in Op])
_HAS_WORD = np.array([op.takes_word for op in Op])
_HAS_COUNT = np.array([op.takes_count for op in Op])


def op_table(block: Block, head: int = 0) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """The bytes of each op, after `head` zero bytes.

    Parameters
    ----------
    block : Block
    head : int
        Bytes to leave before each op.

    Returns
    -------
    indptr : (n_ops + 1,) int64
    data : (n_bytes,) uint8
        Op i is ``data[indptr[i] + head : indptr[i + 1]]``.

    Examples
    --------
    >>> indptr, data = op_table(Block.from_programs([[("NOOP", 5), ("ADD", 1)]]))
    >>> data[: indptr[1]].tobytes().hex(), int(indptr[2] - indptr[1])
    ('0500000005', 33)
    """
    code, arg = block.op_code, block.op_arg
    has_key, has_count = _HAS_KEY[code], _HAS_COUNT[code]
    has_word, is_hash = _HAS_WORD[code] & (arg != TOP), code == Op.KECCAK
    payload = np.zeros(block.n_ops, np.int64)
    payload[is_hash] = np.diff(block.payload_indptr)[arg[is_hash]]
    indptr = np.zeros(block.n_ops + 1, np.int64)
    np.cumsum(head + 1 + KEY_BYTES * has_key + 32 * has_word + 4 * has_count + payload, out=indptr[1:])
    data = np.zeros(indptr[-1], np.uint8)
    at = indptr[:-1] + head
    data[at] = code
    keys = block.op_key[has_key]
    rows = np.concatenate([block.key_address[keys], block.key_field[keys, None], block.key_slot[keys]], axis=1)
    _scatter(data, at[has_key] + 1, rows)
    words = np.ascontiguousarray(block.words[arg[has_word]][:, ::-1].byteswap()).view(np.uint8).reshape(-1, 32)
    _scatter(data, at[has_word] + 1 + KEY_BYTES * has_key[has_word], words)
    _scatter(data, at[has_count] + 1, arg[has_count].astype(">u4").view(np.uint8).reshape(-1, 4))
    _, source = door.take_ranges(block.payload_indptr, arg[is_hash])
    _, target = door.take_ranges(indptr, np.flatnonzero(is_hash))
    sizes = head + 1 + payload[is_hash]
    inside = np.arange(len(target)) - np.repeat(np.cumsum(sizes) - sizes, sizes) > head
    data[target[inside]] = block.payload_data[source]
    return indptr, data


def _scatter(data: NDArray[np.uint8], at: NDArray[np.int64], rows: NDArray[np.uint8]) -> None:
    """Put rows of equal length where they begin."""
    data[at[:, None] + np.arange(rows.shape[1])] = rows
