"""`bench executors`: every executor on cases of all kinds, at several amounts of work, beside the bound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from .._kernels.jit import most_threads
from ..console import status
from ..errors import UsageError
from ..execute.launch import default_workers
from ..io.paths import check_target
from ..plot.style import need_matplotlib
from .breakeven import crossing_rows, draw, show_crossings, sweep
from .cells import measure_cell
from .contest import CORPUS, EXECUTORS, blocks_of
from .graphs import EXECUTOR_CASES
from .html_target import Page
from .misses import measure_misses, show_misses
from .outputs import check_outputs, write_outputs
from .tables import check_range, figure, print_paragraph, print_table

__all__ = ["OVERHEAD_US", "Request", "Target", "run", "targets"]

#: Work at which the overhead of one worker is measured.
OVERHEAD_US: Final = 0.5
_OVERHEAD_CASES: Final = ("independent", "low", "mid", "zipf 1.1")


@dataclass(frozen=True)
class Request:
    """The arguments of ``bench executors``."""

    corpus: Path | None = None
    n_tx: int = 10_000
    work_us: tuple[float, ...] = (0.1, 0.5, 5.0, 50.0)
    cases: tuple[str, ...] = (*EXECUTOR_CASES, CORPUS)
    rounds: int = 9
    workers: int | None = None
    break_even: bool = True
    chart: Path | None = None
    seed: int = 42

    @classmethod
    def parse(cls, corpus: Path | None, n_tx: int, work: str, cases: str, **options: Any) -> Request:
        """From the words of the command line.

        Raises
        ------
        UsageError
            If `work` holds something that is no number.
        """
        numbers = []
        for word in work.split(","):
            try:
                numbers.append(float(word))
            except ValueError:
                raise UsageError(f"--work {work!r}: {word.strip()!r} is no number") from None
        names = [word.strip() for word in cases.split(",")]
        chosen = (*EXECUTOR_CASES, CORPUS) if "all" in names else tuple(dict.fromkeys(names))
        if corpus is None:
            chosen = tuple(case for case in chosen if case != CORPUS or "all" not in names)
        return cls(corpus, n_tx, tuple(sorted(set(numbers))), chosen, **options)

    def check(self) -> None:
        """Refuse what cannot be meant.

        Raises
        ------
        UsageError
            Naming the option, its value and the rule.
        """
        known = (*EXECUTOR_CASES, CORPUS)
        for case in self.cases:
            if case not in known:
                raise UsageError(f"--cases {case!r} is unknown: all, or some of {', '.join(known)}")
        if CORPUS in self.cases and self.corpus is None:
            raise UsageError(f"--cases {CORPUS}: needs the path of real blocks")
        for option, number, low, high in (
            ("--n", self.n_tx, 10, 1_000_000), ("--rounds", self.rounds, 1, 10_000), ("--seed", self.seed, 0, 2**64 - 1),
            ("--workers", self.chosen_workers, 1, most_threads()), *(("--work", us, 0, 1e6) for us in self.work_us),
        ):  # fmt: skip
            check_range(option, number, low, high)
        if self.chart is not None:
            if not self.break_even:
                raise UsageError(f"--chart {self.chart} with --no-break-even: there is nothing to draw")
            check_target("--chart", self.chart, self.inputs, (".png", ".svg", ".pdf"))
            need_matplotlib()

    @property
    def inputs(self) -> list[Path]:
        """What is read."""
        return [] if self.corpus is None else [self.corpus]

    @property
    def chosen_workers(self) -> int:
        """Workers to measure with."""
        return default_workers() if self.workers is None else self.workers


# -------------------------------------------------------------------- targets


@dataclass(frozen=True)
class Target:
    """What is aimed at, whether it was reached, and by how much."""

    text: str
    reached: bool
    found: str

    def __str__(self) -> str:
        return f"{'reached' if self.reached else 'MISSED'}: {self.text}: {self.found}"


def _best(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """For each cell the row of the fastest executor by execution alone, where values are not known beforehand."""
    cells: dict[tuple[str, float], dict[str, Any]] = {}
    for row in rows:
        at = row["case"], row["work_us"]
        if row["executor"] not in ("bal", "auto") and (at not in cells or row["speedup"] > cells[at]["speedup"]):
            cells[at] = row
    return list(cells.values())


def _share_target(text: str, rows: Sequence[dict[str, Any]], least: float) -> list[Target]:
    if not rows:
        return []
    worst = min(rows, key=lambda row: row["share"])
    below = [row for row in rows if row["share"] < least]
    found = f"{len(rows) - len(below)} of {len(rows)} cells, least {worst['share']:.1%} ({_cell(worst)}, {worst['executor']})"
    return [Target(text, not below, found)]


def _cell(row: dict[str, Any]) -> str:
    return f"{row['case']} at {row['work_us']:g} us"


def targets(rows: Sequence[dict[str, Any]]) -> list[Target]:
    """What the executors aim at, as far as the rows of the matrix, of overheads and of misses can say.

    Parameters
    ----------
    rows : sequence of dict
        Of the tables "executors" and "misses"; those of one worker are overheads.
    """
    matrix = [row for row in rows if row["table"] == "executors" and row["workers"] > 1]
    best = _best(matrix)
    long = [row for row in best if row["work_us"] >= 5 and row["bound"] >= 1.5]
    short = [row for row in best if row["work_us"] == 0.5 and row["case"] in ("independent", "low", "mid")]
    found = _share_target("at least 92 % of the bound from 5 us on, where that is 1.5 or more", long, 0.92)
    found += _share_target("at least 85 % of the bound at 0.5 us: independent, low, mid", short, 0.85)
    for row in matrix:
        if row["case"] == "chain" and row["executor"] == "dataflow":
            good = row["speedup"] >= 0.95 and row["cpu_per_s"] <= 1.3
            text = f"dataflow at least 0.95 times serial with at most 1.3 CPU seconds a second, {_cell(row)}"
            found.append(Target(text, good, f"{row['speedup']:.2f}, {row['cpu_per_s']:.2f}"))
    alone = [row for row in rows if row["table"] == "executors" and row["workers"] == 1]
    for name, most in (("dataflow", 1.25), ("optimistic", 1.6)):
        mine = [row for row in alone if row["executor"] == name]
        if mine:
            worst = min(mine, key=lambda row: row["speedup"])
            ratio = 1 / worst["speedup"]
            text = f"{name} with one worker at most {most} times serial at {OVERHEAD_US} us"
            found.append(Target(text, ratio <= most, f"at most {ratio:.2f} ({worst['case']})"))
    return found + _regret(matrix) + _miss_targets([row for row in rows if row["table"] == "misses"])


def _regret(matrix: Sequence[dict[str, Any]]) -> list[Target]:
    rows = [row for row in matrix if row["executor"] == "auto"]
    if not rows:
        return []
    worst = max(rows, key=lambda row: row["regret"])
    mean = sum(row["regret"] for row in rows) / len(rows)
    text = "auto's regret in the mean at most 5 %, nowhere more than 15 %"
    found = f"mean {mean:.1%}, most {worst['regret']:.1%} ({_cell(worst)}: {worst['picked']})"
    return [Target(text, mean <= 0.05 and worst["regret"] <= 0.15, found)]


def _miss_targets(rows: Sequence[dict[str, Any]]) -> list[Target]:
    found = []
    for row in rows:
        if row["miss_rate"] == 0.01:
            text = f"{row['executor']} with 1 % of accesses missed at most 1.5 times a perfect oracle's time"
            found.append(Target(text, row["to_perfect"] <= 1.5, f"{row['to_perfect']:.2f}"))
        elif row["miss_rate"] == 1:
            text = f"{row['executor']} with all accesses missed at most 2.5 times serial"
            found.append(Target(text, row["to_serial"] <= 2.5, f"{row['to_serial']:.2f}"))
    return found


# -------------------------------------------------------------------- showing

_HEADINGS: Final = (
    "case", "serial us", "bound", *EXECUTORS, "best %", "quartiles", "CPU s/s", "again", "given", "computed", "auto",
    "regret %", "quiet",
)  # fmt: skip


def _mark(value: float) -> str:
    return f"{value:.2f}{'*' if value < 1 else ''}"


def _show_work(work_us: float, rows: Sequence[dict[str, Any]]) -> None:
    """The matrix at one amount of work."""
    body = []
    for case in dict.fromkeys(row["case"] for row in rows):
        mine = {row["executor"]: row for row in rows if row["case"] == case}
        (best,) = _best(list(mine.values()))
        auto = mine["auto"]
        body.append([
            case, figure(auto["serial_ns_per_tx"] / 1e3), f"{auto['bound']:.2f}",
            *(_mark(mine[name]["speedup"]) for name in EXECUTORS),
            f"{100 * best['share']:.0f}", f"{best['low']:.2f}..{best['high']:.2f}", f"{best['cpu_per_s']:.2f}",
            f"{mine['optimistic']['reexecuted']:,.0f}", _mark(auto["speedup_given"]), _mark(auto["speedup_computed"]),
            auto["picked"], f"{100 * auto['regret']:.1f}", f"{best['rounds_quiet']}/{best['rounds']}",
        ])  # fmt: skip
    print_table(f"{work_us:g} us of work in a transaction, {rows[0]['workers']} workers: serial time / time", _HEADINGS, body)


_EXPLAINED: Final = (
    "Medians of quiet rounds; each result was compared with serial execution before its time counts. * slower than serial.",
    "bound: min(workers, work / longest path), by measured times; bal knows all values beforehand and may exceed it.",
    "Threads are awake: after some idle milliseconds waking them takes up to 0.4 ms more. "
    "planned: dataflow with a schedule, its dependencies known before it runs. best %: share of the bound of the fastest but "
    "bal, with quartiles of its speed-up and its CPU seconds a second.",
    "again: runs of optimistic beyond one a transaction. given, computed: auto end to end, from access sets given or worked "
    "out first. regret: time of what auto picked, planning included, / that of the best.",
)


def _show_overheads(rows: Sequence[dict[str, Any]]) -> None:
    body = []
    for case in dict.fromkeys(row["case"] for row in rows):
        mine = {row["executor"]: row for row in rows if row["case"] == case}
        body.append([case, *(f"{1 / mine[name]['speedup']:.2f}" for name in EXECUTORS)])
    print_table(f"one worker at {OVERHEAD_US} us: time / serial time", ("case", *EXECUTORS), body)


# -------------------------------------------------------------------- the whole


def _matrix(request: Request) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    blocks = dict(blocks_of(request.cases, request.n_tx, request.corpus, request.seed))
    for work_us in request.work_us:
        rows: list[dict[str, Any]] = []
        for case, block in blocks.items():
            with status(f"{case} at {work_us:g} us"):
                rows += measure_cell(case, block, work_us, EXECUTORS, request.chosen_workers, request.rounds)
        _show_work(work_us, rows)
        found += rows
    return found


def _overheads(request: Request) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for case, block in blocks_of(_OVERHEAD_CASES, request.n_tx, None, request.seed):
        with status(f"one worker, {case}"):
            found += measure_cell(case, block, OVERHEAD_US, EXECUTORS, 1, request.rounds)
    _show_overheads(found)
    return found


def run(request: Request, json_path: Path | None = None, page: Page | None = None) -> list[dict[str, Any]]:
    """Measure, show, and write JSON, page and chart if asked.

    Raises
    ------
    PevmError
        On bad arguments or input, or if a result differs from serial execution; no figure of it is shown or written then.
    """
    request.check()
    check_outputs(json_path, page, request.inputs)
    results = _matrix(request)
    print_paragraph(*_EXPLAINED)
    results += _overheads(request)
    with status("missed accesses"):
        misses = measure_misses(request.chosen_workers, request.rounds)
    show_misses(misses)
    results += misses
    if request.break_even:
        with status("break-even"):
            points = sweep(request.n_tx, request.chosen_workers, max(3, request.rounds // 2), request.seed)
        crossings = crossing_rows(points)
        show_crossings(crossings)
        results += crossings
        if request.chart is not None:
            draw(points, request.chart)
            print_paragraph(f"{request.chart}: break-even.")
    for target in targets(results):
        print_paragraph(str(target))
    write_outputs(json_path, page, results)
    return results
