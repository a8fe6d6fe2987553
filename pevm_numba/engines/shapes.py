"""The shapes of a block's programs, and what each transaction feeds to its own."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .._kernels import shapes as _k
from .._kernels.context import Code
from .._kernels.jit import inputs, read_only
from ..machine.shapes import spelled

__all__ = ["MOST_TOKENS", "Shapes", "by_shape", "shapes_of"]

#: Tokens of a shape, at most: longer ones are of single transactions of real blocks; one of 1,000 takes seconds to compile.
MOST_TOKENS: Final = 128


@dataclass(frozen=True, eq=False)
class Shapes:
    """Distinct shapes, and who has which.

    Parameters
    ----------
    shape : (n_tx,) int32
        Number of each transaction's shape, -1 for those that the interpreter runs: they may fail, are long, or do much
        stand-in work.
    count : (n_shapes,) int64
        Transactions of each shape.
    tokens : (n_shapes,) list of (n_tokens,) int32
        See `machine.shapes`.
    operand_indptr, operands : (n_tx + 1,) int64, (n_operands,) int32
        What fills each transaction's shape: keys, rows of words, numbers of digests; at last its steps of stand-in work.
    """

    shape: NDArray[np.int32]
    count: NDArray[np.int64]
    tokens: list[NDArray[np.int32]]
    operand_indptr: NDArray[np.int64]
    operands: NDArray[np.int32]

    @cached_property
    def names(self) -> list[bytes]:
        """(n_shapes,) the tokens of each as bytes."""
        return [tokens.tobytes() for tokens in self.tokens]

    @property
    def steps(self) -> NDArray[np.int32]:
        """Steps of stand-in work of the transactions that have a shape."""
        return self.operands[self.operand_indptr[1:][self.shape >= 0] - 1]

    def __repr__(self) -> str:
        return f"<Shapes: {len(self.tokens)} of {len(self.shape)} txs, {int((self.shape < 0).sum())} txs without>"

    def spelled(self, number: int) -> str:
        """A shape in words."""
        return spelled(self.tokens[number].tolist())


def shapes_of(code: Code) -> Shapes:
    """Find the shapes of an encoded block. O(ops).

    Parameters
    ----------
    code : Code
    """
    n_tx, n_ops = len(code.flags), len(code.rows)
    room = 2 * n_ops + 3 * n_tx + 3
    table = np.zeros(1 << (2 * n_tx + 1).bit_length(), np.int32)
    token_indptr, operand_indptr = np.zeros(n_tx + 1, np.int64), np.zeros(n_tx + 1, np.int64)
    tokens, operands, shape = np.empty(room, np.int32), np.empty(room, np.int32), np.empty(n_tx, np.int32)
    given = inputs(code.op_indptr, code.rows, code.flags)
    n = int(_k.find_shapes(*given, MOST_TOKENS, table, token_indptr, tokens, operand_indptr, operands, shape))
    each = [tokens[token_indptr[i] : token_indptr[i + 1]].copy() for i in range(n)]
    count = np.bincount(shape[shape >= 0], minlength=n).astype(np.int64)
    shape, operand_indptr, operands = inputs(shape, operand_indptr, operands[: operand_indptr[-1]].copy())
    return Shapes(shape, read_only(count), each, operand_indptr, operands)


def by_shape(wave_indptr: NDArray[np.int64], wave_tx: NDArray[np.int32], shapes: Shapes) -> NDArray[np.int32]:
    """(n_tx,) the transactions of each wave with those of one shape beside each other, else as they were.

    Parameters
    ----------
    wave_indptr : (n_waves + 1,) int64
    wave_tx : (n_tx,) int32
    shapes : Shapes
    """
    wave = np.repeat(np.arange(len(wave_indptr) - 1), np.diff(wave_indptr))
    return np.ascontiguousarray(wave_tx[np.lexsort((shapes.shape[wave_tx], wave))])
