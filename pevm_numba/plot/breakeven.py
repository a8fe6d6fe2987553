"""From how much work per transaction on an executor beats serial: end to end, not by execution alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from ..errors import BlockError
from .rows import figures, of_table, texts
from .style import MARKERS, figure_of, grid, ink, line_style, plain, series, title

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["break_even"]

#: What is timed: fields of a row, and in words.
_WAYS: Final = {"speedup_given": "access sets given", "speedup_computed": "access sets worked out first"}
#: An executor that only picks another has no line of its own.
_PICKER: Final = "auto"


def break_even(rows: Any, *, ax: Axes | None = None, figure: Figure | None = None) -> tuple[Axes, ...]:
    """Draw speed-up end to end over the work of a transaction, both axes logarithmic: where a line crosses 1, it pays.

    Parameters
    ----------
    rows : iterable of mappings
        Of the table ``executors`` of ``python -m pevm_numba.bench executors --json``, or of `bench.breakeven.sweep`; those
        on the most workers count. ``auto`` is left out, which runs as one of the others.
    ax : matplotlib.axes.Axes, optional
        Of a grid; the panels take its place.
    figure : matplotlib.figure.Figure, optional
        Default: a new one.

    Returns
    -------
    tuple of matplotlib.axes.Axes
        Two for each case, in the order of first appearance: access sets given, and worked out first.

    Raises
    ------
    BlockError
        If a row lacks a field, or there is no row.
    PevmError
        If matplotlib is not installed.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> row = {"case": "low", "executor": "waves", "n_tx": 50, "workers": 2, "path_bound": 2.0,
    ...        "speedup_given": 0.9, "speedup_computed": 0.8, "serial_ns_per_tx": 500.0}
    >>> left, right = break_even([row, {**row, "serial_ns_per_tx": 5000.0, "speedup_given": 1.8}], figure=Figure())
    >>> left.get_title(loc="left"), left.lines[0].get_xydata().tolist()
    ('low: access sets given', [[0.5, 0.9], [5.0, 1.8]])
    """
    given = _checked(rows)
    cases = list(dict.fromkeys(texts(given, "case")))
    whole = figure_of(figure, 2.4 * len(cases) + 0.8, ax)
    panels = whole.subplots(len(cases), 2, sharex=True, sharey=True, squeeze=False)
    for line, case in zip(panels, cases):
        for ax, (way, words) in zip(line, _WAYS.items()):
            _panel(ax, [row for row in given if row["case"] == case], way)
            title(ax, plain(f"{case}: {words}"))
        line[0].set_ylabel("speed-up over serial")
    for ax in panels[-1]:
        ax.set_xlabel("work of a transaction (microseconds, serially)")
    _ticks(panels[0][0], given)
    handles, labels = panels[0][0].get_legend_handles_labels()
    whole.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False, handlelength=3.0)
    head = f"break-even of executors, {given[0]['workers']} workers, {given[0]['n_tx']:,} transactions"
    whole.suptitle(head, x=0.01, ha="left")
    return tuple(panels.ravel())


def _checked(rows: Any) -> list[Mapping[str, Any]]:
    """The rows to draw; each has what is drawn, as finite numbers above 0."""
    given = [row for row in of_table(rows, "executors", "bench executors") if row.get("executor") != _PICKER]
    if not given:
        raise BlockError(f"rows: all are of executor {_PICKER!r}, which runs as another: must hold others, too")
    texts(given, "executor")
    least = 1e-9  # the axes are logarithmic
    workers = figures(given, "workers", 1.0)
    for name in (*_WAYS, "serial_ns_per_tx", "path_bound", "n_tx"):
        figures(given, name, least)
    return [row for row, count in zip(given, workers) if count == max(workers)]


def _panel(ax: Axes, rows: Sequence[Mapping[str, Any]], way: str) -> None:
    for i, executor in enumerate(dict.fromkeys(row["executor"] for row in rows)):
        points = sorted((row["serial_ns_per_tx"] / 1e3, row[way]) for row in rows if row["executor"] == executor)
        style = {**line_style(ax, i), "lw": 1.4}
        ax.plot(*zip(*points), marker=MARKERS[i % len(MARKERS)], markersize=4, label=series(executor), **style)
    limits = dict(sorted((row["serial_ns_per_tx"] / 1e3, row["path_bound"]) for row in rows))
    ax.plot(list(limits), list(limits.values()), color=ink(ax), lw=6, alpha=0.25, label="bound", zorder=1)
    ax.axhline(1, color=ink(ax), linewidth=0.9)
    grid(ax)


def _ticks(ax: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    """Plain figures on both axes: all panels share them."""
    ax.set_xscale("log")
    ax.set_yscale("log")
    works = [row["serial_ns_per_tx"] / 1e3 for row in rows]
    gains = [row[name] for row in rows for name in (*_WAYS, "path_bound")]
    places = [m * 10.0**e for e in range(-6, 6) for m in (1, 2, 5) if min(works) / 1.3 <= m * 10.0**e <= 1.3 * max(works)]
    powers = [e for e in range(-30, 12) if min(gains) / 1.1 <= 2.0**e <= 1.1 * max(gains)]
    marks = [2.0**e for e in powers if e % -(-len(powers) // 7) == 0]  # 1 is always among them
    ax.set_xticks(places, [f"{place:,.12g}" for place in places])
    ax.set_yticks(marks, [f"{mark:,.3g}" for mark in marks])
    ax.minorticks_off()
