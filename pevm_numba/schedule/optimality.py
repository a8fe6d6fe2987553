"""How far heuristics are from the optimum: a ratio against a bound that is not proved is only an upper limit of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from numpy.typing import ArrayLike

from .. import door
from ..access.oracles import exact_sets
from ..access.sets import AccessSets, need_access
from ..evm.block import AnyBlock
from .bounds import compacted
from .exact import Optimum, largest_independent_set, optimal_makespan, optimal_waves
from .listing import PRIORITIES
from .policies import schedule

__all__ = ["MEASURES", "Ratio", "optimality"]

MEASURES: Final = ("makespan", "waves", "independent set")


@dataclass(frozen=True)
class Ratio:
    """One heuristic beside the optimum.

    Parameters
    ----------
    measure : str
        One of `MEASURES`.
    heuristic : str
        Policy, and its priority where it has several.
    value : int
        What the heuristic reached.
    optimum : int
        The best found.
    bound : int
        Nothing is better than this; the optimum itself if proved.
    proved : bool
    """

    measure: str
    heuristic: str
    value: int
    optimum: int
    bound: int
    proved: bool

    @property
    def ratio(self) -> float:
        """How many times worse than the bound, at least 1: for sets bound / value, else value / bound."""
        worse, better = (self.bound, self.value) if self.measure == "independent set" else (self.value, self.bound)
        return worse / better if better else 1.0


def optimality(
    block_or_access: AnyBlock | AccessSets,
    workers: int = 8,
    cost: ArrayLike | str | None = None,
    *,
    measures: Iterable[str] = MEASURES,
    block: AnyBlock | None = None,
    time_limit: float = 10.0,
) -> list[Ratio]:
    """Compare the package's policies with exact optima of a small block.

    Parameters
    ----------
    block_or_access : Block, EvmBlock or AccessSets
        At most 300 transactions; a block by its exact access sets (an EVM block's are of block order).
    workers, cost, block, time_limit
        As in `optimal_makespan`; the time limit is for each measure.
    measures : iterable of str
        ``"makespan"``: list scheduling by each priority, and the barrier waves of ``levels``, against the optimum in block
        order. ``"waves"``: of ``mis``, ``first-fit`` and ``largest-first``, against the chromatic number.
        ``"independent set"``: the first wave of ``mis`` and of ``first-fit``, against the largest set.

    Returns
    -------
    list of Ratio

    Raises
    ------
    UsageError, TooLargeError, BlockError
        As `optimal_makespan`.

    Notes
    -----
    What holds in general. *Makespan*: list scheduling is within 2 - 1 / p of the optimum [1]_. *Waves*: no policy is within
    a constant, nor can any be that runs in polynomial time, unless P = NP [2]_. *Independent set*: the first wave of
    ``mis`` has at least the sum of 1 / (degree + 1) over the transactions, and as every pick blocks at most Delta others
    (the largest degree), the largest set is at most max(1, Delta) times it; no constant holds, 1.5 included. Take a
    transaction in conflict with m others, free among themselves, and m more that conflict with each other and with each of
    these: ``mis`` finds 2, the optimum is m. The limit (Delta + 2) / 3 of [3]_ is for greedy passes that
    lower degrees as neighbours are *removed*; ``mis`` counts those as long as they are not scheduled, and in a ring of six
    transactions it may find 2 of 3, which is 1.5 and not 4 / 3.

    References
    ----------
    .. [1] R. L. Graham: Bounds on multiprocessing timing anomalies, SIAM J. Appl. Math. 17, 1969.
    .. [2] D. Zuckerman: Linear degree extractors and the inapproximability of max clique and chromatic number, 2007.
    .. [3] M. Halldorsson, J. Radhakrishnan: Greed is good: approximating independent sets in sparse and bounded-degree
       graphs, Algorithmica 18, 1997.

    Examples
    --------
    >>> ring = [{t: 2, (t + 1) % 6: 2} for t in (0, 3, 1, 2, 4, 5)]
    >>> rows = optimality(AccessSets.from_dicts(ring, n_keys=6), measures=["independent set"])
    >>> [(row.heuristic, row.value, row.optimum, row.ratio) for row in rows]
    [('mis', 2, 3, 1.5), ('first-fit', 2, 3, 1.5)]
    """
    wanted = door.items("measures", measures, "names")
    for name in wanted:
        door.choice("measure", name, MEASURES)
    if isinstance(block_or_access, AnyBlock):
        access, block = exact_sets(block_or_access), block_or_access
    else:
        need_access("block_or_access", block_or_access)
        access = compacted(block_or_access)[0]
    rows: list[Ratio] = []
    if "makespan" in wanted:
        best = optimal_makespan(access, workers, cost, block=block, time_limit=time_limit)
        rows += _rows("makespan", _makespans(access, workers, cost, block), best)
    if "waves" in wanted:
        best = optimal_waves(access, block=block, time_limit=time_limit)
        policies = ("mis", "first-fit", "largest-first")
        rows += _rows("waves", ((name, schedule(access, name, block=block).n_waves) for name in policies), best)
    if "independent set" in wanted:
        best = largest_independent_set(access, block=block, time_limit=time_limit)
        first = ((name, schedule(access, name, block=block).wave_indptr[:2]) for name in ("mis", "first-fit"))
        rows += _rows("independent set", ((name, int(ends[-1])) for name, ends in first), best)
    return rows


def _makespans(
    access: AccessSets, workers: int, cost: ArrayLike | str | None, block: AnyBlock | None
) -> Iterator[tuple[str, int]]:
    for priority in PRIORITIES:
        line = schedule(access, "list", workers=workers, cost=cost, priority=priority, block=block).timeline
        assert line is not None
        yield f"list, {priority}", int(line.makespan)
    line = schedule(access, "levels", workers=workers, cost=cost, block=block).timeline
    assert line is not None
    yield "levels", int(line.makespan)


def _rows(measure: str, values: Iterable[tuple[str, int]], best: Optimum) -> list[Ratio]:
    return [Ratio(measure, name, value, best.value, best.bound, best.proved) for name, value in values]
