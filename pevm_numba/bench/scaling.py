"""`bench scaling`: speed-up over workers, measured as far as this machine has cores, predicted by simulation beyond.

Predictions are made from measured costs of the transactions and from two measured overheads: of a transaction, with two
workers on the case without any conflict, for each executor; and of an empty parallel region, for the barrier of waves.
Where both exist, prediction and measurement stand side by side, so that one sees what the model is worth.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter_ns
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .._kernels.jit import most_threads
from ..access.oracles import access_sets
from ..block import Block
from ..console import status
from ..execute.waves import LEAST_WORK
from ..schedule.models import Overheads
from ..schedule.policies import schedule
from ..schedule.simulate import simulate
from ..schedule.timeline import Timeline
from .contest import Contest, Round, blocks_of, contest
from .executors import Request
from .html_target import Page
from .outputs import check_outputs, write_outputs
from .quiet import awake
from .scenarios import with_work
from .tables import print_paragraph, print_table

__all__ = ["MODEL_OF", "run"]

#: What stands for each executor in the simulator, and by which priority.
MODEL_OF: Final = {
    "waves": ("waves", None), "dataflow": ("list", "block"), "optimistic": ("block-stm", None), "bal": ("bal", None),
}  # fmt: skip

_CALIBRATED_US: Final = 0.5


@dataclass(frozen=True)
class _Measured:
    """Speed-ups by number of workers, and what the transactions cost."""

    block: Block
    cost: Any
    serial_ns: float
    speedup: dict[tuple[str, int], tuple[float, float, float]]


def _cores() -> int:
    """Cores that this process may use, and Numba has threads for."""
    return min(len(os.sched_getaffinity(0)), most_threads())


def _used(done: Sequence[Round]) -> list[Round]:
    return [one for one in done if one.quiet] or list(done)


def _overheads(request: Request) -> dict[str, Overheads]:
    """Of each executor, in nanoseconds."""
    workers = min(2, _cores())
    ((_, block),) = blocks_of(("independent",), request.n_tx, None, request.seed)
    _, done = contest(with_work(block, _CALIBRATED_US), tuple(MODEL_OF), workers, request.rounds)
    used = _used(done)
    barrier = _region_ns(workers)
    found = {}
    for name in MODEL_OF:
        extra = [workers * one.execute[name] - float(np.mean(one.serial)) for one in used]
        dispatch = max(0.0, float(np.median(extra)) / block.n_tx)
        found[name] = Overheads(dispatch=round(dispatch), barrier=round(barrier) if name == "waves" else 0)
    return found


def _region_ns(workers: int) -> float:
    """An empty parallel region between threads that are awake, median."""
    times = []
    for _ in range(200):
        start = perf_counter_ns()
        awake(workers)
        times.append(perf_counter_ns() - start)
    return float(np.median(times))


def _measure(block: Block, work_us: float, workers: Sequence[int], rounds: int) -> _Measured:
    made: Contest | None = None
    speedup: dict[tuple[str, int], tuple[float, float, float]] = {}
    worked = with_work(block, work_us)
    serial = 0.0
    for count in workers:
        made, done = contest(worked, tuple(MODEL_OF), count, rounds)
        used = _used(done)
        serial = float(np.median([np.mean(one.serial) for one in used]))
        for name in MODEL_OF:
            ratios = [float(np.mean(one.serial)) / one.execute[name] for one in used]
            low, middle, high = np.quantile(ratios, (0.25, 0.5, 0.75)).tolist()
            speedup[name, count] = middle, low, high
    if made is None:
        made = Contest(worked, (), 1)
        serial = float(np.mean([made.run_serial() for _ in range(rounds)]))
    return _Measured(worked, made.cost(), serial, speedup)


def _rows(
    case: str, work_us: float, found: _Measured, counts: Sequence[int], overheads: dict[str, Overheads]
) -> Iterator[dict[str, Any]]:
    access = access_sets(found.block)
    wave_of = schedule(access, "levels").wave_of
    for name, (model, priority) in MODEL_OF.items():
        over = overheads[name]
        for workers in counts:
            some = replace(over, barrier=0)
            run = simulate(access, model, workers=workers, cost=found.cost, overheads=some, priority=priority)
            waves = name == "waves"
            time = _with_barriers(run.timeline, wave_of, found.cost + over.dispatch, over.barrier) if waves else run.makespan
            measured, low, high = found.speedup.get((name, workers), (None, None, None))
            yield {
                "table": "scaling", "case": case, "n_tx": found.block.n_tx, "work_us": work_us, "executor": name,
                "model": model, "workers": workers, "predicted": run.serial / time,
                "bound": min(workers, run.serial / run.bound), "measured": measured, "low": low, "high": high,
                "serial_ns_per_tx": found.serial_ns / found.block.n_tx, "dispatch_ns": over.dispatch,
                "barrier_ns": over.barrier, "verified": True,
            }  # fmt: skip


def _with_barriers(line: Timeline, wave: NDArray[np.int32], cost: NDArray[np.float64], barrier: float) -> float:
    """Makespan of simulated waves, a barrier after each; those of little work run on one thread without it, as ours do."""
    n_waves = int(wave.max(initial=-1)) + 1
    start, end = np.full(n_waves, np.inf), np.zeros(n_waves)
    np.minimum.at(start, wave, line.start)
    np.maximum.at(end, wave, line.end)
    work = np.bincount(wave, cost, n_waves)
    return float(np.where(work < LEAST_WORK, work, end - start + barrier).sum())


def _show(work_us: float, rows: Sequence[dict[str, Any]], counts: Sequence[int]) -> None:
    body: list[list[str]] = []
    for case in dict.fromkeys(row["case"] for row in rows):
        for name in MODEL_OF:
            mine = [row for row in rows if (row["case"], row["executor"]) == (case, name)]
            cells = [
                text
                for row in mine
                for text in (f"{row['predicted']:.2f}", "" if row["measured"] is None else f"{row['measured']:.2f}")
            ]
            body.append([f"{case}: {name}", *cells])
        body.append([])
    headings = ["case: executor", *(word for count in counts for word in (f"{count} predicted", "measured"))]
    title = f"{work_us:g} us of work in a transaction: serial time / time by workers"
    print_table(title, headings, body[:-1], [2] * len(counts))


def _median(rows: Sequence[dict[str, Any]], executor: str, field: str) -> float:
    return float(np.median([row[field] for row in rows if row["executor"] == executor]))


def run(
    request: Request, counts: Sequence[int], json_path: Path | None = None, page: Page | None = None
) -> list[dict[str, Any]]:
    """Measure, simulate, show, and write JSON and page if asked.

    Parameters
    ----------
    request : Request
        Cases, work, rounds; its workers do not matter.
    counts : sequence of int
        Numbers of workers; those that the machine has cores for are measured too.
    json_path : Path, optional
    page : Page, optional

    Raises
    ------
    PevmError
        On bad arguments or input, or if a result differs from serial execution.
    """
    replace(request, workers=1).check()
    check_outputs(json_path, page, request.inputs)
    cores = _cores()
    results: list[dict[str, Any]] = []
    blocks = dict(blocks_of(request.cases, request.n_tx, request.corpus, request.seed))
    for work_us in request.work_us:
        rows: list[dict[str, Any]] = []
        for case, block in blocks.items():
            with status(f"{case} at {work_us:g} us"):
                overheads = _overheads(request)  # for each case anew: cores move apart and together by the minute
                found = _measure(block, work_us, [count for count in counts if count <= cores], request.rounds)
                rows += _rows(case, work_us, found, counts, overheads)
        _show(work_us, rows, counts)
        results += rows
    per_tx = ", ".join(f"{name} {_median(results, name, 'dispatch_ns'):,.0f}" for name in MODEL_OF)
    print_paragraph(
        f"Predicted: simulated with each transaction's measured cost, so many ns more for each (medians): {per_tx}; and "
        f"{_median(results, 'waves', 'barrier_ns'):,.0f} ns for each barrier of waves. "
        f"Measured: medians of quiet rounds on this machine's {cores} cores, each result compared with serial execution."
    )
    write_outputs(json_path, page, results)
    return results
