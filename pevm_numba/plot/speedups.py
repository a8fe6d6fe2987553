"""How many times as fast as serial: what each function is given says whether that is simulated or measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from .. import door
from ..errors import BlockError
from ..schedule.simulate import Simulation
from .rows import figures, of_table, texts
from .style import MARKERS, add_legend, axes_of, grid, ink, line_style, series, shades, text_over, title

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["speedup_curves", "speedup_lines", "speedup_surface"]

#: What speed-up is drawn against: the field of a row, and the axis.
_OVER: Final = {
    "work_us": "work of a transaction (microseconds, serially)",
    "conflict_rate": "conflict rate (share of pairs)",
}


def speedup_curves(
    simulations: Iterable[Simulation], *, ax: Axes | None = None, bound: Mapping[int, float] | None = None
) -> Axes:
    """Draw speed-up against workers, one line for each model.

    Parameters
    ----------
    simulations : iterable of Simulation
        Of one block at one cost, in any order; for each model one on each number of workers. At least one.
    ax : matplotlib.axes.Axes, optional
        Default: those of a new figure.
    bound : mapping of int to float, optional
        The most that any schedule in block order can gain on so many workers.

    Returns
    -------
    matplotlib.axes.Axes
        With one line for each model, in the order of first appearance; then the bound; then "linear", as many times as
        there are workers. Both axes are logarithmic, so that "linear" is straight and no line between two numbers of
        workers rises above it.

    Raises
    ------
    BlockError
        If an argument is not as described, there is no simulation, one comes twice, or their serial times differ: then
        they are of other blocks, costs or cold reads, and their speed-ups cannot be compared.
    PevmError
        If matplotlib is not installed.

    Notes
    -----
    Speed-up is serial time over makespan, both at the costs of the simulation: an estimate, not a measurement.
    """
    points = _points(simulations)
    limit = _limits({} if bound is None else bound)
    ax = axes_of(ax)
    for i, (model, curve) in enumerate(points.items()):
        workers = sorted(curve)
        style = {**line_style(ax, i), "marker": MARKERS[i % len(MARKERS)], "ms": 4}
        ax.plot(workers, [curve[w] for w in workers], label=series(model), **style)
    if limit:
        values = [limit[w] for w in sorted(limit)]
        ax.plot(sorted(limit), values, label="bound: block order, all conflicts", color=ink(ax), lw=7, alpha=0.25, zorder=1)
    reach = sorted({w for curve in points.values() for w in curve} | set(limit))
    label = "linear: as many times as workers"
    ax.plot([reach[0], reach[-1]], [reach[0], reach[-1]], label=label, color="#888888", ls=(0, (1, 2)), lw=1)
    gains = [v for curve in [*points.values(), limit] for v in curve.values() if v > 0]
    low, high = min([1.0, *gains]), max([1.0, *gains])
    ax.set_xscale("log", base=2)
    ax.set_yscale("log", base=2)
    ax.set_xticks(reach, [f"{w:,}" for w in reach])
    _gain_ticks(ax, low, high)
    ax.minorticks_off()
    ax.set_ylim(low / 1.12, high * 1.12)  # "linear" leaves the picture rather than pressing the others together
    ax.set_xlabel("workers")
    ax.set_ylabel("speed-up over one worker")
    grid(ax, "y")
    add_legend(ax)
    return ax


def _points(simulations: Any) -> dict[str, dict[int, float]]:
    """Speed-ups by model and number of workers, of simulations that can be compared."""
    points: dict[str, dict[int, float]] = {}
    given = door.items("simulations", simulations, "simulations")
    if not given:
        raise BlockError("simulations: empty: must be at least one Simulation")
    for i, made in enumerate(given):
        door.instance(f"simulations[{i}]", made, Simulation)
        if abs(made.serial - given[0].serial) > 1e-9 * max(made.serial, given[0].serial):
            rule = f"must be {given[0].serial:,.12g} as in simulations[0]: one block, one cost, the same cold reads"
            raise BlockError(f"simulations[{i}].serial = {made.serial:,.12g}: {rule}")
        curve = points.setdefault(made.model, {})
        if made.workers in curve:
            raise BlockError(f"simulations[{i}]: a second {made.model} on {made.workers} workers: must be one")
        curve[made.workers] = made.speedup
    return points


def _limits(bound: Any) -> dict[int, float]:
    door.instance("bound", bound, Mapping)
    return {door.integer("bound: workers", w, 1, 2**31 - 1): door.real(f"bound[{w}]", v, 0.0) for w, v in bound.items()}


def _gain_ticks(ax: Axes, low: float, high: float) -> None:
    """Powers of two, and between them where they would be few; plain figures."""
    steps = (1.0,) if high / low > 12 else (1.0, 1.5) if high / low > 2 else (1.0, 1.1, 1.2, 1.35, 1.5, 1.75)
    marks = [step * 2.0**e for e in range(-30, 32) for step in steps if low / 1.12 <= step * 2.0**e <= high * 1.12]
    ax.set_yticks(marks, [f"{mark:,.4g}" for mark in marks])


def speedup_lines(rows: Any, *, over: str = "work_us", value: str = "speedup", ax: Axes | None = None) -> Axes:
    """Draw speed-up against work per transaction or against the conflict rate, one line for each executor.

    Parameters
    ----------
    rows : iterable of mappings, or mapping of str to (mapping of float to float)
        Rows that ``python -m pevm_numba.bench --json`` writes, with `executor`, `over` and `value`: what several have at the
        same place is drawn as their median. Or by name, where each line has which value.
    over : str
        ``"work_us"`` (microseconds) or ``"conflict_rate"`` (in [0, 1]).
    value : str
        Field of the rows: a ratio of times, such as ``"speedup"``, ``"speedup_execute"``, ``"speedup_given"``.
    ax : matplotlib.axes.Axes, optional
        Default: those of a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        With one line for each name, in the order of first appearance, then one at 1, below which serial is faster. The x
        axis is logarithmic where all that is on it is above 0 and spans a factor of 20.

    Raises
    ------
    BlockError
        If an argument is not as described, or there is nothing to draw.
    PevmError
        If matplotlib is not installed.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> ax = speedup_lines({"waves": {0.1: 0.5, 5.0: 1.8}}, ax=Figure().subplots())
    >>> ax.lines[0].get_xydata().tolist(), ax.get_xscale()
    ([[0.1, 0.5], [5.0, 1.8]], 'log')
    """
    door.choice("over", over, _OVER)
    lines = _lines(rows, over, value)
    ax = axes_of(ax)
    for i, (name, points) in enumerate(lines.items()):
        x = sorted(points)
        ax.plot(x, [points[at] for at in x], label=series(name), marker=MARKERS[i % len(MARKERS)], ms=5, **line_style(ax, i))
    ax.axhline(1.0, color=ink(ax), lw=0.9, label="1: as fast as serial")
    places = sorted({at for points in lines.values() for at in points})
    if places[0] > 0 and places[-1] >= 20 * places[0]:
        ax.set_xscale("log")
        ax.set_xticks(places if len(places) <= 12 else places[:: -(-len(places) // 12)])
    ax.xaxis.set_major_formatter("{x:,.4g}")
    ax.minorticks_off()
    ax.set_ylim(bottom=0)
    ax.set_xlabel(_OVER[over])
    ax.set_ylabel("speed-up over serial")
    grid(ax, "y")
    add_legend(ax)
    return ax


def _lines(rows: Any, over: str, value: str) -> dict[str, dict[float, float]]:
    """Speed-up by name and place; medians where rows share a place."""
    if isinstance(rows, Mapping):
        lines = {door.text("rows: key", name): _numbers(f"rows[{name!r}]", points) for name, points in rows.items()}
        if not lines or not all(lines.values()):
            raise BlockError("rows: empty: must hold at least one line, and each line at least one point")
        return lines
    given = of_table(rows, "executors", "bench")
    places, gains = figures(given, over), figures(given, door.text("value", value))
    found: dict[str, dict[float, list[float]]] = {}
    for name, at, gain in zip(texts(given, "executor"), places, gains):
        found.setdefault(name, {}).setdefault(at, []).append(gain)
    return {name: {at: float(np.median(some)) for at, some in points.items()} for name, points in found.items()}


def _numbers(name: str, points: Any) -> dict[float, float]:
    door.instance(name, points, Mapping)
    return {door.real(f"{name}: key", at, 0.0): door.real(f"{name}[{at}]", gain, 0.0) for at, gain in points.items()}


def speedup_surface(speedups: Mapping[tuple[float, float], float], *, ax: Axes | None = None) -> Axes:
    """Draw speed-up over work per transaction and conflict rate, as a table of shades with the figures in it.

    Parameters
    ----------
    speedups : mapping of (float, float) to float
        By (work of a transaction in microseconds, conflict rate in [0, 1]): times as fast as serial. Pairs may be missing.
    ax : matplotlib.axes.Axes, optional
        Default: those of a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        One cell for each work and rate, evenly spaced; a heavy line parts those of at least 1 from those below.

    Raises
    ------
    BlockError
        If the argument is not as described, or empty.
    PevmError
        If matplotlib is not installed.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> ax = speedup_surface({(1.0, 0.1): 1.5, (5.0, 0.1): 1.9, (1.0, 0.2): 0.8}, ax=Figure().subplots())
    >>> [text.get_text() for text in ax.texts]
    ['1.5', '1.9', '0.8']
    """
    given = _cells(speedups)
    works, rates = (sorted({pair[k] for pair in given}) for k in (0, 1))
    table = np.array([[given.get((work, rate), np.nan) for work in works] for rate in rates])
    ax = axes_of(ax, 1.4 + 0.42 * len(rates))
    mesh = ax.pcolormesh(np.arange(len(works) + 1), np.arange(len(rates) + 1), table, cmap=shades(ax), edgecolors="none")
    ax.figure.colorbar(mesh, ax=ax, label="speed-up over serial", pad=0.015)
    _write_cells(ax, mesh, table)
    _break_even_line(ax, table)
    ax.set_xticks(np.arange(len(works)) + 0.5, [f"{work:,.4g}" for work in works])
    ax.set_yticks(np.arange(len(rates)) + 0.5, [f"{rate:,.3g}" for rate in rates])
    ax.tick_params(length=0)
    ax.set_xlabel(_OVER["work_us"])
    ax.set_ylabel("conflict rate\n(share of pairs)")
    title(ax, "speed-up; from the heavy line on at least as fast as serial")
    return ax


def _cells(speedups: Any) -> dict[tuple[float, float], float]:
    door.instance("speedups", speedups, Mapping)
    if not speedups:
        raise BlockError("speedups: empty: must hold at least one speed-up")
    found = {}
    for pair, gain in speedups.items():
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise BlockError(f"speedups: key {door.shown(pair)}: must be (work in microseconds, conflict rate)")
        place = door.real("speedups: work", pair[0], 0.0), door.real("speedups: conflict rate", pair[1], 0.0, 1.0)
        found[place] = door.real(f"speedups[{pair}]", gain, 0.0)
    return found


def _write_cells(ax: Axes, mesh: Any, table: np.ndarray) -> None:
    """Each figure in black or white, whichever its cell shows better."""
    for (row, column), value in np.ndenumerate(table):
        if np.isfinite(value):
            text_colour = text_over(mesh.to_rgba(value)[:3])
            words: Any = {"ha": "center", "va": "center", "fontsize": "small"}
            ax.text(column + 0.5, row + 0.5, f"{value:.3g}", color=text_colour, **words)


def _break_even_line(ax: Axes, table: np.ndarray) -> None:
    """Along the edges between cells below 1 and others."""
    from matplotlib.collections import LineCollection
    from matplotlib.patheffects import withStroke

    ahead = np.where(np.isfinite(table), table >= 1, False)
    known = np.isfinite(table)
    upright, level = np.nonzero((ahead[:, 1:] != ahead[:, :-1]) & known[:, 1:] & known[:, :-1])
    across, place = np.nonzero((ahead[1:] != ahead[:-1]) & known[1:] & known[:-1])
    sides = [[(c + 1, r), (c + 1, r + 1)] for r, c in zip(upright, level)]
    sides += [[(c, r + 1), (c + 1, r + 1)] for r, c in zip(across, place)]
    rim = [withStroke(linewidth=5.0, foreground="white")]  # seen on pale and on dark cells alike
    ax.add_collection(LineCollection(sides, colors="black", linewidths=2.4, capstyle="round", path_effects=rim))
