"""Exact optima of small cases: fewest waves and shortest makespan are NP-hard, so each result says whether it is proved."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import door
from ..access.sets import AccessSets, need_access
from ..errors import BlockError, ScheduleError, TooLargeError
from .bounds import compacted
from .check import check_schedule
from .conflicts import adjacency
from .costs import cost_of, total_of
from .dependencies import dependencies
from .listing import PRIORITIES, list_timeline, priority_order
from .plan import Schedule
from .policies import schedule
from .senders import block_of, chains_of, with_senders
from .solver import Solver, cliques_of, large_clique
from .timeline import Timeline

if TYPE_CHECKING:
    from ..evm.block import AnyBlock

__all__ = ["EXACT_LIMIT", "Optimum", "largest_independent_set", "optimal_makespan", "optimal_waves"]

#: Transactions above which nothing is tried: the models grow with the square, and proofs take exponential time.
EXACT_LIMIT: Final = 300


@dataclass(frozen=True, eq=False, repr=False)
class Optimum:
    """The best found, and how good any other could be.

    Parameters
    ----------
    value : int
        Makespan, number of waves, or size of the set.
    proved : bool
        Whether nothing better exists. If not, the time limit came first; then another run may find another value.
    bound : int
        Nothing is better than this: `value` itself if proved.
    schedule : Schedule or None
        That reaches a makespan (then with its timeline) or a number of waves.
    transactions : (value,) int32 or None
        The independent set, ascending.
    """

    value: int
    proved: bool
    bound: int
    schedule: Schedule | None = None
    transactions: NDArray[np.int32] | None = None

    def __repr__(self) -> str:
        return f"<Optimum: {self.value:,}, {'proved' if self.proved else f'not proved, bound {self.bound:,}'}>"


def optimal_makespan(
    access: AccessSets,
    workers: int,
    cost: ArrayLike | str | None = None,
    *,
    block_order: bool = True,
    block: AnyBlock | None = None,
    time_limit: float = 10.0,
) -> Optimum:
    """The shortest makespan on identical workers, by constraint programming (OR-Tools CP-SAT).

    Parameters
    ----------
    access : AccessSets
        At most 300 transactions.
    workers : int
        At least 1.
    cost : (n_tx,) whole numbers, or str, optional
        At least 1, at most 2**50 in all; default 1 each. By name as in `schedule`.
    block_order : bool
        Whether conflicting transactions run in block order. If not, they only never run at the same time, and one
        sender's run in order of (nonce, index).
    block : Block or EvmBlock, optional
        For senders, nonces and named costs. Default: the block that the access sets are exact for, if any.
    time_limit : float
        Seconds, at least 0. A proved value does not depend on the machine; what is reached without proof does.

    Returns
    -------
    Optimum
        With a schedule, checked by `check_schedule`, and its timeline; never longer than the list schedules.

    Raises
    ------
    UsageError
        If OR-Tools is not installed.
    TooLargeError
        If there are more transactions.
    BlockError
        If an argument is not as described.

    Examples
    --------
    >>> access = AccessSets.from_dicts([{0: 2}, {0: 2, 1: 2}, {1: 2}], n_keys=2)
    >>> optimal_makespan(access, 2, [3, 1, 4]), optimal_makespan(access, 2, [3, 1, 4], block_order=False)
    (<Optimum: 8, proved>, <Optimum: 5, proved>)
    """
    solver = Solver(time_limit)
    access, block = _small(access, block)
    workers = door.integer("workers", workers, 1, 2**31 - 1)
    if not isinstance(block_order, bool | np.bool_):
        raise BlockError(f"block_order = {door.shown(block_order)}: must be True or False")
    weight = _whole(cost, access, block)
    unit = int(np.gcd.reduce(weight)) if len(weight) else 1
    chains = chains_of(access.n_tx, None if block_order else block)
    joined = with_senders(access, *chains)
    guess = _listed(access, joined, workers, weight, None if block_order else block, bool(block_order))
    start, bound = solver.starts(joined, chains[1], workers, weight // unit, guess // unit, bool(block_order))
    made = _timed(joined, workers, weight, start * unit, bool(block_order))
    check_schedule(made, access, block=block)
    assert made.timeline is not None
    _check_times(made, joined, weight)
    value = int(made.timeline.makespan)
    return Optimum(value, bound * unit >= value, min(value, bound * unit), schedule=made)


def optimal_waves(access: AccessSets, *, block: AnyBlock | None = None, time_limit: float = 10.0) -> Optimum:
    """The fewest waves in any order: the chromatic number of the conflict graph, one sender's waves rising with the nonce.

    Parameters
    ----------
    access, block, time_limit
        As in `optimal_makespan`.

    Returns
    -------
    Optimum
        With a schedule, checked by `check_schedule`; never more waves than the package's policies.

    Raises
    ------
    UsageError, TooLargeError, BlockError
        As `optimal_makespan`.

    Examples
    --------
    >>> ring = [{0: 2, 1: 2}, {1: 2, 2: 2}, {2: 2, 0: 2}, {3: 2}]
    >>> optimal_waves(AccessSets.from_dicts(ring, n_keys=4)).schedule.waves()
    [[0, 3], [1], [2]]
    """
    solver = Solver(time_limit)
    access, block = _small(access, block)
    first, next_of = chains_of(access.n_tx, block)
    joined = with_senders(access, first, next_of)
    found = [schedule(access, policy, block=block) for policy in ("mis", "first-fit", "largest-first")]
    best = min(found, key=lambda made: made.n_waves)
    cliques = cliques_of(joined)
    wave, count = best.wave_of, best.n_waves
    clique = large_clique(joined, cliques)
    if len(clique) < count:
        clique = solver.clique(joined, clique)
    least = len(clique)
    while least < count:
        better, impossible = solver.waves(cliques, clique, next_of, count - 1)
        if better is None:
            least = count if impossible else least
            break
        wave = np.unique(better, return_inverse=True)[1].ravel().astype(np.int32)
        count = int(wave.max()) + 1
    tx = np.argsort(wave, kind="stable").astype(np.int32)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(wave, minlength=count))])
    made = Schedule("optimal", indptr, tx, tx)
    check_schedule(made, access, block=block)
    return Optimum(count, least >= count, least, schedule=made)


def largest_independent_set(access: AccessSets, *, block: AnyBlock | None = None, time_limit: float = 10.0) -> Optimum:
    """The most transactions of which no two conflict: what the first wave of an order-free schedule could be.

    Parameters
    ----------
    access, block, time_limit
        As in `optimal_makespan`. With a block only each sender's first transaction by (nonce, index) can be in the set.

    Returns
    -------
    Optimum
        With the transactions.

    Raises
    ------
    UsageError, TooLargeError, BlockError
        As `optimal_makespan`.

    Examples
    --------
    >>> path = AccessSets.from_dicts([{0: 2}, {0: 2, 1: 2}, {1: 2}], n_keys=2)
    >>> largest_independent_set(path).transactions.tolist()
    [0, 2]
    """
    solver = Solver(time_limit)
    access, block = _small(access, block)
    eligible = chains_of(access.n_tx, block)[0]
    if not len(eligible):
        return Optimum(0, True, 0, transactions=np.zeros(0, np.int32))
    part = access.reordered(eligible)
    guess = schedule(part, "mis").waves()[0]
    taken, bound = solver.independent(part.n_tx, cliques_of(part), guess)
    inside = np.zeros(part.n_tx, bool)
    inside[taken] = True
    indptr, indices = adjacency(part)
    source = np.repeat(np.arange(part.n_tx), np.diff(indptr))
    clash = np.flatnonzero(inside[source] & inside[indices])
    if len(clash):
        pair = eligible[source[clash[0]]], eligible[indices[clash[0]]]
        raise ScheduleError(f"transactions {pair[0]} and {pair[1]} conflict: the solver's set is not independent")
    return Optimum(len(taken), len(taken) >= bound, bound, transactions=eligible[taken].astype(np.int32))


# -------------------------------------------------------------------- to and from schedules


def _small(access: AccessSets, block: AnyBlock | None) -> tuple[AccessSets, AnyBlock | None]:
    """The arguments, checked; of the keys only those used, if they are few."""
    need_access("access", access)
    if access.n_tx > EXACT_LIMIT:
        raise TooLargeError(
            f"exact optimum of {access.n_tx:,} transactions: the limit is {EXACT_LIMIT}; bounds(access) has none"
        )
    block = block_of(access, block)
    return compacted(access)[0], block


def _whole(cost: ArrayLike | str | None, access: AccessSets, block: AnyBlock | None) -> NDArray[np.int64]:
    weight = cost_of(cost, access, block)
    bad = np.flatnonzero((weight < 1) | (weight != np.rint(weight)))
    if len(bad):
        raise BlockError(f"cost[{bad[0]}] = {weight[bad[0]]:g}: must be a whole number, at least 1, for an exact optimum")
    total = total_of(weight)
    if total > 2**50:
        raise BlockError(f"cost adds up to {total:.6g}: must be at most 2**50 for an exact optimum")
    return weight.astype(np.int64)


def _listed(
    access: AccessSets, joined: AccessSets, workers: int, cost: NDArray[np.int64], block: AnyBlock | None, block_order: bool
) -> NDArray[np.int64]:
    """Start times of the shortest list schedule, of `mis` order if the order is free."""
    order = np.arange(access.n_tx, dtype=np.int32)
    if not block_order:
        order = schedule(access, "mis", block=block).serial_order
    deps, weight = dependencies(joined.reordered(order)), cost[order]
    lines = (list_timeline(deps, priority_order(deps, weight, name), workers, weight) for name in PRIORITIES)
    start = np.empty(access.n_tx, np.int64)
    start[order] = min(lines, key=lambda line: line.makespan).start
    return start


def _timed(
    joined: AccessSets, workers: int, cost: NDArray[np.int64], start: NDArray[np.int64], block_order: bool
) -> Schedule:
    """A schedule of these start times: any free worker takes a transaction, as never more run than there are workers."""
    n_tx = len(start)
    by_start = np.argsort(start, kind="stable").astype(np.int32)
    worker, free, busy = np.zeros(n_tx, np.int32), list(range(min(workers, n_tx))), list[tuple[int, int]]()
    for t in by_start.tolist():
        while busy and busy[0][0] <= start[t]:
            heapq.heappush(free, heapq.heappop(busy)[1])
        worker[t] = heapq.heappop(free)
        heapq.heappush(busy, (int(start[t] + cost[t]), int(worker[t])))
    order = np.arange(n_tx, dtype=np.int32) if block_order else by_start
    levels = schedule(joined.reordered(order), "levels")
    end = (start + cost).astype(np.float64)
    line = Timeline(workers, worker, start.astype(np.float64), end, float(end.max(initial=0.0)))
    return Schedule("optimal", levels.wave_indptr, order[levels.wave_tx], order, line)


def _check_times(made: Schedule, joined: AccessSets, cost: NDArray[np.int64]) -> None:
    """A ScheduleError unless conflicting transactions run in serial order, one after the other, each on a free worker."""
    line = made.timeline
    assert line is not None
    position = np.empty(made.n_tx, np.int64)
    position[made.serial_order] = np.arange(made.n_tx)
    indptr, indices = adjacency(joined)
    source = np.repeat(np.arange(made.n_tx), np.diff(indptr))
    wrong = (position[source] < position[indices]) & (line.end[source] > line.start[indices])
    shared = np.lexsort((line.start, line.worker))
    one, other = shared[:-1], shared[1:]
    overlap = (line.worker[one] == line.worker[other]) & (line.end[one] > line.start[other])
    if wrong.any() or overlap.any() or (line.end - line.start != cost).any():
        raise ScheduleError("the solver's start times break a conflict or a worker's turn: not an optimum")
