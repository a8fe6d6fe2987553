"""Shapes of a block's programs, for those who ask how much compiling them could bring."""

from __future__ import annotations

from .. import door
from ..block import Block
from ..engines.shapes import Shapes
from ..machine.gas import GasSchedule
from .program import program_of

__all__ = ["shapes"]


def shapes(block: Block, gas: str | GasSchedule | None = None) -> Shapes:
    """The distinct shapes of a block's programs: what is left when keys, words and counts are taken out.

    Parameters
    ----------
    block : Block
    gas : str or GasSchedule, optional
        Prices, which decide what may fail, and so has no shape; default those of the block's fork.

    Returns
    -------
    Shapes

    Raises
    ------
    BlockError
        If `block` is no block of micro-ops.

    Examples
    --------
    >>> from ..generate import generate
    >>> found = shapes(generate("small", seed=1))
    >>> found
    <Shapes: 64 of 100 txs, 0 txs without>
    >>> found.spelled(int(found.count.argmax()))
    'read new(literal) new(literal) output(loaded0 plus)'
    """
    door.instance("block", block, Block)
    return program_of(block, gas).shapes
