"""List scheduling keeps precedence, not a fixed assignment: which worker runs what follows from the costs alone."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import door
from .._kernels import listing as _k
from .._kernels.jit import inputs
from ..errors import BlockError
from .costs import costs
from .dependencies import Dependencies
from .timeline import Timeline

__all__ = ["PRIORITIES", "list_timeline", "priority_order", "wave_timeline"]

#: Which of several ready transactions goes first.
PRIORITIES: Final = ("block", "longest-path", "largest")


def priority_order(dependencies: Dependencies, cost: ArrayLike | None, priority: str) -> NDArray[np.int32]:
    """Transactions in order of priority, best first; ties go to the lower index.

    Parameters
    ----------
    dependencies : Dependencies
    cost : (n_tx,) integers or floats, or None
    priority : str
        ``"block"``: block order. ``"longest-path"``: the longest path from the transaction on, its own cost included.
        ``"largest"``: its own cost.

    Returns
    -------
    (n_tx,) int32
        A permutation.

    Raises
    ------
    BlockError
        If an argument is not as described.

    Examples
    --------
    >>> from pevm_numba.access.sets import AccessSets
    >>> from pevm_numba.schedule.dependencies import dependencies
    >>> deps = dependencies(AccessSets.from_dicts([{}, {0: 2}, {0: 2}], n_keys=1))
    >>> priority_order(deps, [4, 1, 2], "longest-path").tolist(), priority_order(deps, [1, 1, 2], "longest-path").tolist()
    ([0, 1, 2], [1, 2, 0])
    """
    door.instance("dependencies", dependencies, Dependencies)
    door.choice("priority", priority, PRIORITIES)
    weight = costs(cost, dependencies.n_tx)
    if priority == "block":
        return np.arange(dependencies.n_tx, dtype=np.int32)
    height = dependencies.remaining(weight) if priority == "longest-path" else weight
    return np.argsort(-height, kind="stable").astype(np.int32)


def list_timeline(
    dependencies: Dependencies,
    order: ArrayLike,
    workers: int,
    cost: ArrayLike | None = None,
    *,
    release: ArrayLike | None = None,
    dispatch: float = 0.0,
) -> Timeline:
    """Graham's list scheduling: whenever a worker is free it takes the ready transaction that comes first in `order`.

    Parameters
    ----------
    dependencies : Dependencies
    order : (n_tx,) int32
        A permutation, best priority first.
    workers : int
        At least 1.
    cost : (n_tx,) integers or floats, optional
        Finite, not negative; default 1 each.
    release : (n_tx,) integers or floats, optional
        Earliest start; default 0.
    dispatch : float
        Added to each cost, for handing the transaction to a worker; at least 0.

    Returns
    -------
    Timeline
        Of several free workers the lowest takes the transaction; what ends at an instant, even if it began there, ends
        before the next one starts. So the result follows from the arguments alone.

    Raises
    ------
    BlockError
        If an argument is not as described.

    Notes
    -----
    O((n_tx + edges) log n_tx). Never more than 2 - 1 / workers times the shortest makespan possible [1]_ (release times 0).

    References
    ----------
    .. [1] R. L. Graham: Bounds on multiprocessing timing anomalies, SIAM J. Appl. Math. 17, 1969.

    Examples
    --------
    >>> from pevm_numba.access.sets import AccessSets
    >>> from pevm_numba.schedule.dependencies import dependencies
    >>> deps = dependencies(AccessSets.from_dicts([{0: 2}, {0: 2}, {}], n_keys=1))
    >>> line = list_timeline(deps, [0, 1, 2], workers=2, cost=[3, 1, 2])
    >>> line.start.tolist(), line.worker.tolist(), line.makespan
    ([0.0, 3.0, 0.0], [0, 0, 1], 4.0)
    """
    door.instance("dependencies", dependencies, Dependencies)
    n_tx = dependencies.n_tx
    workers = door.integer("workers", workers, 1, 2**31 - 1)
    at_rank = door.permutation("order", order, n_tx)
    weight, ready_at, dispatch, _ = _times(n_tx, cost, release, dispatch)
    succ_start, succ, _ = dependencies.successors()
    waiting = np.diff(dependencies.indptr).astype(np.int32)
    rank = np.empty(n_tx, np.int32)
    rank[at_rank] = np.arange(n_tx, dtype=np.int32)
    used = max(1, min(workers, n_tx))  # the lowest free worker goes first, so higher ones would stay idle
    start, end, worker = np.empty(n_tx), np.empty(n_tx), np.empty(n_tx, np.int32)
    makespan = _k.list_times(
        *inputs(succ_start, succ), waiting, *inputs(at_rank, rank, weight, ready_at), used, dispatch,
        start, end, worker, np.empty(n_tx, np.int32), np.empty(used, np.int32), np.empty(n_tx), np.empty(n_tx, np.int32),
        np.empty(n_tx), np.empty(n_tx, np.int32), np.empty(len(waiting), np.int32),
    )  # fmt: skip
    return Timeline.trusted(workers, worker, start, end, float(makespan))


def wave_timeline(
    wave_indptr: ArrayLike,
    wave_tx: ArrayLike,
    workers: int,
    cost: ArrayLike | None = None,
    *,
    release: ArrayLike | None = None,
    dispatch: float = 0.0,
    barrier: float = 0.0,
) -> Timeline:
    """Waves one after the other; within one the largest goes first, to the worker that is free first.

    Parameters
    ----------
    wave_indptr, wave_tx : (n_waves + 1,) int64, (n_tx,) int32
        Offsets of the waves, and each transaction once, as in `Schedule`.
    workers, cost, release, dispatch
        As in `list_timeline`.
    barrier : float
        Time from the last end in a wave to the next wave, and after the last; at least 0.

    Returns
    -------
    Timeline
        Equal costs go in the order of `wave_tx`, and of several free workers the lowest takes the transaction.

    Raises
    ------
    BlockError
        If an argument is not as described.

    Notes
    -----
    O(n_tx log n_tx). A worker whose next transaction is not yet released waits for it, and takes no other meanwhile.

    Examples
    --------
    >>> line = wave_timeline([0, 2, 3], [0, 2, 1], workers=2, cost=[1, 4, 3], barrier=0.5)
    >>> line.start.tolist(), line.worker.tolist(), line.makespan
    ([0.0, 3.5, 0.0], [1, 0, 0], 8.0)
    """
    n_tx = len(door.array("wave_tx", wave_tx, np.int32, (None,)))
    tx, offsets = door.permutation("wave_tx", wave_tx, n_tx), door.csr("wave_indptr", wave_indptr, None, n_tx)
    workers = door.integer("workers", workers, 1, 2**31 - 1)
    weight, ready_at, dispatch, barrier = _times(n_tx, cost, release, dispatch, barrier, len(offsets) - 1)
    wave = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    ordered = tx[np.lexsort((-weight[tx], wave))]  # stable: ties stay as they are
    start, end, worker = np.empty(n_tx), np.empty(n_tx), np.empty(n_tx, np.int32)
    used = max(1, min(workers, n_tx))
    makespan = _k.wave_times(
        *inputs(offsets, ordered, weight, ready_at), used, dispatch, barrier,
        start, end, worker, np.empty(used), np.empty(used, np.int32),
    )  # fmt: skip
    return Timeline.trusted(workers, worker, start, end, float(makespan))


def _times(
    n_tx: int, cost: ArrayLike | None, release: ArrayLike | None, dispatch: float, barrier: float = 0.0, n_waves: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.float64], float, float]:
    """Checked costs, release times, dispatch and barrier; all work one after the other must end at a finite time."""
    weight = costs(cost, n_tx)
    ready_at = np.zeros(n_tx) if release is None else costs(release, n_tx, "release")
    dispatch, barrier = door.real("dispatch", dispatch, 0.0), door.real("barrier", barrier, 0.0)
    with np.errstate(over="ignore"):
        longest = float(ready_at.max(initial=0.0)) + float(weight.sum()) + n_tx * dispatch + n_waves * barrier
    if longest == np.inf:
        raise BlockError(f"cost, release, dispatch, barrier: {n_tx} transactions could end beyond 1.8e308, the last float64")
    return weight, ready_at, dispatch, barrier
