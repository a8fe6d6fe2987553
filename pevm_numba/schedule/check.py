"""A schedule is valid for its promised order: conflict-free waves may still break that order."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .. import door
from .._kernels import policies as _k
from .._kernels.jit import inputs
from ..access.sets import AccessSets, need_access
from ..block import Block
from ..errors import ScheduleError
from .independent import sender_chains
from .plan import Schedule

__all__ = ["check_schedule"]


def check_schedule(schedule: Schedule, access: AccessSets, *, block: Block | None = None) -> None:
    """Prove that running the waves gives the result of ``schedule.serial_order``, or say where it does not.

    Valid is exactly: every transaction once, in waves and in serial order; and of any two conflicting transactions the
    earlier one in serial order runs in an earlier wave. With `block`, and unless the schedule promises block order,
    also: of one sender's transactions, by (nonce, index), each runs in a later wave than the one before, and later in
    serial order.

    Parameters
    ----------
    schedule : Schedule
    access : AccessSets
    block : Block, optional
        For senders and nonces, and to name keys. Default: the block that the access sets are exact for, if any.

    Raises
    ------
    BlockError
        If an argument is of another type.
    ScheduleError
        Naming the first violated pair and its key. First is the lowest position, in serial order, of the later
        transaction, then the lowest key; its partner is the one in the latest wave (of these the first in serial
        order).

    Notes
    -----
    O(n_accesses + n_keys): one walk in serial order with the latest wave of each key's readers, writers and crediters.

    Examples
    --------
    >>> access = AccessSets.from_dicts([{0: 2}, {0: 2, 1: 2}, {1: 2}], n_keys=2)
    >>> check_schedule(Schedule.from_waves("by hand", [[0, 2], [1]], serial_order=[0, 2, 1]), access)
    >>> check_schedule(Schedule.from_waves("by hand", [[0, 2], [1]]), access)
    Traceback (most recent call last):
    pevm_numba.errors.ScheduleError: transaction 2 comes after 1 in serial order and conflicts with it on key 1, \
but runs in wave 0, not after wave 1
    """
    door.instance("schedule", schedule, Schedule)
    need_access("access", access)
    block = access.exact_for if block is None else block
    if block is not None:
        door.instance("block", block, Block)
    if schedule.n_tx != access.n_tx:
        raise ScheduleError(f"the schedule has {schedule.n_tx} transactions, the access sets have {access.n_tx}")
    if block is not None and block.n_tx != access.n_tx:
        raise ScheduleError(f"the block has {block.n_tx} transactions, the access sets have {access.n_tx}")
    wave, order = schedule.wave_of, schedule.serial_order
    state = np.zeros((access.n_keys, 6), np.int32)
    later, key, earlier = _k.check(*inputs(order, wave, access.indptr, access.keys, access.modes), state)
    if later >= 0:
        why = f"conflicts with it on key {access.key_label(key, block)}"
        _refuse(int(order[earlier]), int(order[later]), why, wave)
    if block is not None and not schedule.block_order:
        _check_senders(order, wave, block)


def _refuse(earlier: int, later: int, why: str, wave: NDArray[np.int32]) -> None:
    same = "the same wave" if wave[later] == wave[earlier] else f"wave {wave[later]}, not after wave {wave[earlier]}"
    raise ScheduleError(f"transaction {later} comes after {earlier} in serial order and {why}, but runs in {same}")


def _check_senders(order: NDArray[np.int32], wave: NDArray[np.int32], block: Block) -> None:
    """Each sender's transactions in order of (nonce, index), in rising waves."""
    position = np.empty(len(order), np.int64)
    position[order] = np.arange(len(order))
    next_of = sender_chains(block.sender, block.nonce)[1]
    one = np.flatnonzero(next_of >= 0)
    other = next_of[one]
    bad = np.flatnonzero((position[other] < position[one]) | (wave[other] <= wave[one]))
    if len(bad) == 0:
        return
    i = bad[np.argmin(position[other[bad]])]
    earlier, later = int(one[i]), int(other[i])
    sender = f"the same sender 0x{block.sender[later].tobytes().hex()}"
    if position[later] > position[earlier]:
        _refuse(earlier, later, f"has {sender}", wave)
    raise ScheduleError(
        f"transaction {later} (nonce {block.nonce[later]}) comes before {earlier} (nonce {block.nonce[earlier]}) in "
        f"serial order, but has {sender}"
    )
