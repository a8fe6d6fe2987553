"""Simulated runs on p virtual workers: a makespan here follows from costs and access sets alone; no transaction runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import door
from ..access.oracles import exact_sets
from ..access.quality import with_common_keys
from ..access.sets import AccessSets
from ..errors import BlockError, ScheduleError
from ..evm.block import AnyBlock, need_block
from ..machine.ops import Field
from .check import check_schedule
from .costs import cost_of
from .listing import PRIORITIES
from .models import MODEL_PRIORITIES, MODELS, Overheads, Work, lower_bound, play
from .plan import Schedule
from .timeline import Timeline

__all__ = ["MODELS", "Overheads", "Simulation", "compare", "simulate"]


@dataclass(frozen=True, eq=False, repr=False)
class Simulation:
    """What a model took on p virtual workers; times and costs in the unit of the costs it was given.

    Parameters
    ----------
    model : str
        One of `MODELS`.
    workers : int
    order : str
        ``"block"`` if the result is that of the block's own order, ``"own"`` if another block was built.
    makespan : float
        When the last worker is done, validations and a last barrier included.
    serial : float
        Makespan of the model ``serial`` with the same costs, cold reads and prefetch: without dispatch, barrier and
        validation, which one core does not need.
    bound : float
        No run that keeps what the model must keep is shorter: the larger of total cost / workers (cold reads that somebody
        waits for included) and the cost of the longest chain. ``serial``, ``waves``, ``list``: chains of conflicts in
        block order. ``two-pass``, ``block-stm``: of true data flow. ``bal``, ``two-bin`` and waves in an order of their
        own: the longest transaction. Exact for whole costs and cold reads that add up to less than 2**53; others round.
    executions : int
        Of transactions, those thrown away included.
    validations : int
    wasted : float
        Cost (gas, if that is the cost) of the executions that were thrown away.
    busy : float
        Time for which workers are held, summed (CPU seconds, if the costs are seconds): costs of all executions, dispatch,
        validations, and cold reads that a transaction itself waits for.
    timeline : Timeline
        Of each transaction's last execution, the one that counts.

    Examples
    --------
    >>> access = AccessSets.from_dicts([{0: 3}, {0: 3}, {1: 3}, {1: 3}], n_keys=2)
    >>> simulate(access, "block-stm", workers=2, cost=[4, 4, 4, 4])
    <Simulation block-stm: 12 on 2 workers, speedup 1.33, 1 thrown away>
    """

    model: str
    workers: int
    order: str
    makespan: float
    serial: float
    bound: float
    executions: int
    validations: int
    wasted: float
    busy: float
    timeline: Timeline

    @property
    def reexecutions(self) -> int:
        """Executions beyond one for each transaction: as many as were thrown away."""
        return self.executions - self.timeline.n_tx

    @property
    def speedup(self) -> float:
        """Serial time / makespan; 1 if there is nothing to do."""
        return self.serial / self.makespan if self.makespan > 0 else 1.0

    @property
    def idle_share(self) -> float:
        """Share of workers times makespan in which a worker is not held; 0 if there is no time at all."""
        room = self.workers * self.makespan
        return max(0.0, 1.0 - self.busy / room) if room > 0 else 0.0

    def row(self) -> dict[str, Any]:
        """All but the timeline, as plain values for a table."""
        names = ("model", "workers", "order", "makespan", "serial", "speedup", "bound", "executions", "reexecutions",
                 "validations", "wasted", "busy", "idle_share")  # fmt: skip
        return {name: getattr(self, name) for name in names}

    def __repr__(self) -> str:
        again = f", {self.reexecutions:,} thrown away" if self.reexecutions else ""
        on = f"{self.makespan:,.12g} on {self.workers:,} workers, speedup {self.speedup:.2f}"
        return f"<Simulation {self.model}: {on}{again}>"


def simulate(
    block_or_access: AnyBlock | AccessSets,
    model: str = "list",
    *,
    workers: int = 8,
    cost: ArrayLike | str | None = None,
    overheads: Overheads | None = None,
    schedule: Schedule | None = None,
    priority: str | None = None,
    block: AnyBlock | None = None,
) -> Simulation:
    """Simulate one way of running a block on p workers.

    Parameters
    ----------
    block_or_access : Block, EvmBlock or AccessSets
        A block is simulated by its exact access sets: every execution, a thrown-away one too, touches just these keys.
    model : str
        ``"serial"``: one worker, block order.
        ``"waves"``: the levels, or the waves of `schedule`, a barrier after each; in a wave the largest goes first.
        ``"list"``: Graham's list scheduling [1]_ of all conflicts, no barriers: a free worker takes the ready transaction
        that is first by `priority`.
        ``"two-bin"``: Saraph and Herlihy [2]_. All run at once, in block order, against the state before the block;
        whoever conflicts with an earlier transaction *that is kept* is thrown away and run serially afterwards. The result
        is that of the kept ones followed by the others: an order of its own, in which nonces are not consulted.
        ``"two-pass"``: pass 1 the same, but thrown away is whoever reads what *any* earlier one writes or credits, for the
        kept must have read what block order gives them. Pass 2 runs these by list scheduling. Each write has its own version
        there, so a transaction waits for the thrown-away ones whose changes it reads and for nothing else.
        ``"block-stm"``: Gelashvili et al. [3]_, see Notes.
        ``"bal"``: a block access list that holds every value (EIP-7928 [4]_): no transaction waits for another.
    workers : int
        At least 1. No more than n_tx are used: more would stay idle, or in Block-STM, where several validations of one
        transaction can be under way at once, are not given any.
    cost : (n_tx,) integers or floats, or str, optional
        Of one execution; as in `schedule`. Its sum at most 1e15.
    overheads : Overheads, optional
        Default none.
    schedule : Schedule, optional
        For ``waves``; it must be valid for the access sets, and for the senders and nonces of the block if there is one.
    priority : str, optional
        For ``list`` and ``two-pass``: ``"longest-path"`` (of remaining cost; the default), ``"block"`` or ``"largest"``.
    block : Block or EvmBlock, optional
        Whose transactions the access sets are about: its keys tell which lie in storage and may be cold. Default: the one
        that the sets are exact for, if any; without a block all may be cold.

    Returns
    -------
    Simulation

    Raises
    ------
    ScheduleError
        If model or priority is unknown, or the schedule is for another model or not valid.
    BlockError
        If another argument is not as described.

    Notes
    -----
    READ bits read; a bare WRITE does not (``dependencies(access, edges="raw")``), although an SSTORE's price does. In the
    speculative phase of ``two-bin`` and ``two-pass`` whoever ran a transaction validates it too.

    Block-STM is simulated at the granularity of transactions. A free worker takes the task of the lowest transaction, be it
    an execution or a validation. An execution takes, when it is claimed, the newest lower version of each key that it
    reads (with all credits since); it publishes when it ends. Then it is to be validated and, if it is the transaction's
    first, so are all higher executed ones for which a change of it is now the newest. Validation compares, when it ends,
    what was read with what would be read now. If they differ, or there is an estimate, the changes become estimates, the
    higher executed ones that they were the newest for are to be validated, and the transaction is to be executed again.
    Whoever meets an estimate (on its lowest such key; of several credits the last) takes no time, waits for that
    transaction, and is to be executed when that one ends. A worker that claims a transaction whose prefetched keys are
    not there yet waits. At equal instants ends come before starts, that of the lowest worker first, even if the task began
    at that instant; of several free workers the lowest takes the task.

    This differs from the paper where that revalidates *everything* above: validations that cannot fail are neither run nor
    counted. Not simulated either: reads later than at the start, and waiting in the midst of an execution.

    O(n_accesses + n_tx log n_tx); with cold reads, or if few of the keys are used, the accesses are sorted.
    Block-STM: O(log n_tx) for each read and change of each execution, validation or vain attempt to execute, and O(1) for
    each reader that is to be validated. Where all read and write one key, and workers are few, the vain attempts are of
    the order of n_tx squared (10,000 transactions: some seconds).

    References
    ----------
    .. [1] R. L. Graham: Bounds on multiprocessing timing anomalies, SIAM J. Appl. Math. 17, 1969.
    .. [2] V. Saraph, M. Herlihy: An empirical study of speculative concurrency in Ethereum smart contracts, Tokenomics 2019.
    .. [3] R. Gelashvili et al.: Block-STM: scaling blockchain execution by turning ordering curse to a performance
       blessing, arXiv:2203.06871.
    .. [4] https://eips.ethereum.org/EIPS/eip-7928

    Examples
    --------
    >>> access = AccessSets.from_dicts([{0: 2}, {0: 1}, {1: 2}], n_keys=2)
    >>> run = simulate(access, "two-pass", workers=2, cost=[3, 1, 2], overheads=Overheads(validation=1))
    >>> run.makespan, run.reexecutions, run.validations, run.wasted, run.busy
    (6.0, 1, 3, 1.0, 10.0)
    """
    work, given = _work(block_or_access, [model], cost, overheads, schedule, priority, block)
    return _simulate(work, given[0], door.integer("workers", workers, 1, 2**31 - 1))


def compare(
    block_or_access: AnyBlock | AccessSets,
    models: Iterable[str] = tuple(MODELS),
    *,
    workers: Iterable[int] = (1, 2, 4, 8, 16),
    cost: ArrayLike | str | None = None,
    overheads: Overheads | None = None,
    schedule: Schedule | None = None,
    priority: str | None = None,
    block: AnyBlock | None = None,
) -> list[Simulation]:
    """Simulate several models on several numbers of workers; `schedule` and `priority` go to the models that have them.

    Parameters
    ----------
    models : iterable of str
    workers : iterable of int
    block_or_access, cost, overheads, schedule, priority, block
        As in `simulate`.

    Returns
    -------
    list of Simulation
        Model by model, for each one number of workers after the other.

    Raises
    ------
    ScheduleError, BlockError
        As `simulate`.

    Examples
    --------
    >>> access = AccessSets.from_dicts([{0: 2}, {0: 2}, {1: 2}], n_keys=2)
    >>> [(run.model, run.workers, run.makespan) for run in compare(access, ["list", "bal"], workers=[1, 4])]
    [('list', 1, 3.0), ('list', 4, 2.0), ('bal', 1, 3.0), ('bal', 4, 1.0)]
    """
    wanted = door.items("models", models, "names of models")
    counts = [door.integer("workers", p, 1, 2**31 - 1) for p in door.items("workers", workers, "numbers of workers")]
    work, known = _work(block_or_access, wanted, cost, overheads, schedule, priority, block)
    return [_simulate(work, model, p) for model in known for p in counts]


def _simulate(work: Work, model: str, workers: int) -> Simulation:
    done = play(model, work, workers)
    n_tx, over = work.access.n_tx, work.overheads
    executions, wasted = n_tx + int(done.again.sum()), float(work.cost @ done.again)
    held = float(work.cost.sum() + work.latencies[0].sum()) + wasted
    own = not MODELS[model] or (model == "waves" and work.waves is not None and not work.waves.block_order)
    return Simulation(
        model=model,
        workers=workers,
        order="own" if own else "block",
        makespan=done.timeline.makespan,
        serial=play("serial", work, 1).timeline.makespan,
        bound=lower_bound(model, work, workers),
        executions=executions,
        validations=done.validations,
        wasted=wasted,
        busy=held + done.dispatch * executions + over.validation * done.validations,
        timeline=done.timeline,
    )


def _work(
    given: AnyBlock | AccessSets,
    models: list[Any],
    cost: ArrayLike | str | None,
    overheads: Overheads | None,
    plan: Schedule | None,
    priority: str | None,
    block: AnyBlock | None,
) -> tuple[Work, list[str]]:
    """All arguments, checked; the last of them, the models, apart."""
    for model in models:
        if not isinstance(model, str) or model not in MODELS:
            raise ScheduleError(f"model = {door.shown(model)}: must be one of {', '.join(MODELS)}")
    if block is not None:
        need_block("block", block)
    overheads = Overheads() if overheads is None else overheads
    door.instance("overheads", overheads, Overheads)
    access, block = _access_of(given, block)
    weight = cost_of(cost, access, block)
    if not (weight <= 1e15).all() or weight.sum() > 1e15:
        raise BlockError("cost: the sum must be at most 1e15")
    if priority is not None and not set(models) & set(MODEL_PRIORITIES):
        raise ScheduleError(f"priority = {door.shown(priority)}: only models {', '.join(MODEL_PRIORITIES)} have one")
    if priority is not None and (not isinstance(priority, str) or priority not in PRIORITIES):
        raise ScheduleError(f"priority = {door.shown(priority)}: must be one of {', '.join(PRIORITIES)}")
    if plan is not None:
        door.instance("schedule", plan, Schedule)
        if "waves" not in models:
            raise ScheduleError("schedule: only model waves takes one")
        check_schedule(plan, access, block=block)
    listed = overheads.prefetch_access
    if listed is not None and listed.table != access.table:
        access, listed = with_common_keys(access, listed)
        overheads = replace(overheads, prefetch_access=listed)
    if listed is not None and listed.table != access.table:
        raise BlockError("prefetch_access has a table of its keys, or none, unlike the access sets: must be of the same keys")
    if listed is not None and (listed.n_tx, listed.n_keys) != (access.n_tx, access.n_keys):
        what = f"prefetch_access has {listed.n_tx} transactions, {listed.n_keys} keys"
        raise BlockError(f"{what}: must be as many as the access sets have, {access.n_tx} and {access.n_keys}")
    return Work(access, weight, _stored(access, block), overheads, priority or "longest-path", plan), models


def _access_of(given: AnyBlock | AccessSets, block: AnyBlock | None) -> tuple[AccessSets, AnyBlock | None]:
    if isinstance(given, AnyBlock):
        return exact_sets(given), given
    if not isinstance(given, AccessSets):
        what = f"block_or_access = {door.shown(given)}: {type(given).__name__} cannot be simulated"
        raise ScheduleError(f"{what}: must be a Block or AccessSets")
    block = given.exact_for if block is None else block
    if block is not None:
        door.integer("number of transactions of the access sets", given.n_tx, block.n_tx, block.n_tx)
    return given, block


def _stored(access: AccessSets, block: AnyBlock | None) -> NDArray[np.bool_] | None:
    """Which keys lie in storage; all, if no block tells or the access sets are about accounts."""
    names = access.names(block)
    if names is None:
        return None
    return names.key_field == Field.STORAGE
