"""Virtual runs of a block, model by model: they play the *scheduling* of accesses that are known, and run no transaction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import door
from .._kernels import simulate as _k
from .._kernels.jit import inputs
from ..access.sets import AccessSets, need_access
from ..machine.ops import Mode
from .bounds import compacted, critical_path_cost
from .dependencies import Dependencies, dependencies
from .listing import list_timeline, priority_order, wave_timeline
from .plan import Schedule
from .timeline import Timeline

__all__ = ["MODELS", "MODEL_PRIORITIES", "Outcome", "Overheads", "Work", "lower_bound", "play"]

#: Models by name, and whether their result is that of the block's own order.
MODELS: Final[dict[str, bool]] = {
    "serial": True, "waves": True, "list": True, "two-bin": False, "two-pass": True, "block-stm": True, "bal": True,
}  # fmt: skip

#: Models that have a priority to choose; see `listing.PRIORITIES`.
MODEL_PRIORITIES: Final = ("list", "two-pass")

_MOST = 1e15


@dataclass(frozen=True)
class Overheads:
    """What a run pays beside the transactions' own cost, all times in the unit of that cost, each from 0 to 1e15.

    Parameters
    ----------
    barrier : float
        After each wave; in ``two-bin`` and ``two-pass`` once, between the phases.
    dispatch : float
        For each execution, repeated ones included. ``serial`` pays none.
    validation : float
        Of one validation.
    cold_read : float
        Latency of the first touch of each storage key.
    prefetch : int
        How many cold keys are fetched at a time ahead of execution, in the order in which `prefetch_access` names them
        first: the q-th (from 0) is there at ``(q // prefetch + 1) * cold_read``, and no transaction starts before those
        that it touches are there. With 0 none is fetched. For a key that is not fetched, the transaction that touches it
        first in block order waits, in its first execution.
    prefetch_access : AccessSets, optional
        What the prefetcher knows: of as many transactions and keys as the sets simulated (or each with a table of them),
        say ``access_sets(block, "eip2930")``. A key that it names anywhere is fetched, and takes its turn even if nobody
        touches it. Default: the sets simulated, so that every key is fetched.

    Raises
    ------
    BlockError
        If one is not as described.

    Examples
    --------
    >>> Overheads(barrier=2)
    Overheads(barrier=2.0, dispatch=0.0, validation=0.0, cold_read=0.0, prefetch=0, prefetch_access=None)
    """

    barrier: float = 0.0
    dispatch: float = 0.0
    validation: float = 0.0
    cold_read: float = 0.0
    prefetch: int = 0
    prefetch_access: AccessSets | None = field(default=None, hash=False)  # compared by content, so without a hash

    def __post_init__(self) -> None:
        names = ("barrier", "dispatch", "validation", "cold_read")
        if self.prefetch_access is not None:
            need_access("prefetch_access", self.prefetch_access)
        values = {name: door.real(name, getattr(self, name), 0.0, _MOST) for name in names}
        door.freeze(self, **values, prefetch=door.integer("prefetch", self.prefetch, 0, 2**31 - 1))


@dataclass(frozen=True, eq=False)
class Work:
    """A block as every model sees it; nothing here is checked any more.

    Parameters
    ----------
    access : AccessSets
    cost : (n_tx,) float64
        Of one execution, without any overhead.
    stored : (n_keys,) bool, optional
        Which keys lie in storage; None: all.
    overheads : Overheads
    priority : str
        Of the list scheduling in ``list`` and ``two-pass``.
    waves : Schedule, optional
        Of the model ``waves``, in place of the levels.
    """

    access: AccessSets
    cost: NDArray[np.float64]
    stored: NDArray[np.bool_] | None
    overheads: Overheads
    priority: str
    waves: Schedule | None

    @cached_property
    def latencies(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(n_tx,) float64 each: what a transaction waits for in its first execution, and before when none can start."""
        n_tx, over = self.access.n_tx, self.overheads
        paid, release = np.zeros(n_tx), np.zeros(n_tx)
        if not over.cold_read:
            return paid, release
        tx, keys = self._cold(self.access)
        missed = np.ones(len(keys), bool)
        if over.prefetch:
            listed = keys if over.prefetch_access is None else self._cold(over.prefetch_access)[1]
            fetched, first = np.unique(listed, return_index=True)
            there = np.empty(len(first))
            there[np.argsort(first)] = (np.arange(len(first)) // over.prefetch + 1) * over.cold_read
            at = np.searchsorted(fetched, keys)
            missed = np.append(fetched, -1)[at] != keys
            np.maximum.at(release, tx[~missed], there[at[~missed]])
        _, first = np.unique(keys[missed], return_index=True)
        paid += np.bincount(tx[missed][first], minlength=n_tx) * over.cold_read
        return paid, release

    def _cold(self, access: AccessSets) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """(n,) each: transaction and key of every access of the sets, in block order, that may be cold."""
        tx, keys = np.repeat(np.arange(access.n_tx), np.diff(access.indptr)), access.keys
        return (tx, keys) if self.stored is None else (tx[self.stored[keys]], keys[self.stored[keys]])

    @cached_property
    def conflicts(self) -> Dependencies:
        """All dependencies."""
        return dependencies(self.access)

    @cached_property
    def data_flow(self) -> Dependencies:
        """True data flow only: what remains where every write makes a version of its own."""
        return dependencies(self.access, edges="raw")

    @cached_property
    def free(self) -> Dependencies:
        """No dependencies."""
        nothing = np.zeros(0, np.int32), np.zeros(0, np.uint8)
        return dependencies(AccessSets.trusted(0, np.zeros(self.access.n_tx + 1, np.int64), *nothing))

    @cached_property
    def in_order(self) -> NDArray[np.int32]:
        """Block order."""
        return np.arange(self.access.n_tx, dtype=np.int32)

    @cached_property
    def level_waves(self) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """The waves of ``waves``: those given, else the levels."""
        from .policies import schedule

        plan = schedule(self.packed) if self.waves is None else self.waves
        return plan.wave_indptr, plan.wave_tx

    @cached_property
    def packed(self) -> AccessSets:
        """The access sets, with only the keys that are used if those are few."""
        return compacted(self.access)[0]

    @cached_property
    def sets(self) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.uint8]]:
        """The packed access sets as kernels take them."""
        return inputs(self.packed.indptr, self.packed.keys, self.packed.modes)  # type: ignore[return-value]  # three in, three out

    @cached_property
    def thrown_away(self) -> NDArray[np.bool_]:
        """(n_tx,) bool: what pass 1 of ``two-pass`` reads too early."""
        stale = np.empty(self.access.n_tx, np.uint8)
        _k.reads_of_changed(*self.sets, np.zeros(self.packed.n_keys, np.uint8), stale)
        return stale.astype(bool)

    @cached_property
    def second_bin(self) -> NDArray[np.bool_]:
        """(n_tx,) bool: what ``two-bin`` runs serially."""
        kept = np.empty(self.access.n_tx, np.uint8)
        _k.keep_unconflicted(*self.sets, np.zeros(self.packed.n_keys, np.uint8), kept)
        return kept == 0


class Outcome(NamedTuple):
    """A run: timeline of last executions; (n_tx,) integers, executions beyond the first; validations; dispatch it paid."""

    timeline: Timeline
    again: NDArray[np.integer]
    validations: int
    dispatch: float


# -------------------------------------------------------------------- the models


def play(model: str, work: Work, workers: int) -> Outcome:
    """Run a model of `MODELS`."""
    return _MODELS[model](work, workers)


def _plain(work: Work, timeline: Timeline, dispatch: float | None = None) -> Outcome:
    again = np.zeros(work.access.n_tx, np.int64)
    return Outcome(timeline, again, 0, work.overheads.dispatch if dispatch is None else dispatch)


def _serial(work: Work, workers: int) -> Outcome:
    paid, release = work.latencies
    one_each = np.arange(work.access.n_tx + 1)
    line = wave_timeline(one_each, work.in_order, 1, work.cost + paid, release=release)
    return _plain(work, Timeline.trusted(workers, line.worker, line.start, line.end, line.makespan), 0.0)


def _waves(work: Work, workers: int) -> Outcome:
    (paid, release), over = work.latencies, work.overheads
    indptr, tx = work.level_waves
    cost = work.cost + paid
    line = wave_timeline(indptr, tx, workers, cost, release=release, dispatch=over.dispatch, barrier=over.barrier)
    return _plain(work, line)


def _list(work: Work, workers: int) -> Outcome:
    paid, release = work.latencies
    order = priority_order(work.conflicts, work.cost + paid, work.priority)
    dispatch = work.overheads.dispatch
    line = list_timeline(work.conflicts, order, workers, work.cost + paid, release=release, dispatch=dispatch)
    return _plain(work, line)


def _bal(work: Work, workers: int) -> Outcome:
    (paid, release), dispatch = work.latencies, work.overheads.dispatch
    line = list_timeline(work.free, work.in_order, workers, work.cost + paid, release=release, dispatch=dispatch)
    return _plain(work, line)


def _speculate(work: Work, workers: int) -> Timeline:
    """All at once against the state before the block, in block order; whoever has run one also validates it."""
    (paid, release), over = work.latencies, work.overheads
    cost = work.cost + paid + over.validation
    return list_timeline(work.free, work.in_order, workers, cost, release=release, dispatch=over.dispatch)


def _then(work: Work, first: Timeline, again: NDArray[np.bool_], second: Timeline | None) -> Outcome:
    """A second phase for the transactions `again`, after the first and a barrier; its timeline is by rank among them."""
    line = first
    if second is not None:
        begin = first.makespan + work.overheads.barrier
        worker, start, end = first.worker.copy(), first.start.copy(), first.end.copy()
        worker[again], start[again], end[again] = second.worker, begin + second.start, begin + second.end
        line = Timeline.trusted(first.n_workers, worker, start, end, float(end.max()))
    return Outcome(line, again.astype(np.int64), work.access.n_tx, work.overheads.dispatch)


def _two_bin(work: Work, workers: int) -> Outcome:
    first, again = _speculate(work, workers), work.second_bin
    n, second = int(again.sum()), None
    if n:
        one_each, order = np.arange(n + 1), np.arange(n, dtype=np.int32)
        second = wave_timeline(one_each, order, 1, work.cost[again], dispatch=work.overheads.dispatch)
    return _then(work, first, again, second)


def _two_pass(work: Work, workers: int) -> Outcome:
    first, again = _speculate(work, workers), work.thrown_away
    second = None
    if again.any():
        deps, cost = _among(work.data_flow, again), work.cost[again]
        order = priority_order(deps, cost, work.priority)
        second = list_timeline(deps, order, workers, cost, dispatch=work.overheads.dispatch)
    return _then(work, first, again, second)


def _among(deps: Dependencies, kept: NDArray[np.bool_]) -> Dependencies:
    """The dependencies without the transactions not kept, which are done, and with the others renumbered."""
    n_tx = int(kept.sum())
    there = np.concatenate([kept, np.ones(deps.n_joins, bool)])
    number = (np.cumsum(there) - 1).astype(np.int32)
    target = np.repeat(np.arange(len(there)), np.diff(deps.indptr))
    stays = there[target] & there[deps.indices]
    indptr = np.concatenate([[0], np.cumsum(np.bincount(number[target[stays]], minlength=n_tx + deps.n_joins))])
    below = np.concatenate([[0], np.cumsum(kept)])[deps.join_before].astype(np.int32)
    arrays = inputs(indptr.astype(np.int64), number[deps.indices[stays]], deps.kinds[stays], below)
    made = object.__new__(Dependencies)
    names = ("indptr", "indices", "kinds", "join_before")
    door.freeze(made, n_tx=n_tx, edges=deps.edges, **dict(zip(names, arrays)), _derived={})
    return made


def _grouped(work: Work, mask: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32]]:
    """Per access its place among the accesses with a bit of mask, by key; offsets of keys there; and whose they are."""
    access = work.packed
    start, place = np.zeros(access.n_keys + 1, np.int64), np.empty(access.n_accesses, np.int64)
    owner = np.empty(np.count_nonzero(access.modes & mask), np.int32)
    _k.group_by_key(*work.sets, mask, start, np.empty(access.n_keys, np.int64), place, owner)
    return place, start, owner


def _block_stm(work: Work, workers: int) -> Outcome:
    access, over = work.packed, work.overheads
    n_tx, n_accesses = access.n_tx, access.n_accesses
    place, key_start, owner = _grouped(work, Mode.WRITE | Mode.CREDIT)
    readers = _grouped(work, Mode.READ)
    credited = np.zeros(access.n_keys, np.uint8)
    credited[access.keys[(access.modes & Mode.CREDIT) != 0]] = 1
    used = max(1, min(workers, n_tx))  # the model's rule: validations could keep more of them busy
    start, end, worker, executions = np.empty(n_tx), np.empty(n_tx), np.empty(n_tx, np.int32), np.zeros(n_tx, np.int32)
    makespan, validations = _k.block_stm(
        *work.sets, *inputs(place, key_start, credited, owner, *readers, work.cost, *work.latencies), used,
        over.dispatch, over.validation, _tree(3, len(owner)), _tree(1, n_tx), np.zeros(n_tx, np.uint8),
        np.zeros(n_tx, np.uint8), executions, np.empty(n_accesses, np.int64), np.empty(n_accesses, np.int64),
        np.full(n_tx, -1, np.int32), np.empty(n_tx, np.int32), np.empty(used, np.int32), np.empty(used),
        np.empty(used, np.int32), np.empty(used), np.empty(used, np.int32), np.empty(used, np.int32), start, end, worker,
    )  # fmt: skip
    line = Timeline.trusted(workers, worker, start, end, float(makespan))
    return Outcome(line, executions - 1, int(validations), over.dispatch)


def _tree(rows: int, leaves: int) -> NDArray[np.int32]:
    """Room for trees of more than so many leaves."""
    return np.zeros((rows, 2 << leaves.bit_length()), np.int32)


_MODELS: Final[dict[str, Callable[[Work, int], Outcome]]] = {
    "serial": _serial, "waves": _waves, "list": _list, "two-bin": _two_bin, "two-pass": _two_pass,
    "block-stm": _block_stm, "bal": _bal,
}  # fmt: skip


def lower_bound(model: str, work: Work, workers: int) -> float:
    """No run of the model is shorter, but for rounding: work and waits shared evenly, or its longest chain."""
    paid, _ = work.latencies
    shared = float((work.cost + paid).sum()) / workers
    own_order = work.waves is not None and not work.waves.block_order
    if model in ("two-bin", "bal") or (model == "waves" and own_order):
        return max(shared, float(work.cost.max(initial=0.0)))
    if model in ("two-pass", "block-stm"):
        return max(shared, float(work.data_flow.critical_path(work.cost)[0]))
    return max(shared, float(critical_path_cost(work.access, work.cost)))
