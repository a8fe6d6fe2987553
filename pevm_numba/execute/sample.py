"""Longest paths by sample: a whole pass over the accesses costs as much as running many a small transaction."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from .._kernels.jit import read_only
from .._kernels.sample import FINISHES, sampled_path
from ..block import Block
from .program import footprint_of

__all__ = ["PathSampler"]

#: Blocks of up to so many transactions are looked at whole; of others so many windows of so many transactions.
_WHOLE: Final = 256
_WINDOWS: Final = 4
_SIZE: Final = 48

#: Rows for the keys of a window; a window of more accesses than half of them ends early.
_ROWS: Final = 8192


class PathSampler:
    """Estimates what share of a block's work lies on its longest path; keeps its scratch rows.

    Parameters
    ----------
    block : Block
    """

    def __init__(self, block: Block) -> None:
        self._footprint = footprint_of(block)
        self._met, self._finishes = np.zeros(_ROWS, np.int64), np.empty((_ROWS, FINISHES), np.int64)
        self._slots = np.empty(_ROWS, np.int32)
        self._epoch = 1

    def shares(self, order: NDArray[np.int32], work: NDArray[np.int64]) -> tuple[float, float]:
        """(longest path / work, the same with versions), both in [0, 1].

        Exact for blocks of up to 256 transactions and 4,096 accesses, else over four windows of up to 48 transactions; 1 if
        their first transactions alone have more accesses. With
        versions, as in multi-version memory, nobody waits for readers, nor a mere credit for anybody. A window cuts chains,
        and the longest path of a block is at most the sum over windows that cover it, so the estimates tend to be high where
        no chain runs through the whole block.

        Parameters
        ----------
        order : (n_tx,) int32
            The promised serial order.
        work : (n_tx,) int64
            In any unit; read-only.
        """
        n_tx = len(order)
        windows, size = (1, n_tx) if n_tx <= _WHOLE else (_WINDOWS, _SIZE)
        given = read_only(order), windows, size, self._epoch, *self._footprint, read_only(work)
        longest, versioned, total = sampled_path(*given, self._met, self._finishes, self._slots)
        self._epoch += windows
        if total:
            return longest / total, versioned / total
        return (0.0, 0.0) if not work.any() else (1.0, 1.0)  # transactions too large for the rows: nothing is known
