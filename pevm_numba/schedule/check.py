"""A schedule is valid for its promised order: conflict-free waves, or times, may still break that order."""

from __future__ import annotations

import numpy as np

from .. import door
from .._kernels import policies as _k
from .._kernels.jit import inputs
from ..access.sets import AccessSets, need_access
from ..errors import ScheduleError
from ..evm.block import AnyBlock, need_block
from .independent import sender_chains
from .plan import Schedule
from .timeline import Timeline

__all__ = ["check_schedule"]


def check_schedule(schedule: Schedule, access: AccessSets, *, block: AnyBlock | None = None) -> None:
    """Prove that running the schedule gives the result of ``schedule.serial_order``, or say where it does not.

    Valid is exactly what passes all of these, tried in this order:

    1. Each transaction comes once in the waves and once in the serial order, and of any two conflicting transactions the
       earlier one in serial order runs in an earlier wave.
    2. If there is a timeline: the earlier one ends before the later one starts, or at the same instant.
    3. With `block`, and unless the schedule promises block order: of one sender's transactions, by (nonce, index), each
       comes later in serial order than the one before, in a later wave, and does not start before that one ends.
    4. If there is a timeline: of two transactions on one worker, one ends before the other starts, or at that instant.

    Waves and timeline are two plans for the same promise (those of ``list`` differ), so each must hold by itself. The
    times need not fit any costs.

    Parameters
    ----------
    schedule : Schedule
    access : AccessSets
    block : Block or EvmBlock, optional
        For senders and nonces, and to name keys. Default: the block that the access sets are exact for, if any.

    Raises
    ------
    BlockError
        If an argument is of another type.
    ScheduleError
        Naming the first violated pair and its key, sender or worker. First is, in 1 and 2, the lowest position in serial
        order of the later transaction, then the lowest key; its partner is the one in the latest wave, or that ends last
        (of these the first in serial order). In 3 it is the lowest position of the one with the higher (nonce, index);
        in 4 the lowest worker, then the lowest (start, end, index) of the transaction that runs first.

    Notes
    -----
    O(n_accesses + n_keys): one walk in serial order with the latest wave of each key's readers, writers and crediters.
    With a timeline another one with their latest ends, and O(n_tx log n_tx) for the workers.

    Examples
    --------
    >>> access = AccessSets.from_dicts([{0: 2}, {0: 2, 1: 2}, {1: 2}], n_keys=2)
    >>> check_schedule(Schedule.from_waves("by hand", [[0, 2], [1]], serial_order=[0, 2, 1]), access)
    >>> check_schedule(Schedule.from_waves("by hand", [[0, 2], [1]]), access)
    Traceback (most recent call last):
    pevm_numba.errors.ScheduleError: transaction 2 comes after 1 in serial order and conflicts with it on key 1, \
but runs in wave 0, not after wave 1
    >>> early = Timeline(2, worker=[0, 0, 1], start=[0, 1, 1], end=[1, 2, 2], makespan=2)
    >>> check_schedule(Schedule.from_waves("by hand", [[0], [1], [2]], timeline=early), access)
    Traceback (most recent call last):
    pevm_numba.errors.ScheduleError: transaction 2 comes after 1 in serial order and conflicts with it on key 1, \
but starts at 1.0, before that ends at 2.0
    """
    door.instance("schedule", schedule, Schedule)
    need_access("access", access)
    block = access.exact_for if block is None else block
    if block is not None:
        need_block("block", block)
    if schedule.n_tx != access.n_tx:
        raise ScheduleError(f"the schedule has {schedule.n_tx} transactions, the access sets have {access.n_tx}")
    if block is not None and block.n_tx != access.n_tx:
        raise ScheduleError(f"the block has {block.n_tx} transactions, the access sets have {access.n_tx}")
    _check_conflicts(schedule, access, block)
    if block is not None and not schedule.block_order:
        _check_senders(schedule, block)
    if schedule.timeline is not None:
        _check_workers(schedule.timeline)


def _check_conflicts(schedule: Schedule, access: AccessSets, block: AnyBlock | None) -> None:
    """Conflicting pairs run in the promised order, in the waves and then in the timeline."""
    order, wave, line = schedule.serial_order, schedule.wave_of, schedule.timeline
    sets = inputs(access.indptr, access.keys, access.modes)
    later, key, earlier = _k.check(*inputs(order, wave), *sets, np.zeros((access.n_keys, 6), np.int32))
    how = _how_waves
    if later < 0 and line is not None:
        state = np.zeros((access.n_keys, 3)), np.zeros((access.n_keys, 3), np.int32)
        later, key, earlier = _k.check_times(*inputs(order, line.start, line.end), *sets, *state)
        how = _how_times
    if later >= 0:
        pair = int(order[earlier]), int(order[later])
        _refuse(*pair, f"conflicts with it on key {access.key_label(int(key), block)}", how(schedule, *pair))


def _how_waves(schedule: Schedule, earlier: int, later: int) -> str:
    before, after = schedule.wave_of[[earlier, later]]
    return f"runs in {'the same wave' if after == before else f'wave {after}, not after wave {before}'}"


def _how_times(schedule: Schedule, earlier: int, later: int) -> str:
    line = schedule.timeline
    return "" if line is None else f"starts at {line.start[later]}, before that ends at {line.end[earlier]}"


def _refuse(earlier: int, later: int, why: str, how: str) -> None:
    raise ScheduleError(f"transaction {later} comes after {earlier} in serial order and {why}, but {how}")


def _check_senders(schedule: Schedule, block: AnyBlock) -> None:
    """Each sender's transactions in order of (nonce, index), in rising waves and one after the other in time."""
    order, wave, line = schedule.serial_order, schedule.wave_of, schedule.timeline
    position = np.empty(len(order), np.int64)
    position[order] = np.arange(len(order))
    next_of = sender_chains(block.sender, block.nonce)[1]
    one = np.flatnonzero(next_of >= 0)
    other = next_of[one]
    in_wave = wave[other] > wave[one]
    in_time = np.ones(len(one), bool) if line is None else line.end[one] <= line.start[other]
    bad = np.flatnonzero((position[other] < position[one]) | ~in_wave | ~in_time)
    if len(bad) == 0:
        return
    i = bad[np.argmin(position[other[bad]])]
    earlier, later = int(one[i]), int(other[i])
    sender = f"the same sender 0x{block.sender[later].tobytes().hex()}"
    if position[later] > position[earlier]:
        how = _how_times if in_wave[i] else _how_waves
        _refuse(earlier, later, f"has {sender}", how(schedule, earlier, later))
    raise ScheduleError(
        f"transaction {later} (nonce {block.nonce[later]}) comes before {earlier} (nonce {block.nonce[earlier]}) in "
        f"serial order, but has {sender}"
    )


def _check_workers(line: Timeline) -> None:
    """Nobody runs two at once. In order of (worker, start, end) it is enough to look at neighbours."""
    tx = np.lexsort((line.end, line.start, line.worker))
    one, other = tx[:-1], tx[1:]
    bad = np.flatnonzero((line.worker[one] == line.worker[other]) & (line.end[one] > line.start[other]))
    if len(bad):
        a, b = int(one[bad[0]]), int(other[bad[0]])
        raise ScheduleError(
            f"transactions {a} and {b} both run on worker {line.worker[a]}, but {b} starts at {line.start[b]}, "
            f"before {a} ends at {line.end[a]}"
        )
