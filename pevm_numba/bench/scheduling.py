"""What our schedulers cost by the access, beside a probe of random accesses: only against that can it be judged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .._kernels import probe as _k
from .._kernels.jit import inputs
from ..access.sets import AccessSets
from ..console import status
from ..errors import ExecutionError, TooLargeError
from ..schedule.bounds import critical_path_cost
from ..schedule.check import check_schedule
from ..schedule.conflicts import adjacency, conflict_counts
from ..schedule.dependencies import Dependencies, dependencies
from ..schedule.independent import trusted_waves
from ..schedule.index import KeyIndex
from ..schedule.plan import Schedule
from ..schedule.policies import schedule
from .graphs import CASES, first_wave_is_maximal, make_access
from .html_target import Page
from .outputs import check_outputs, write_outputs
from .rounds import Spread, interleaved, peak_growth
from .tables import check_range, figure, print_paragraph, print_table

__all__ = ["BENCH_GRAPH_LIMIT", "Request", "measure_case", "run"]

#: Entries up to which a conflict graph is built here; more than by default, since `zipf` has 53 million at 10,000.
BENCH_GRAPH_LIMIT: Final = 70_000_000
#: Workers of the list schedule.
WORKERS: Final = 16
_LARGE: Final = (100_000, 1_000_000)

Job = Callable[[], Any]


@dataclass(frozen=True)
class Request:
    """The arguments of ``bench schedule``."""

    n_tx: int = 10_000
    repeat: int = 5
    peers: bool = True
    large: bool = False
    slow: bool = False
    seed: int = 42

    def check(self) -> None:
        """Refuse what cannot be meant.

        Raises
        ------
        UsageError
            Naming the option, its value and the rule.
        """
        for option, number, low, high in (
            ("--n", self.n_tx, 10, 10_000_000), ("--repeat", self.repeat, 1, 10_000), ("--seed", self.seed, 0, 2**64 - 1),
        ):  # fmt: skip
            check_range(option, number, low, high)

    def sizes(self) -> list[int]:
        """Numbers of transactions, ascending."""
        return sorted({self.n_tx, *(_LARGE if self.large else ())})


def _wrong(what: str) -> ExecutionError:
    return ExecutionError(f"bench schedule: {what}: no time is shown for such a result")


def _need(right: bool, what: str) -> None:
    if not right:
        raise _wrong(what)


# -------------------------------------------------------------------- our jobs


def _jobs(access: AccessSets) -> tuple[dict[str, Job], str]:
    """Name -> job, and why the jobs on the conflict graph are missing, if they are."""
    plan = schedule(access)
    jobs: dict[str, Job] = {
        "levels": lambda: schedule(access),
        "critical path": lambda: critical_path_cost(access),
        "dependency DAG": lambda: dependencies(access),
        "key index": lambda: KeyIndex.of(access),
        "first-fit, no edges": lambda: schedule(access, "first-fit"),
        "largest-first, no edges": lambda: schedule(access, "largest-first", priority="estimated-degree"),
        f"list, {WORKERS} workers": lambda: schedule(access, "list", workers=WORKERS),
        "check_schedule": lambda: check_schedule(plan, access),
    }
    try:
        graph = adjacency(access, limit=BENCH_GRAPH_LIMIT)
    except TooLargeError:
        entries = int(KeyIndex.of(access).key_pairs.sum()) * 2
        return jobs, f"no conflict graph: up to {entries:,} entries, more than {BENCH_GRAPH_LIMIT:,}"
    free = np.arange(access.n_tx, dtype=np.int32), np.full(access.n_tx, -1, np.int32)
    jobs |= {
        "conflict graph": lambda: adjacency(access, limit=BENCH_GRAPH_LIMIT),
        "mis, graph given": lambda: trusted_waves(graph, *free),
        "mis-parallel, graph given": lambda: trusted_waves(graph, *free, parallel=True),
    }
    return jobs, ""


def _verify(access: AccessSets, results: dict[str, Any]) -> None:
    """Compare what the jobs returned, with each other and with plain NumPy."""
    n_tx, path = access.n_tx, results["critical path"]
    deps: Dependencies = results["dependency DAG"]
    _need(results["levels"].n_waves == path == deps.critical_path()[0], "levels, critical path and DAG differ")
    check_schedule(results["levels"], access)
    sizes = results["key index"].sizes.sum(axis=1)
    _need(np.array_equal(sizes, np.bincount(access.keys, minlength=access.n_keys)), "the key index differs from a count")
    for name in ("first-fit, no edges", "largest-first, no edges"):
        _verify_waves(access, results[name], name)
    plan: Schedule = results[f"list, {WORKERS} workers"]
    _verify_list(deps, plan, float(path), n_tx)
    if "conflict graph" in results:
        indptr, indices = results["conflict graph"]
        counts = conflict_counts(access)
        _need(not counts.exact or len(indices) == 2 * counts.pairs, "the conflict graph differs from the number of pairs")
        same = np.array_equal(np.bincount(indices, minlength=n_tx), np.diff(indptr))
        _need(same, "the conflict graph is not symmetric")
        one, other = results["mis, graph given"], results["mis-parallel, graph given"]
        _need(np.array_equal(one[0], other[0]) and np.array_equal(one[1], other[1]), "mis and mis-parallel differ")
        _verify_waves(access, Schedule.from_arrays("mis", one[0], one[1], serial_order=one[1]), "mis")


def _verify_waves(access: AccessSets, plan: Schedule, name: str) -> None:
    check_schedule(plan, access)
    maximal = first_wave_is_maximal(access, plan.wave_tx[: plan.wave_indptr[1]])
    _need(maximal, f"the first wave of {name} is not maximal")


def _verify_list(deps: Dependencies, plan: Schedule, path: float, n_tx: int) -> None:
    line = plan.timeline
    _need(line is not None and deps.n_joins == 0, "the list schedule has no timeline")
    assert line is not None
    tx = np.repeat(np.arange(n_tx), np.diff(deps.indptr))
    _need(bool((line.start[tx] >= line.end[deps.indices]).all()), "the list schedule starts before a predecessor ends")
    least = max(path, n_tx / WORKERS)
    most = n_tx / WORKERS + (1 - 1 / WORKERS) * path
    _need(least <= line.makespan <= most + 1e-9, "the list schedule lies outside of Graham's bounds")


def _probes(access: AccessSets, seed: int) -> dict[str, Job]:
    """One access of a 32-byte row for each access: in their order, in random order, and in their order on new rows.

    Every job takes new memory for what it keeps by key, so the last one, which pays for new pages too, is the nearest.
    """
    order: NDArray[np.int32] = access.keys
    shuffled = np.random.default_rng(seed).permutation(order)
    rows = np.zeros((access.n_keys, 4), np.int64)
    expected = np.bincount(order, minlength=access.n_keys)

    def probe(keys: NDArray[np.int32]) -> None:
        _k.touch_rows(*inputs(keys), rows)

    probe(order)
    probe(shuffled)
    _need(np.array_equal(rows[:, 0], 2 * expected), "the probe did not touch each row as often as it should")

    def fresh() -> None:
        _k.touch_rows(*inputs(order), np.zeros((access.n_keys, 4), np.int64))

    return {"probe": lambda: probe(order), "random probe": lambda: probe(shuffled), "fresh probe": fresh}


def measure_case(case: str, n_tx: int, request: Request) -> list[dict[str, Any]]:
    """Verify and measure all of our jobs on one case.

    Returns
    -------
    list of dict
        For each job: `ns_per_access` (median), `low`, `high`, `runs`; of one row, in the same rounds, `probe_ns`,
        `random_probe_ns`, `fresh_probe_ns`; `probes` = ns_per_access / probe_ns; `peak_bytes` (growth of resident memory,
        null if unknown); with `skipped` instead where a job is left out.

    Raises
    ------
    ExecutionError
        If a result is wrong.
    """
    access = make_access(case, n_tx, request.seed)
    jobs, missing = _jobs(access)
    _verify(access, {name: job() for name, job in jobs.items()})
    peaks = {name: peak_growth(job) for name, job in jobs.items()}
    times = interleaved(_probes(access, request.seed) | jobs, request.repeat)
    one = {name: spread.scaled(1 / access.n_accesses) for name, spread in times.items()}
    shared = {
        "table": "ours", "case": case, "n_tx": n_tx, "n_accesses": access.n_accesses, "n_keys": access.n_keys,
        "probe_ns": one["probe"].median, "random_probe_ns": one["random probe"].median,
        "fresh_probe_ns": one["fresh probe"].median,
    }  # fmt: skip
    rows = [shared | {"job": name} | _figures(one[name], one["probe"], peaks[name]) for name in jobs]
    return rows + ([shared | {"job": "conflict graph", "skipped": missing}] if missing else [])


def _figures(spread: Spread, probe: Spread, peak: int | None) -> dict[str, Any]:
    return {
        "ns_per_access": spread.median, "low": spread.low, "high": spread.high, "runs": spread.runs,
        "probes": spread.median / probe.median, "peak_bytes": peak,
    }  # fmt: skip


# -------------------------------------------------------------------- showing


def _show_case(case: str, rows: Sequence[dict[str, Any]]) -> None:
    sizes = sorted({row["n_tx"] for row in rows})
    found = {(row["job"], row["n_tx"]): row for row in rows if "skipped" not in row}
    names = list(dict.fromkeys(row["job"] for row in rows))
    first = {row["n_tx"]: row for row in rows}
    headings = ["transactions"]
    for n_tx in sizes:
        headings += [f"{n_tx:,}", "min..max", "probes", "MiB"]
    body = [_row(name, [found.get((name, n_tx)) for n_tx in sizes]) for name in names]
    probes: list[list[str]] = []
    named = ("probe, in this order", "probe_ns"), ("probe, random order", "random_probe_ns")
    for name, field in (*named, ("probe, new memory", "fresh_probe_ns")):
        cells = [[figure(first[n][field], 2), "", figure(first[n][field] / first[n]["probe_ns"], 2), ""] for n in sizes]
        probes.append([name, *(cell for part in cells for cell in part)])
    title = f"{case}: {CASES[case].text}; nanoseconds an access, by number of transactions"
    print_table(title, headings, [*body, [], *probes], [4] * len(sizes))
    print_paragraph(*(f"{row['n_tx']:,} transactions: {row['skipped']}." for row in rows if "skipped" in row))


def _row(name: str, measured: Sequence[dict[str, Any] | None]) -> list[str]:
    cells = [name]
    for row in measured:
        if row is None:
            cells += ["-"] * 4
        else:
            peak = row["peak_bytes"]
            spread = f"{figure(row['low'])}..{figure(row['high'])}"
            memory = None if peak is None else peak / 2**20
            cells += [figure(row["ns_per_access"]), spread, figure(row["probes"], 2), figure(memory)]
    return cells


_EXPLAINED: Final = (
    "Medians of interleaved, warm runs, each result compared first.",
    "probes: this cost / one access of a 32-byte row for each access in the same order, in the same rounds.",
    "MiB: growth of resident memory at its highest while the job runs.",
)


def run(request: Request, json_path: Path | None = None, page: Page | None = None) -> list[dict[str, Any]]:
    """Measure, show, and write JSON and page if asked.

    Raises
    ------
    PevmError
        On bad arguments, or if a result is wrong; no figure of it is shown or written then.
    """
    request.check()
    check_outputs(json_path, page)
    results: list[dict[str, Any]] = []
    for place, case in enumerate(CASES, 1):
        rows: list[dict[str, Any]] = []
        for n_tx in request.sizes():
            with status(f"ours, {case} ({place} of {len(CASES)}), {n_tx:,} transactions"):
                rows += measure_case(case, n_tx, request)
        _show_case(case, rows)
        results += rows
    print_paragraph(*_EXPLAINED)
    if request.peers:
        results += _peers(request)
    write_outputs(json_path, page, results)
    return results


def _peers(request: Request) -> list[dict[str, Any]]:
    from .peer_tables import show_peers
    from .peers import measure_peers

    found: list[dict[str, Any]] = []
    for place, case in enumerate(CASES, 1):
        with status(f"peers, {case} ({place} of {len(CASES)}), {request.n_tx:,} transactions"):
            found += measure_peers(case, request)
    show_peers(found)
    return found
