"""Calls of the protocol's contracts, before a block's transactions and after them, on one worker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._kernels.evm import layout
from .._kernels.evm.blocks import SERIAL
from ..errors import BlockError
from .encoding import encode_transactions
from .machine import refused
from .outcomes import NOTES, Results, array_of
from .transaction import Transaction
from .worker import Worker

__all__ = ["call_by_protocol"]


def call_by_protocol(
    worker: Worker, calls: Sequence[Transaction], name: str, *, checked: bool = False
) -> NDArray[Any] | None:
    """Make such calls, one after the other, on the state that the worker has.

    Parameters
    ----------
    worker : Worker
    calls : sequence of Transaction
        Without a fee, by nobody.
    name : str
        Under which its arena keeps them.
    checked : bool
        Whether they must succeed (EIP-7002, 7251).

    Returns
    -------
    notes : (n,) `NOTES`, or None
        What they read; None if there was no room.

    Raises
    ------
    BlockError
        If a call fails that must not, or cannot be made.
    """
    arena, env = worker.arena, worker.env
    if not calls:
        return np.empty(0, NOTES)
    results = Results(arena, len(calls), f"results {name}")
    block = arena.allocate(f"block {name}", layout.BLOCK.size).view(np.int64)
    at = {field: place // 8 for field, place in layout.BLOCK.numbers.items()}
    txs = encode_transactions(arena, calls, env, name, system=True)
    for field, value in (("mode", SERIAL), ("n_tx", len(calls)), ("txs", txs), ("results", results.address), ("records", 1)):
        block[at[field]] = value
    try:
        worker.work(int(block.ctypes.data))
        stop, failed, problems = int(block[at["stop"]]), int(block[at["failed"]]), worker.problems
        notes = [array_of(int(one["notes"]), int(one["n_notes"]), NOTES) for one in results.records]
    finally:
        worker.forget()
    if stop == layout.REJECTED:
        why = int(results.records["refusal"][failed])
        if why == layout.HOST:
            raise problems.pop(failed)
        raise BlockError(f"block {env.number}: a call by the protocol refused: {refused(calls[failed], env, why, {})}")
    unsuccessful = np.flatnonzero(results.records["success"] != 1)
    if checked and stop == layout.OK and len(unsuccessful):
        to = calls[int(unsuccessful[0])].to or b""
        raise BlockError(f"block {env.number} refused: the protocol's call of 0x{to.hex()} fails (EIP-7002, 7251)")
    return np.concatenate(notes) if stop == layout.OK else None
