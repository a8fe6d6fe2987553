"""Stores side by side: keys a second by size, and what reading ahead saves where each read is slow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import door
from .rows import figures, of_table, texts
from .style import MARKERS, figure_of, grid, line_style, log_counts, plain, series, title

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["storage_comparison"]


def storage_comparison(rows: Any, *, ax: Axes | None = None, figure: Figure | None = None) -> tuple[Axes, ...]:
    """Draw keys a second of every backend over the size of its store, and chains of blocks over the delay of a read.

    Parameters
    ----------
    rows : iterable of mappings
        What ``python -m pevm_numba.bench storage --json`` writes: rows of the table ``store workload``, and maybe of
        ``chain``, of which those in memory are drawn if they have two delays or more. Others are passed over.
    ax : matplotlib.axes.Axes, optional
        Of a grid; the panels take its place.
    figure : matplotlib.figure.Figure, optional
        Default: a new one.

    Returns
    -------
    tuple of matplotlib.axes.Axes
        One for each distribution and operation that there is, row by row; then for chains the time, and how many times as
        fast as reading on demand.

    Raises
    ------
    BlockError
        If a row lacks a field, or there is no row of ``store workload``.
    PevmError
        If matplotlib is not installed.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> row = {"table": "store workload", "backend": "mmap", "distribution": "zipf", "operation": "read"}
    >>> given = [{**row, "keys": 1000, "keys_per_s": 2e6}, {**row, "keys": 2000, "keys_per_s": 1e6}]
    >>> ax, = storage_comparison(given, figure=Figure())
    >>> ax.get_title(loc="left"), ax.lines[0].get_xydata().tolist()
    ('read, zipf', [[1000.0, 2000000.0], [2000.0, 1000000.0]])
    """
    given = door.items("rows", rows, "rows, one dict each")
    loads = of_table(given, "store workload", "bench storage")
    sizes, speeds = figures(loads, "keys", 1.0), figures(loads, "keys_per_s", 1e-3)
    distributions, operations = (list(dict.fromkeys(texts(loads, name))) for name in ("distribution", "operation"))
    backends = list(dict.fromkeys(texts(loads, "backend")))
    chains = _chains(given)
    lines = len(distributions) + bool(chains)
    whole = figure_of(figure, 2.2 * lines + 0.8, ax)
    panels = whole.subplots(lines, max(len(operations), 2 if chains else 1), squeeze=False)
    for ax in panels[: len(distributions)].flat[1:]:
        ax.sharex(panels[0][0])
        ax.sharey(panels[0][0])
    drawn: list[Axes] = []
    for place, distribution in enumerate(distributions):
        line = panels[place]
        for ax, operation in zip(line, operations):
            mine = [row for row in loads if (row["distribution"], row["operation"]) == (distribution, operation)]
            _panel(ax, mine, backends)
            title(ax, plain(f"{operation}, {distribution}"))
            ax.tick_params(labelleft=ax is line[0], labelbottom=place == len(distributions) - 1)
            drawn.append(ax)
        line[0].set_ylabel("keys a second")
    _size_ticks(panels[0][0], sizes)
    log_counts(panels[0][0], "y", 1.2 * max(speeds), min(speeds) / 1.2)
    for ax in panels[len(distributions) - 1]:
        ax.set_xlabel("keys in the store")
    handles, labels = panels[0][0].get_legend_handles_labels()
    whole.legend(handles, labels, loc="outside lower center", ncols=max(1, len(labels)), frameon=False, handlelength=3.0)
    if chains:
        drawn += _draw_chains(panels[-1], chains)
    for ax in panels.flat:
        if ax not in drawn:
            ax.set_axis_off()
    return tuple(drawn)


def _chains(given: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Rows of chains in memory; none if there is only one delay, over which nothing can be drawn."""
    found = [row for row in given if row.get("table") == "chain" and row.get("backend") == "memory"]
    for name in ("kind", "chain"):
        texts(found, name)
    figures(found, "ms", 1e-9)
    return found if len(set(figures(found, "delay_us"))) > 1 else []


def _size_ticks(ax: Axes, sizes: Sequence[float]) -> None:
    """At the sizes that there are, or some of them: panels are narrow."""
    log_counts(ax, "x", 1.3 * max(sizes), min(sizes) / 1.3)
    places = sorted(set(sizes))
    places = places if len(places) <= 3 else [places[0], places[-1]]
    ax.set_xticks(places, [f"{place:,.0f}" for place in places])
    ax.set_xlim(min(sizes) / 1.6, 1.6 * max(sizes))


def _panel(ax: Axes, rows: Sequence[Mapping[str, Any]], backends: Sequence[str]) -> None:
    for i, backend in enumerate(backends):
        mine = sorted((row["keys"], row["keys_per_s"]) for row in rows if row["backend"] == backend)
        style = {**line_style(ax, i), "lw": 1.4, "label": series(backend)}
        ax.plot([x for x, _ in mine], [y for _, y in mine], marker=MARKERS[i % len(MARKERS)], ms=4, **style)
    grid(ax)


def _draw_chains(panels: Sequence[Axes], rows: Sequence[Mapping[str, Any]]) -> list[Axes]:
    """Medians over the chains, a line for each way of reading; the first way is what others are compared with."""
    delays = sorted({row["delay_us"] for row in rows})
    kinds = list(dict.fromkeys(row["kind"] for row in rows))
    times, gains = panels[0], panels[1]
    for i, kind in enumerate(kinds):
        style = {**line_style(times, i), "marker": MARKERS[i % len(MARKERS)], "ms": 4, "lw": 1.4, "label": series(kind)}
        found = {place: _pairs(rows, delay, kind, kinds[0]) for place, delay in enumerate(delays)}
        pairs = {place: some for place, some in found.items() if some}  # a chain may lack a delay or a way
        times.plot(list(pairs), [np.median([ms for ms, _ in some]) for some in pairs.values()], **style)
        gains.plot(list(pairs), [np.median([slow / ms for ms, slow in some]) for some in pairs.values()], **style)
    for ax, text in ((times, "a chain, milliseconds"), (gains, plain(f"times as fast as {kinds[0]}"))):
        ax.set_xticks(range(len(delays)), [f"{delay:,g}" for delay in delays])
        ax.set_xlabel("microseconds more a read")
        heights = np.concatenate([np.asarray(line.get_ydata(), float) for line in ax.lines])
        log_counts(ax, "y", 1.3 * float(heights.max()), float(heights.min()) / 1.3)
        title(ax, text)
        grid(ax)
    if len(panels) > 2:
        panels[2].legend(*times.get_legend_handles_labels(), loc="center left", frameon=False, title="reads of chains")
    else:
        gains.legend(loc="best", frameon=False, title="reads of chains")
    return [times, gains]


def _pairs(rows: Sequence[Mapping[str, Any]], delay: float, kind: str, first: str) -> list[tuple[float, float]]:
    """For each chain: milliseconds of one way of reading, and of the first way."""
    mine, slow = (
        {row["chain"]: row["ms"] for row in reversed(rows) if (row["delay_us"], row["kind"]) == (delay, one)}
        for one in (kind, first)
    )
    return [(ms, slow[name]) for name, ms in mine.items() if name in slow]
