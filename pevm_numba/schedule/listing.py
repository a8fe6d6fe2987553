"""List scheduling keeps precedence, not a fixed assignment: which worker runs what follows from the costs alone."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import door
from .._kernels import listing as _k
from .._kernels.jit import inputs
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
        If cost or priority is not as described.
    """
    door.choice("priority", priority, PRIORITIES)
    weight = costs(cost, dependencies.n_tx)
    if priority == "block":
        return np.arange(dependencies.n_tx, dtype=np.int32)
    height = dependencies.remaining(weight) if priority == "longest-path" else weight
    return np.argsort(-height, kind="stable").astype(np.int32)


def list_timeline(
    dependencies: Dependencies,
    order: NDArray[np.int32],
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
        At equal instants ends come before starts; the lowest free worker goes first.

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
    """
    door.instance("dependencies", dependencies, Dependencies)
    n_tx = dependencies.n_tx
    workers = door.integer("workers", workers, 1, 2**31 - 1)
    at_rank = door.permutation("order", order, n_tx)
    weight, ready_at = costs(cost, n_tx), np.zeros(n_tx) if release is None else costs(release, n_tx)
    dispatch = door.real("dispatch", dispatch, 0.0, np.finfo(float).max)
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
    wave_indptr: NDArray[np.int64],
    wave_tx: NDArray[np.int32],
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
        As in `Schedule`.
    workers, cost, release, dispatch
        As in `list_timeline`.
    barrier : float
        Time from the last end in a wave to the next wave, and after the last; at least 0.

    Returns
    -------
    Timeline

    Raises
    ------
    BlockError
        If an argument is not as described.
    """
    n_tx = len(wave_tx)
    workers = door.integer("workers", workers, 1, 2**31 - 1)
    weight, ready_at = costs(cost, n_tx), np.zeros(n_tx) if release is None else costs(release, n_tx)
    dispatch = door.real("dispatch", dispatch, 0.0, np.finfo(float).max)
    barrier = door.real("barrier", barrier, 0.0, np.finfo(float).max)
    wave = np.repeat(np.arange(len(wave_indptr) - 1), np.diff(wave_indptr))
    ordered = wave_tx[np.lexsort((-weight[wave_tx], wave))]  # stable: ties stay as they are
    start, end, worker = np.empty(n_tx), np.empty(n_tx), np.empty(n_tx, np.int32)
    used = max(1, min(workers, n_tx))
    makespan = _k.wave_times(
        *inputs(wave_indptr, ordered, weight, ready_at), used, dispatch, barrier,
        start, end, worker, np.empty(used), np.empty(used, np.int32),
    )  # fmt: skip
    return Timeline.trusted(workers, worker, start, end, float(makespan))
