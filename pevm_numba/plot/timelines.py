"""When transactions run, planned or measured: an axis in gas is not an axis in time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import door
from ..errors import BlockError
from ..schedule.bounds import Bounds
from ..schedule.timeline import Timeline
from .style import (
    COLOURS,
    add_legend,
    axes_of,
    figure_of,
    ink,
    line_style,
    named,
    need_timeline,
    number,
    plain,
    reach,
    series,
    shades,
    shown_before,
    title,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["gantt", "gantt_pair", "parallelism_profile"]

#: Of bars that are not the point; light in grey where the others are dark.
_PALE: Final = "#9ecae1"
_COLOUR_BY: Final = ("transaction", "cost", "critical")


def gantt(
    timeline: Timeline,
    *,
    ax: Axes | None = None,
    colour_by: str = "transaction",
    critical: ArrayLike | None = None,
    unit: str = "cost",
) -> Axes:
    """Draw who runs what from when to when: one line for each worker, one bar for each transaction.

    Parameters
    ----------
    timeline : Timeline
    ax : matplotlib.axes.Axes, optional
        Default: those of a new figure.
    colour_by : str
        ``"transaction"``: position in the block. ``"cost"``: length of the bar. ``"critical"``: whether on a longest
        path, as `critical` says.
    critical : (n_tx,) bool, optional
        For ``"critical"``: as ``dependencies(access).on_critical_path(cost)`` gives it.
    unit : str
        Of the timeline's numbers, for the axis.

    Returns
    -------
    matplotlib.axes.Axes
        With one `PolyCollection`, whose polygon i is transaction i. A time axis that shows more already, shared or
        drawn on before, keeps showing it.

    Raises
    ------
    BlockError
        If an argument is not as described.
    PevmError
        If matplotlib is not installed.

    Notes
    -----
    The bars are one collection: 10,000 transactions draw in well under a second.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> ax = gantt(Timeline(2, [0, 1, 0], [0, 0, 3], [3, 2, 4], 4), ax=Figure().subplots(), unit="gas")
    >>> len(ax.collections[0].get_paths()), ax.get_xlabel()
    (3, 'time (gas)')
    """
    need_timeline("timeline", timeline)
    door.choice("colour_by", colour_by, _COLOUR_BY)
    flags = _flags(critical, timeline.n_tx) if colour_by == "critical" else None
    ax = axes_of(ax)
    from matplotlib.collections import PolyCollection

    shown = shown_before(ax)

    low, high = timeline.worker + 0.08, timeline.worker + 0.92
    corners = [(timeline.start, low), (timeline.end, low), (timeline.end, high), (timeline.start, high)]
    edge = 0.4 if timeline.n_tx <= 150 * timeline.n_workers else 0.0  # lines between bars would hide short ones
    verts = np.stack([np.stack(corner, axis=-1) for corner in corners], axis=1)
    bars = PolyCollection(list(verts), edgecolors=ax.get_facecolor(), linewidths=edge)
    ax.add_collection(bars, autolim=False)
    if flags is not None:
        bars.set_facecolor([COLOURS[1] if on else _PALE for on in flags])
        _critical_legend(ax, flags)
    elif timeline.n_tx:
        bars.set_cmap(shades(ax))
        bars.set_array(np.arange(timeline.n_tx) if colour_by == "transaction" else timeline.end - timeline.start)
        label = "position in the block" if colour_by == "transaction" else plain(f"cost ({unit})")
        ax.figure.colorbar(bars, cax=ax.inset_axes((1.015, 0.0, 0.015, 1.0)), label=label)
    _worker_axis(ax, timeline.n_workers)
    reach(ax, shown, 0.0, timeline.makespan if timeline.makespan > 0 else 1.0)
    _time_axis(ax, unit)
    title(ax, plain(f"makespan {number(timeline.makespan)} {unit}, {timeline.idle_share:.1%} idle"))
    return ax


def _flags(critical: ArrayLike | None, n_tx: int) -> NDArray[np.bool_]:
    if critical is None:
        raise BlockError("critical = None: must be given with colour_by='critical', one flag for each transaction")
    return door.array("critical", critical, bool, (n_tx,))


def _critical_legend(ax: Axes, flags: NDArray[np.bool_]) -> None:
    from matplotlib.patches import Patch

    on = int(flags.sum())
    labels = f"transactions on a longest path: {on:,}", f"on none: {len(flags) - on:,}"
    add_legend(ax, [Patch(color=colour, label=label) for colour, label in zip((COLOURS[1], _PALE), labels)])


def _worker_axis(ax: Axes, n_workers: int) -> None:
    """Workers from top to bottom; few enough are numbered each."""
    ax.set_ylim(n_workers, 0)
    step = max(1, -(-n_workers // 16))
    shown = np.arange(0, n_workers, step)
    ax.set_yticks(shown + 0.5, [str(w) for w in shown])
    ax.set_ylabel("worker")


def gantt_pair(
    planned: Timeline,
    measured: Timeline,
    *,
    ax: Axes | None = None,
    figure: Figure | None = None,
    planned_unit: str = "cost",
    measured_unit: str = "ns",
) -> tuple[Axes, Axes]:
    """Draw a plan above what became of it; a transaction has the same colour in both.

    Parameters
    ----------
    planned : Timeline
        As ``schedule.timeline`` has it.
    measured : Timeline
        Of the same transactions: ``execute(block, ..., record="times").times.timeline()``.
    ax : matplotlib.axes.Axes, optional
        Of a grid; the panels take its place.
    figure : matplotlib.figure.Figure, optional
        Default: a new one.
    planned_unit, measured_unit : str
        Of the timelines' numbers. Where they are the same, both time axes show the same span.

    Returns
    -------
    tuple of two matplotlib.axes.Axes
        That of the plan, then that of the measurement, each as `gantt` draws it.

    Raises
    ------
    BlockError
        If an argument is not as described, or the timelines have different numbers of transactions.
    PevmError
        If matplotlib is not installed.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> plan, real = Timeline(2, [0, 1], [0, 0], [3, 2], 3), Timeline(2, [0, 1], [0, 90], [350, 310], 350)
    >>> [ax.get_xlabel() for ax in gantt_pair(plan, real, figure=Figure(), planned_unit="gas")]
    ['time (gas)', 'time (ns)']
    """
    need_timeline("planned", planned)
    need_timeline("measured", measured)
    if planned.n_tx != measured.n_tx:
        rule = f"must be the {planned.n_tx:,} that are planned"
        raise BlockError(f"measured has {measured.n_tx:,} transactions: {rule}")
    above, below = figure_of(figure, 6.0, ax).subplots(2, 1, sharex=planned_unit == measured_unit)
    for ax, line, unit, head in ((above, planned, planned_unit, "planned"), (below, measured, measured_unit, "measured")):
        gantt(line, ax=ax, unit=unit)
        title(ax, f"{head}: {ax.get_title(loc='left')}")
    return above, below


def parallelism_profile(
    timelines: Mapping[str, Timeline], *, ax: Axes | None = None, unit: str = "cost", bound: Bounds | None = None
) -> Axes:
    """Draw how many transactions run at each instant, one line for each timeline.

    Parameters
    ----------
    timelines : mapping of str to Timeline
        By name; at least one.
    ax : matplotlib.axes.Axes, optional
        Default: those of a new figure.
    unit : str
        Of the timelines' numbers, for the axis.
    bound : Bounds, optional
        As ``bounds(access, cost, workers)`` gives it, in the same unit: a broad band shows the same work in the shortest
        time possible in block order, at the average parallelism that this takes.

    Returns
    -------
    matplotlib.axes.Axes
        With one line for each timeline, in the order given, then that of the bound. The area under a line is the work. A
        time axis that shows more already, shared or drawn on before, keeps showing it.

    Raises
    ------
    BlockError
        If an argument is not as described, or there is no timeline.
    PevmError
        If matplotlib is not installed.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> ax = parallelism_profile({"mine": Timeline(2, [0, 1], [0, 0], [3, 2], 3)}, ax=Figure().subplots())
    >>> [line.get_label() for line in ax.lines]
    ['mine: makespan 3, mean 1.67']
    """
    given = named("timelines", timelines, Timeline)
    if bound is not None:
        door.instance("bound", bound, Bounds, ", see bounds(access, cost, workers)")
    spans = [*(line.makespan for _, line in given), bound.makespan if bound else 0.0]
    ax = axes_of(ax)
    shown = shown_before(ax)
    for i, (name, line) in enumerate(given):
        times, running = line.profile()
        times, running = np.append(times, line.makespan), np.append(running, 0)
        if len(running) > 1 and times[0] > 0:  # nothing runs until the first start
            times, running = np.insert(times, 0, 0.0), np.insert(running, 0, 0)
        mean = float((line.end - line.start).sum()) / line.makespan if line.makespan > 0 else 0.0
        label = series(f"{name}: makespan {number(line.makespan)}, mean {mean:.2f}")
        ax.step(times, running, where="post", label=label, **line_style(ax, i))
    if bound is not None:
        end, mean = bound.makespan, bound.max_speedup
        label = f"bound: makespan {number(end)}, mean {mean:.2f}"
        ax.plot([0, end, end], [mean, mean, 0], label=label, color=ink(ax), lw=7, alpha=0.25, zorder=1)
    reach(ax, shown, 0.0, max((span for span in spans if span > 0), default=1.0))
    ax.set_ylim(bottom=0)
    _time_axis(ax, unit)
    ax.set_ylabel("transactions running")
    add_legend(ax)
    return ax


def _time_axis(ax: Axes, unit: str) -> None:
    """Times written out, without a power of ten in a corner."""
    ax.xaxis.set_major_formatter("{x:,.12g}")
    ax.set_xlabel(plain(f"time ({unit})"))
