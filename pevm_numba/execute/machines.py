"""Which machine runs which kind of block."""

from __future__ import annotations

from typing import Final

from ..evm.block import AnyBlock, need_block
from .evm_machine import EvmMachine
from .machine import Machine
from .micro_ops import MicroOps

__all__ = ["MACHINES", "machine_of"]

MACHINES: Final[tuple[Machine, ...]] = (MicroOps(), EvmMachine())


def machine_of(block: AnyBlock) -> Machine:
    """The machine for a block.

    Raises
    ------
    BlockError
        If `block` is none.

    Examples
    --------
    >>> from ..block import Block
    >>> type(machine_of(Block.from_programs([]))).__name__
    'MicroOps'
    """
    need_block("block", block)
    return next(machine for machine in MACHINES if isinstance(block, machine.block_type))
