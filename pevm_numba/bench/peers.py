"""Other graph libraries at the same job: they are given the edges for nothing, in the form they read fastest."""

from __future__ import annotations

import gc
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from .._kernels import dependencies as _k
from .._kernels.jit import inputs
from ..access.sets import AccessSets
from ..errors import ExecutionError, TooLargeError
from ..schedule.bounds import critical_path_cost
from ..schedule.conflicts import adjacency
from ..schedule.dependencies import Dependencies, dependencies
from ..schedule.independent import trusted_waves
from ..schedule.policies import schedule
from .edges import EdgeList
from .graphs import csr_of_pairs, is_colouring, is_maximal_independent, make_access, pairs_of
from .rounds import WARM_BELOW_NS, Spread, timed
from .scheduling import BENCH_GRAPH_LIMIT

if TYPE_CHECKING:
    from .scheduling import Request

__all__ = ["LIBRARIES", "measure_peers"]

#: Libraries that can be compared with; those not installed are left out.
LIBRARIES: Final = ("networkx", "rustworkx", "igraph", "networkit")
#: Edges from which a library that keeps Python objects needs --slow: about 20 s or 1 GB.
_SLOW_FROM: Final = {"networkx": 5_000_000, "rustworkx": 5_000_000}
#: A side that has used so many seconds sits out the further rounds; its first, checked run then counts too.
_BUDGET_S: Final = 8.0


@dataclass(frozen=True)
class _Side:
    """One way to do a job: `build` makes what `run` takes, `value` the figure to compare, or an error.

    Without `given` it starts from the accesses, and finds the conflicts that the others are given as edges.
    """

    name: str
    build: Callable[[], Any] | None
    run: Callable[[Any], Any]
    value: Callable[[Any], int]
    library: str = "ours"
    given: bool = True


def _need(right: bool, what: str) -> None:
    if not right:
        raise ExecutionError(f"bench schedule: {what}: no time is shown for such a result")


# -------------------------------------------------------------------- greedy colouring


def _colour_by(library: str, graph: Any) -> Any:
    if library == "networkx":
        import networkx

        return networkx.greedy_color(graph, strategy="largest_first")
    if library == "rustworkx":
        import rustworkx

        return rustworkx.graph_greedy_color(graph)
    return graph.vertex_coloring_greedy()


def _colours(pairs: NDArray[np.int32], n: int, who: str, found: Any) -> int:
    """The number of colours of a valid colouring, given as list or mapping."""
    colour = np.array([found[t] for t in range(n)] if hasattr(found, "keys") else found, np.int64)
    _need(len(colour) == n and is_colouring(pairs, colour), f"{who}: two that conflict have one colour")
    return int(colour.max()) + 1


def _waves_as_colours(waves: tuple[NDArray[np.int64], NDArray[np.int32]]) -> NDArray[np.int64]:
    indptr, tx = waves
    colour = np.empty(len(tx), np.int64)
    colour[tx] = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    return colour


def _largest_first(access: AccessSets, graph: tuple[NDArray[np.int64], NDArray[np.int32]]) -> Any:
    from ..schedule.colouring import colour_waves, transaction_order

    free = np.full(access.n_tx, -1, np.int32)
    order = transaction_order(access, "degree", free, degree=np.diff(graph[0]))
    return colour_waves(access, order, free, graph=graph)


def _colouring(access: AccessSets, given: EdgeList) -> list[_Side]:
    n, pairs = access.n_tx, given.edges

    def value(found: Any) -> int:
        return _colours(pairs, n, "ours", _waves_as_colours(found))

    def waves(plan: Any) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        return plan.wave_indptr, plan.wave_tx

    sides = [
        _Side("largest-first", lambda: csr_of_pairs(n, pairs), partial(_largest_first, access), value),
        _Side("first-fit", None, lambda _: waves(schedule(access, "first-fit")), value, given=False),
    ]
    for library in ("networkx", "rustworkx", "igraph"):
        name = {"networkx": "greedy_color", "rustworkx": "graph_greedy_color", "igraph": "vertex_coloring_greedy"}[library]
        checked = partial(_colours, pairs, n, library)
        sides.append(_Side(name, None, partial(_colour_by, library), checked, library=library))
    return sides


# -------------------------------------------------------------------- maximal independent set


def _set_by(library: str, graph: Any) -> Any:
    if library == "networkx":
        import networkx

        return np.array(networkx.maximal_independent_set(graph, seed=random.Random(1)), np.int64)
    import networkit

    networkit.setNumberOfThreads(1)  # ours takes one too; with two, threads wait for cores that other processes hold
    return np.flatnonzero(networkit.independentset.Luby().run(graph))


def _size(pairs: NDArray[np.int32], n: int, who: str, members: NDArray[np.int64]) -> int:
    _need(is_maximal_independent(n, pairs, members), f"{who}: not a maximal independent set")
    return len(members)


def _independent(access: AccessSets, given: EdgeList) -> list[_Side]:
    n, pairs = access.n_tx, given.edges
    first, next_of = np.arange(n, dtype=np.int32), np.full(n, -1, np.int32)

    def mis(graph: tuple[NDArray[np.int64], NDArray[np.int32]]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        return trusted_waves((graph[0], graph[1]), first, next_of)

    def value(found: Any) -> int:
        indptr, tx = found
        return _size(pairs, n, "ours", tx[: indptr[1]])

    def waves(plan: Any) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        return plan.wave_indptr, plan.wave_tx

    sides = [
        _Side("mis", lambda: csr_of_pairs(n, pairs), mis, value),
        _Side("first-fit", None, lambda _: waves(schedule(access, "first-fit")), value, given=False),
    ]
    for library, name in (("networkx", "maximal_independent_set"), ("networkit", "Luby")):
        checked = partial(_size, pairs, n, library)
        sides.append(_Side(name, None, partial(_set_by, library), checked, library=library))
    return sides


# -------------------------------------------------------------------- the dependency DAG


def _levels_by(library: str, graph: Any) -> Any:
    if library == "networkx":
        import networkx

        return list(networkx.topological_generations(graph))
    import rustworkx

    return rustworkx.topological_generations(graph)


def _generations(level: NDArray[np.int32], who: str, found: Any) -> int:
    """The number of generations, which must hold exactly the levels."""
    same = len(found) == int(level.max()) + 1 and sum(map(len, found)) == len(level)
    same = same and all((level[list(part)] == i).all() for i, part in enumerate(found))
    _need(same, f"{who}: topological generations differ from the levels")
    return len(found)


def _path_by(library: str, graph: Any) -> int:
    if library == "networkx":
        import networkx

        return networkx.dag_longest_path_length(graph) + 1
    import rustworkx

    return rustworkx.dag_longest_path_length(graph) + 1


def _length(want: int, who: str, found: float) -> int:
    _need(int(found) == want, f"{who}: longest path of {found:g} transactions, not {want}")
    return want


def _dag_of(n: int, edges: NDArray[np.int32]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Predecessors as CSR: our graph, from the edges that the libraries are given, which are in order of their targets."""
    indptr = np.zeros(n + 1, np.int64)
    np.cumsum(np.bincount(edges[:, 1], minlength=n), out=indptr[1:])
    return indptr, np.ascontiguousarray(edges[:, 0])


def _walk(graph: tuple[NDArray[np.int64], NDArray[np.int32]]) -> tuple[NDArray[np.float64], float]:
    """Earliest start of each transaction at unit cost, and the longest path."""
    n = len(graph[0]) - 1
    start, finish, critical = np.empty(n), np.empty(n), np.empty(n, np.int32)
    _k.earliest_start(*inputs(*graph, np.empty(0, np.int32), np.ones(n)), start, finish, critical)
    return start, float(finish.max())


def _levels(access: AccessSets, given: EdgeList) -> list[_Side]:
    level = schedule(access).wave_of

    def value(found: Any) -> int:
        _need(np.array_equal(found, level), "ours: earliest starts differ from the levels")
        return int(level.max()) + 1

    sides = [
        _Side("earliest start", partial(_dag_of, access.n_tx, given.edges), lambda dag: _walk(dag)[0], value),
        _Side("levels", None, lambda _: schedule(access), lambda plan: value(plan.wave_of), given=False),
        _Side("levels by DAG", lambda: dependencies(access), _earliest, value, given=False),
    ]
    for library in ("networkx", "rustworkx"):
        checked = partial(_generations, level, library)
        sides.append(_Side("topological_generations", None, partial(_levels_by, library), checked, library=library))
    return sides


def _earliest(deps: Dependencies) -> NDArray[np.float64]:
    return deps.earliest_start()


def _longest(access: AccessSets, given: EdgeList) -> list[_Side]:
    want = schedule(access).n_waves
    checked = partial(_length, want, "ours")
    sides = [
        _Side("longest path", partial(_dag_of, access.n_tx, given.edges), lambda dag: _walk(dag)[1], checked),
        _Side("critical path", None, lambda _: critical_path_cost(access), checked, given=False),
    ]
    for library in ("networkx", "rustworkx"):
        checked = partial(_length, want, library)
        sides.append(_Side("dag_longest_path_length", None, partial(_path_by, library), checked, library=library))
    return sides


_JOBS: Final = {
    "greedy colouring": (_colouring, False),
    "maximal independent set": (_independent, False),
    "levels of the DAG": (_levels, True),
    "longest path of the DAG": (_longest, True),
}


# -------------------------------------------------------------------- measuring


def _dag_edges(access: AccessSets) -> NDArray[np.int32]:
    deps = dependencies(access)
    target = np.repeat(np.arange(access.n_tx, dtype=np.int32), np.diff(deps.indptr))
    return np.stack([deps.indices, target], axis=1)


def measure_peers(case: str, request: Request) -> list[dict[str, Any]]:
    """Compare results, then measure us and every installed library at each job on one case.

    Returns
    -------
    list of dict
        One for each job and way: `build_ms`, `run_ms`, `total_ms` (medians), `total_low`, `total_high`, `runs`,
        `result` (colours, size of the set, generations, length), `edges_given` (false for those of ours that start from
        the accesses); for libraries `ratio_run` and `ratio_total` (theirs / our
        first way, which starts from the same edges); with `skipped` instead where left out.

    Raises
    ------
    ExecutionError
        If a result is wrong, ours or theirs.
    """
    access = make_access(case, request.n_tx, request.seed)
    given = {True: EdgeList(access.n_tx, _dag_edges(access))}
    shared = {"table": "peers", "case": case, "n_tx": access.n_tx}
    rows: list[dict[str, Any]] = []
    try:
        given[False] = EdgeList(access.n_tx, pairs_of(*adjacency(access, limit=BENCH_GRAPH_LIMIT)))
    except TooLargeError:
        why = f"no conflict graph: over {BENCH_GRAPH_LIMIT:,} entries"
        left = {"n_edges": None, "library": "all", "way": "-", "edges_given": True, "skipped": why}
        rows += [shared | {"job": job} | left for job, (_, directed) in _JOBS.items() if not directed]
    for job, (ways, directed) in _JOBS.items():
        if directed not in given:
            continue
        edges = given[directed]
        sides = ways(access, edges)
        reasons = [_reason(side.library, len(edges.edges), request.slow) for side in sides]
        kept = [side for side, why in zip(sides, reasons) if not why]
        here = shared | {"job": job, "n_edges": len(edges.edges)}
        rows += [here | row for row in _measure(kept, edges, directed, request.repeat)]
        names = [{"library": side.library, "way": side.name, "edges_given": side.given} for side in sides]
        rows += [here | name | {"skipped": why} for name, why in zip(names, reasons) if why]
    return rows


def _reason(library: str, n_edges: int, slow: bool) -> str:
    """Why a library is left out, or nothing."""
    if library == "ours":
        return ""
    if find_spec(library) is None:
        return "not installed"
    return f"{n_edges:,} edges: --slow" if n_edges > _SLOW_FROM.get(library, 2**62) and not slow else ""


def _measure(sides: Sequence[_Side], edges: EdgeList, directed: bool, repeat: int) -> list[dict[str, Any]]:
    builds = [_builder(side, edges, directed) for side in sides]
    times: list[list[tuple[float, float]]] = []
    values = []
    for side, build in zip(sides, builds):
        (built, ran), value = _once(side, build)
        values.append(value)
        times.append([(built, ran)] if built + ran > _BUDGET_S / 2 * 1e9 else [])
    for _ in range(repeat):
        gc.collect()
        for place, (side, build) in enumerate(zip(sides, builds)):
            if sum(map(sum, times[place])) < _BUDGET_S / 2 * 1e9:
                taken, _ = _once(side, build, check=False)
                if sum(taken) < WARM_BELOW_NS:
                    taken, _ = _once(side, build, check=False)
                times[place].append(taken)
    return _rows(sides, times, values)


def _builder(side: _Side, edges: EdgeList, directed: bool) -> Callable[[], Any] | None:
    return side.build if side.library == "ours" else edges.builder(side.library, directed)


def _once(side: _Side, build: Callable[[], Any] | None, check: bool = True) -> tuple[tuple[float, float], int]:
    graph, built = timed(build) if build is not None else (None, 0.0)
    result, ran = timed(lambda: side.run(graph))
    return (built, ran), side.value(result) if check else 0


def _rows(
    sides: Sequence[_Side], times: Sequence[Sequence[tuple[float, float]]], values: Sequence[int]
) -> list[dict[str, Any]]:
    in_all = [Spread.of([built + ran for built, ran in taken]).scaled(1e-6) for taken in times]
    runs = [Spread.of([ran for _, ran in taken]).scaled(1e-6).median for taken in times]
    rows = []
    for place, side in enumerate(sides):
        theirs, total = side.library != "ours", in_all[place]
        build = Spread.of([built for built, _ in times[place]]).scaled(1e-6).median
        rows.append({
            "library": side.library, "way": side.name, "edges_given": side.given, "result": values[place],
            "build_ms": build if theirs or side.build is not None else None, "run_ms": runs[place],
            "total_ms": total.median, "total_low": total.low, "total_high": total.high, "runs": total.runs,
            "ratio_run": runs[place] / runs[0] if theirs else None,
            "ratio_total": total.median / in_all[0].median if theirs else None,
        })  # fmt: skip
    return rows
