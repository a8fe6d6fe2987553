"""What `schedule` and `simulate` print: figures are never clipped, so a table too wide for the console comes in parts."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .console import width
from .schedule.plan import Schedule
from .schedule.simulate import Simulation

__all__ = [
    "COST_NAMES", "amount", "print_pairs", "print_table", "schedule_rows", "show_runs", "wasted_share", "workers_text",
]  # fmt: skip

#: Costs by name: the unit in a title, and what they are.
COST_NAMES: Final = {
    "unit": ("unit costs", "1 for each transaction"),
    "accesses": ("accesses + 1", "distinct keys of each transaction, and 1"),
    "ops": ("ops + 1", "micro-ops of each transaction, and 1"),
    "gas": ("gas", "charged in execution in block order"),
    "chain-gas": ("chain gas", "as the chain charged it, in block order"),
    "ns": ("ns", "measured here, in serial execution in block order"),
}

_Row = Sequence[str]


def amount(value: float, kind: str = "") -> str:
    """A figure for people, with the unit of a kind of cost behind it if one is named."""
    text = f"{value:,.0f}" if value == int(value) or value >= 1000 else f"{value:,.4g}"
    if not kind:
        return text
    name = COST_NAMES[kind][0]
    return f"{text} ({name})" if kind in ("unit", "accesses", "ops") else f"{text} {name}"


def workers_text(count: int) -> str:
    """1 worker, 2 workers."""
    return f"{count:,} worker{'' if count == 1 else 's'}"


def print_pairs(lines: Sequence[tuple[str, Any]]) -> None:
    """Names and texts in two columns, texts wrapped to the console."""
    left = max(len(name) for name, _ in lines) + 2
    for name, text in lines:
        wrapped = textwrap.wrap(str(text), max(20, width() - left), break_long_words=False, break_on_hyphens=False)
        for i, part in enumerate(wrapped or [""]):
            print(f"{name if i == 0 else '':<{left}}{part}".rstrip())


def print_table(
    headings: _Row, rows: Sequence[_Row | None], keys: int, cut: int, left: Sequence[int] = (), titles: _Row = ("", "")
) -> None:
    """A table, whole if it fits in the console, else cut before column `cut`, each part with the first `keys` columns.

    Parameters
    ----------
    headings, rows
        Texts; None for a row is an empty line.
    keys, cut : int
    left : sequence of int
        Columns set left, the others right.
    titles : two texts
        Of the first part or the whole, and of the second part.
    """
    wide = [max(map(len, column)) for column in zip(headings, *(row for row in rows if row is not None))]
    for part, title in _parts(wide, keys, cut, titles):
        print()
        if title:
            print(title)
        for row in [headings, ["-" * w for w in wide], *rows]:
            cells = [] if row is None else [f"{row[i]:<{wide[i]}}" if i in left else f"{row[i]:>{wide[i]}}" for i in part]
            print("  ".join(cells).rstrip())


def _parts(wide: Sequence[int], keys: int, cut: int, titles: _Row) -> list[tuple[list[int], str]]:
    """Columns and title of each part; one that is still too wide is cut again, wherever it must be."""
    room, named = width(), list(range(keys))
    if sum(wide) + 2 * (len(wide) - 1) <= room:
        return [(list(range(len(wide))), titles[0])]
    parts: list[tuple[list[int], str]] = []
    for columns, title in ((range(keys, cut), titles[0]), (range(cut, len(wide)), titles[1])):
        part = list(named)
        for i in columns:
            if len(part) > keys and sum(wide[c] + 2 for c in part) + wide[i] > room:
                parts.append((part, title))
                part = list(named)
            part.append(i)
        parts.append((part, title))
    return parts


# -------------------------------------------------------------------- schedule


def schedule_rows(plan: Schedule, cost: NDArray[np.float64], rows: int, kind: str) -> None:
    """Print the first transactions in order of start."""
    line, shown = plan.timeline, min(rows, plan.n_tx)
    if line is None or not shown:
        return
    position = np.argsort(plan.serial_order)
    first = np.lexsort((position, line.start))[:shown]
    columns: list[NDArray[Any]] = [first, plan.wave_of[first], position[first], line.worker[first]]
    texts = [[f"{int(value):,}" for value in column] for column in columns]
    texts += [[amount(float(value)) for value in column[first]] for column in (line.start, line.end, cost)]
    headings = ("transaction", "wave", "position", "worker", "start", "end", "cost")
    title = f"the first {shown:,} of {plan.n_tx:,} to start; start, end and cost: {COST_NAMES[kind][0]}"
    print_table(headings, list(zip(*texts)), 1, 4, left=(0,), titles=(title, "the same"))


# -------------------------------------------------------------------- simulate

_HEADINGS: Final = (
    "model", "workers", "makespan", "bound", "bound %", "speed-up", "idle %", "again", "valid.", "wasted %", "CPU",
)  # fmt: skip
_FOOT: Final = (
    "bound: no run that keeps what the model must keep is shorter; it counts costs (and cold reads waited for) alone, no "
    "barrier, dispatch or validation. Kept by serial, waves and list: every conflict in block order; by two-pass and "
    "block-stm: data flow only; by two-bin and bal: nothing, so the longest transaction bounds them. bound %: share of it "
    "reached. again: executions thrown away. valid.: validations. wasted %: of the cost executed. CPU: time that holds "
    "a worker, in serial runs."
)


def wasted_share(run: Simulation, total: float) -> float:
    """Share of the cost executed that was thrown away."""
    return run.wasted / (total + run.wasted) if run.wasted > 0 else 0.0


def show_runs(runs: Sequence[Simulation], total: float, unit: str) -> None:
    """One row for each run, models apart, under a title with the unit; then what the columns mean."""
    rows: list[_Row | None] = []
    last = ""
    for run in runs:
        if last not in ("", run.model):
            rows.append(None)
        rows.append(_cells(run, total, run.model != last))
        last = run.model
    title = f"makespan and bound: {unit}"
    print_table(_HEADINGS, rows, 2, 7, left=(0,), titles=(title, "what it took"))
    print("\n" + textwrap.fill(_FOOT, min(100, width()), break_on_hyphens=False))


def _cells(run: Simulation, total: float, first: bool) -> list[str]:
    share = min(1.0, run.bound / run.makespan) if run.makespan > 0 else 1.0
    cpu = run.busy / run.serial if run.serial > 0 else 1.0
    return [
        run.model if first else "", f"{run.workers:,}", amount(run.makespan), amount(run.bound), f"{100 * share:.1f}",
        f"{run.speedup:.2f}", f"{100 * run.idle_share:.1f}", f"{run.reexecutions:,}", f"{run.validations:,}",
        f"{100 * wasted_share(run, total):.1f}", f"{cpu:.2f}",
    ]  # fmt: skip
