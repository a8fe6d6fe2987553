"""CP-SAT models of small blocks: one thread and a fixed seed, since several threads would find another optimum each time."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import door
from ..access.sets import AccessSets
from ..errors import UsageError
from .bounds import bounds
from .conflicts import adjacency
from .dependencies import dependencies
from .index import KeyIndex

__all__ = ["Solver", "cliques_of", "large_clique"]


class Solver:
    """CP-SAT on one thread with a fixed seed, within one time limit for all that it is asked."""

    def __init__(self, time_limit: float) -> None:
        self._until = time.monotonic() + door.real("time_limit", time_limit, 0.0)
        try:
            from ortools.sat.python import cp_model
        except ImportError as error:
            raise UsageError('exact optima need OR-Tools: pip install "pevm-numba[exact]"') from error
        self._cp: Any = cp_model

    def _solve(self, model: Any, *, linear: int = 1, share: float = 1.0) -> tuple[Any, int]:
        """Solve with a linear relaxation of that level, in that share of the time that is left."""
        solver = self._cp.CpSolver()
        solver.parameters.num_workers = 1
        solver.parameters.random_seed = 0
        solver.parameters.linearization_level = linear
        left = share * (self._until - time.monotonic())
        if left <= 0:
            return solver, self._cp.UNKNOWN
        solver.parameters.max_time_in_seconds = left
        return solver, solver.solve(model)

    def starts(
        self,
        access: AccessSets,
        next_of: NDArray[np.int32],
        workers: int,
        cost: NDArray[np.int64],
        guess: NDArray[np.int64],
        block_order: bool,
    ) -> tuple[NDArray[np.int64], int]:
        """Start times, those of `guess` if none are shorter, and a lower bound of the makespan."""
        known = bounds(access, cost, workers)
        least = int(np.ceil(known.makespan if block_order else known.makespan_order_free))
        last = int((guess + cost).max(initial=0))
        if least >= last:
            return guess, last
        model = self._cp.CpModel()
        begin = [model.new_int_var(0, last - int(c), f"start{t}") for t, c in enumerate(cost)]
        task = [model.new_fixed_size_interval_var(s, int(c), f"tx{t}") for t, (s, c) in enumerate(zip(begin, cost))]
        done = [s + int(c) for s, c in zip(begin, cost)]
        makespan = model.new_int_var(least, last, "makespan")
        for t, end in enumerate(done):
            model.add(end <= makespan)
            model.add_hint(begin[t], int(guess[t]))
        if workers < len(cost):
            model.add_cumulative(task, [1] * len(cost), workers)
        if block_order:
            _precede(model, access, begin, done, last)
        else:
            for clique in cliques_of(access):
                model.add_no_overlap([task[t] for t in clique])
            for t in np.flatnonzero(next_of >= 0).tolist():
                model.add(done[t] <= begin[next_of[t]])
        model.minimize(makespan)
        solver, status = self._solve(model)
        if status not in (self._cp.OPTIMAL, self._cp.FEASIBLE):
            return guess, least
        found = np.array([solver.value(s) for s in begin], np.int64)
        return found, max(least, int(np.ceil(solver.best_objective_bound - 1e-6)))

    def waves(
        self, cliques: Iterable[tuple[int, ...]], fixed: list[int], next_of: NDArray[np.int32], count: int
    ) -> tuple[NDArray[np.int64] | None, bool]:
        """A wave for each transaction below `count`, or None and whether that is impossible."""
        model, every = self._cp.CpModel(), range(count)
        inside = [[model.new_bool_var(f"tx{t}in{w}") for w in every] for t in range(len(next_of))]
        for row in inside:
            model.add_exactly_one(row)
        for clique in cliques:
            for w in every:
                model.add_at_most_one(inside[t][w] for t in clique)
        later = np.flatnonzero(next_of >= 0).tolist()
        for t in later:
            here, there = (sum(w * x for w, x in enumerate(inside[i])) for i in (t, next_of[t]))
            model.add(here + 1 <= there)
        if not later:  # waves are then interchangeable: say which is which
            for w, t in enumerate(fixed):
                model.add(inside[t][w] == 1)
        solver, status = self._solve(model)
        if status not in (self._cp.OPTIMAL, self._cp.FEASIBLE):
            return None, status == self._cp.INFEASIBLE
        return np.array([next(w for w in every if solver.value(row[w])) for row in inside], np.int64), False

    def clique(self, access: AccessSets, guess: list[int]) -> list[int]:
        """A largest set of pairwise conflicting transactions, or `guess` if that is not found in half of the time left."""
        model = self._cp.CpModel()
        inside = [model.new_bool_var(f"tx{t}") for t in range(access.n_tx)]
        apart = ~np.eye(access.n_tx, dtype=bool)
        indptr, indices = adjacency(access)
        apart[np.repeat(np.arange(access.n_tx), np.diff(indptr)), indices] = False
        for t, u in np.argwhere(np.triu(apart)).tolist():
            model.add_at_most_one(inside[t], inside[u])
        model.maximize(sum(inside))
        solver, status = self._solve(model, linear=2, share=0.5)
        if status not in (self._cp.OPTIMAL, self._cp.FEASIBLE):
            return guess
        return max(guess, [t for t, x in enumerate(inside) if solver.value(x)], key=len)

    def independent(
        self, n_tx: int, cliques: Iterable[tuple[int, ...]], guess: list[int]
    ) -> tuple[NDArray[np.int64], int]:
        """The transactions of a largest set and an upper bound of its size."""
        model = self._cp.CpModel()
        inside = [model.new_bool_var(f"tx{t}") for t in range(n_tx)]
        hint = set(guess)
        for t, x in enumerate(inside):
            model.add_hint(x, t in hint)
        for clique in cliques:
            model.add_at_most_one(inside[t] for t in clique)
        model.maximize(sum(inside))
        # Sets of 33 of 100 transactions of degree 8: 0.3 s, and over 4 s at the usual level 1.
        solver, status = self._solve(model, linear=2)
        if status not in (self._cp.OPTIMAL, self._cp.FEASIBLE):
            return np.array(sorted(guess), np.int64), n_tx
        return np.flatnonzero([solver.value(x) for x in inside]), int(np.floor(solver.best_objective_bound + 1e-6))


def _precede(model: Any, access: AccessSets, begin: list[Any], done: list[Any], last: int) -> None:
    """Edges of the dependency DAG; a join is an instant."""
    deps = dependencies(access)
    joins = [model.new_int_var(0, last, f"join{q}") for q in range(deps.n_joins)]
    begin, done = begin + joins, done + joins
    for node in range(len(begin)):
        for before in deps.indices[deps.indptr[node] : deps.indptr[node + 1]]:
            model.add(done[before] <= begin[node])


def cliques_of(access: AccessSets) -> list[tuple[int, ...]]:
    """Sets of pairwise conflicting transactions that together hold every conflicting pair.

    For each key all its writers, with each pair of one mere reader and one mere crediter, if it has such.
    """
    index, found = KeyIndex.of(access), set()
    for k in np.flatnonzero(index.key_pairs):
        groups = index.starts[3 * k : 3 * k + 4]
        readers, writers, crediters = (index.tx[a:b].tolist() for a, b in itertools.pairwise(groups))
        for r in readers or [-1]:
            for c in crediters or [-1]:
                found.add(tuple(sorted([*writers, *(t for t in (r, c) if t >= 0)])))
    return sorted(clique for clique in found if len(clique) > 1)


def large_clique(access: AccessSets, cliques: list[tuple[int, ...]]) -> list[int]:
    """The largest found by extending some of the cliques, most partners first; a single transaction if there is none."""
    indptr, indices = adjacency(access)
    partners = [set(row.tolist()) for row in np.split(indices, indptr[1:-1])] if access.n_tx else []
    best = [0] if access.n_tx else []
    for clique in sorted(cliques, key=len, reverse=True)[:100]:
        grown = list(clique)
        common = set.intersection(*(partners[t] for t in grown))
        while common:
            t = max(common, key=lambda v: (len(partners[v] & common), -v))
            grown.append(t)
            common &= partners[t]
        best = max(best, grown, key=len)
    return best
