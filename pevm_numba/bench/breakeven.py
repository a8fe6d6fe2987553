"""How much work a transaction must hold before an executor beats serial execution, end to end."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from ..plot.breakeven import break_even
from ..plot.style import save
from .cells import measure_cell
from .contest import EXECUTORS, blocks_of
from .tables import figure, print_table

__all__ = ["SWEEP_CASES", "SWEEP_US", "crossing", "crossing_rows", "draw", "show_crossings", "sweep"]

SWEEP_CASES: Final = ("independent", "low", "mid", "zipf 1.1")
SWEEP_US: Final = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)

#: What is timed: fields of a cell, and in words.
_WAYS: Final = {"speedup_given": "access sets given", "speedup_computed": "access sets worked out first"}


def sweep(
    n_tx: int, workers: int, rounds: int, seed: int = 42, cases: Sequence[str] | None = None
) -> list[dict[str, Any]]:
    """Cells of some cases, by default `SWEEP_CASES`, at all of `SWEEP_US`."""
    found: list[dict[str, Any]] = []
    for case, block in blocks_of(SWEEP_CASES if cases is None else cases, n_tx, None, seed):
        for work_us in SWEEP_US:
            found += measure_cell(case, block, work_us, EXECUTORS, workers, rounds)
    return found


def crossing(work: Sequence[float], ratio: Sequence[float]) -> float | None:
    """Work from which on `ratio` stays at least 1, interpolated between logarithms; the least work if it always is.

    Returns None if it is below 1 at the most work.

    Examples
    --------
    >>> crossing([1, 4, 16], [0.5, 2.0, 3.0])
    2.0
    >>> crossing([1, 4], [1.5, 2.0]), crossing([1, 4], [0.1, 0.9])
    (1.0, None)
    """
    x, y = np.log(np.asarray(work, float)), np.log(np.asarray(ratio, float))
    below = np.flatnonzero(y < 0)
    if not len(below):
        return float(np.exp(x[0]))
    i = int(below[-1])
    if i == len(y) - 1:
        return None
    return float(np.exp(x[i] + (x[i + 1] - x[i]) * (-y[i] / (y[i + 1] - y[i]))))


def _line(points: Sequence[dict[str, Any]], case: str, executor: str, way: str) -> tuple[list[float], list[float]]:
    mine = sorted(
        (row["serial_ns_per_tx"] / 1e3, row[way]) for row in points if (row["case"], row["executor"]) == (case, executor)
    )
    return [x for x, _ in mine], [y for _, y in mine]


def crossing_rows(points: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """For each case and executor where its lines cross 1: the fields of `fields.TABLES["break-even"]`."""
    rows = []
    for case in dict.fromkeys(row["case"] for row in points):
        least = min(row["serial_ns_per_tx"] for row in points if row["case"] == case) / 1e3
        for executor in EXECUTORS:
            given, computed = (crossing(*_line(points, case, executor, way)) for way in _WAYS)
            rows.append({
                "table": "break-even", "case": case, "n_tx": points[0]["n_tx"], "workers": points[0]["workers"],
                "executor": executor, "given_us": given, "computed_us": computed, "least_us": least, "verified": True,
            })  # fmt: skip
    return rows


def show_crossings(rows: Sequence[dict[str, Any]]) -> None:
    """One line for each case; two figures for each executor."""

    def text(value: float | None, least: float) -> str:
        return "never" if value is None else ("below " if value <= least else "") + figure(value, 2)

    body = []
    for case in dict.fromkeys(row["case"] for row in rows):
        mine = [row for row in rows if row["case"] == case]
        body.append([case, *(text(row[way], row["least_us"]) for row in mine for way in ("given_us", "computed_us"))])
    headings = ["case", *(f"{name}{more}" for name in EXECUTORS for more in ("", ", computed"))]
    title = (
        "break-even: least us of work a transaction from which on an executor beats serial, access sets given or worked out "
        f"first; {rows[0]['n_tx']:,} transactions, {rows[0]['workers']} workers"
    )
    print_table(title, headings, body, [2] * len(EXECUTORS))


def draw(points: Sequence[dict[str, Any]], path: Path) -> None:
    """Write `plot.break_even` of the cells to a file.

    Raises
    ------
    PevmError
        If matplotlib is not installed.
    """
    save(break_even(points)[0], path)
