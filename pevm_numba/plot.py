"""Pictures of schedules: a plan at given costs, so an axis in gas is not an axis in time. Needs the extra "plot"."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import door
from .errors import BlockError, PevmError
from .schedule.plan import Schedule
from .schedule.timeline import Timeline

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .schedule.simulate import Simulation

__all__ = ["COLOURS", "gantt", "parallelism_profile", "speedup_curves", "wave_sizes"]

#: Okabe and Ito's colours, which people with any common colour blindness tell apart; yellow left out, faint on white.
COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
#: Dashes after a first full line, so that a line shows through those that are equal to it and drawn later.
_DASHES: Final = ("-", "--", ":", "-.")
#: Points from the axes down to the legend: room for tick labels and the axis label.
_LEGEND_GAP: Final = 40.0
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
    _timeline("timeline", timeline)
    door.choice("colour_by", colour_by, _COLOUR_BY)
    flags = _flags(critical, timeline.n_tx) if colour_by == "critical" else None
    ax = _axes(ax)
    from matplotlib.collections import PolyCollection

    shown = _shown(ax)

    low, high = timeline.worker + 0.08, timeline.worker + 0.92
    corners = [(timeline.start, low), (timeline.end, low), (timeline.end, high), (timeline.start, high)]
    edge = 0.4 if timeline.n_tx <= 150 * timeline.n_workers else 0.0  # white lines between bars would hide short ones
    verts = np.stack([np.stack(corner, axis=-1) for corner in corners], axis=1)
    bars = PolyCollection(list(verts), edgecolors="white", linewidths=edge)
    ax.add_collection(bars, autolim=False)
    if flags is not None:
        bars.set_facecolor([COLOURS[1] if on else "#9ecae1" for on in flags])
        _critical_legend(ax, flags)
    elif timeline.n_tx:
        bars.set_cmap("cividis")
        bars.set_array(np.arange(timeline.n_tx) if colour_by == "transaction" else timeline.end - timeline.start)
        label = "position in the block" if colour_by == "transaction" else f"cost ({unit})"
        ax.figure.colorbar(bars, cax=ax.inset_axes((1.015, 0.0, 0.015, 1.0)), label=label)
    _worker_axis(ax, timeline.n_workers)
    _reach(ax, shown, 0.0, timeline.makespan if timeline.makespan > 0 else 1.0)
    _time_axis(ax, unit)
    ax.set_title(
        f"makespan {_number(timeline.makespan)} {unit}, {timeline.idle_share:.1%} idle", loc="left", fontsize="medium"
    )
    return ax


def _flags(critical: ArrayLike | None, n_tx: int) -> NDArray[np.bool_]:
    if critical is None:
        raise BlockError("critical = None: must be given with colour_by='critical', one flag for each transaction")
    return door.array("critical", critical, bool, (n_tx,))


def _critical_legend(ax: Axes, flags: NDArray[np.bool_]) -> None:
    from matplotlib.patches import Patch

    on = int(flags.sum())
    labels = f"transactions on a longest path: {on:,}", f"on none: {len(flags) - on:,}"
    _legend(ax, [Patch(color=colour, label=label) for colour, label in zip((COLOURS[1], "#9ecae1"), labels)])


def _worker_axis(ax: Axes, n_workers: int) -> None:
    """Workers from top to bottom; few enough are numbered each."""
    ax.set_ylim(n_workers, 0)
    step = max(1, -(-n_workers // 16))
    shown = np.arange(0, n_workers, step)
    ax.set_yticks(shown + 0.5, [str(w) for w in shown])
    ax.set_ylabel("worker")


def parallelism_profile(timelines: Mapping[str, Timeline], *, ax: Axes | None = None, unit: str = "cost") -> Axes:
    """Draw how many transactions run at each instant, one line for each timeline.

    Parameters
    ----------
    timelines : mapping of str to Timeline
        By name; at least one.
    ax : matplotlib.axes.Axes, optional
        Default: those of a new figure.
    unit : str
        Of the timelines' numbers, for the axis.

    Returns
    -------
    matplotlib.axes.Axes
        With one line for each timeline, in the order given. The area under a line is the work. A time axis that shows
        more already, shared or drawn on before, keeps showing it.

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
    given = _named("timelines", timelines, Timeline)
    ax = _axes(ax)
    shown = _shown(ax)
    for i, (name, line) in enumerate(given):
        times, running = line.profile()
        times, running = np.append(times, line.makespan), np.append(running, 0)
        if len(running) > 1 and times[0] > 0:  # nothing runs until the first start
            times, running = np.insert(times, 0, 0.0), np.insert(running, 0, 0)
        mean = float((line.end - line.start).sum()) / line.makespan if line.makespan > 0 else 0.0
        label = f"{name}: makespan {_number(line.makespan)}, mean {mean:.2f}"
        ax.step(times, running, where="post", label=label, **_style(i))
    _reach(ax, shown, 0.0, max((line.makespan for _, line in given if line.makespan > 0), default=1.0))
    ax.set_ylim(bottom=0)
    _time_axis(ax, unit)
    ax.set_ylabel("transactions running")
    _legend(ax)
    return ax


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
    ax = _axes(ax)
    for i, (model, curve) in enumerate(points.items()):
        workers = sorted(curve)
        ax.plot(workers, [curve[w] for w in workers], label=model, marker=".", **_style(i))
    if limit:
        values = [limit[w] for w in sorted(limit)]
        ax.plot(sorted(limit), values, label="bound: block order, all conflicts", color="#555555", lw=7, alpha=0.3, zorder=1)
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
    ax.grid(axis="y", color="#eeeeee", zorder=0)
    _legend(ax)
    return ax


def _points(simulations: Any) -> dict[str, dict[int, float]]:
    """Speed-ups by model and number of workers, of simulations that can be compared."""
    from .schedule.simulate import Simulation

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


def wave_sizes(schedules: Mapping[str, Schedule], *, ax: Axes | None = None) -> Axes:
    """Draw how many transactions each wave holds, one line for each schedule.

    Parameters
    ----------
    schedules : mapping of str to Schedule
        By name; at least one.
    ax : matplotlib.axes.Axes, optional
        Default: those of a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        With one `StepPatch` for each schedule, in the order given; both axes logarithmic, since waves are often few
        and large at first, then many and small. Axes that show more already keep showing it.

    Raises
    ------
    BlockError
        If an argument is not as described, or there is no schedule.
    PevmError
        If matplotlib is not installed.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> ax = wave_sizes({"mine": Schedule.from_waves("mine", [[0, 2], [1]])}, ax=Figure().subplots())
    >>> ax.patches[0].get_data().values.tolist()
    [2, 1]
    """
    given = _named("schedules", schedules, Schedule)
    ax = _axes(ax)
    shown = _shown(ax)
    for i, (name, plan) in enumerate(given):
        sizes = np.diff(plan.wave_indptr)
        style = _style(i)
        ax.stairs(
            sizes, np.arange(1, plan.n_waves + 2), baseline=None, label=f"{name}: {plan.n_waves:,} waves",
            color=style["color"], ls=style["ls"], lw=style["lw"],
        )  # fmt: skip
    most = max([1, *(plan.n_waves for _, plan in given)])
    widest = max([1, *(int(np.diff(plan.wave_indptr).max(initial=1)) for _, plan in given)])
    _log_axis(ax, "x", most + 1)
    _log_axis(ax, "y", widest)
    _reach(ax, shown, 1.0, most + 1.0)
    ax.set_ylim(0.8, 1.25 * widest)
    ax.set_xlabel("wave, the first is 1")
    ax.set_ylabel("transactions in the wave")
    _legend(ax)
    return ax


def _shown(ax: Axes) -> tuple[float, float] | None:
    """What the x axis shows of others, which a new picture must not hide: its limits, or None if nothing was drawn yet."""
    sharing = ax.get_shared_x_axes().get_siblings(ax)
    return ax.get_xlim() if not ax.get_autoscalex_on() or any(one.has_data() for one in sharing) else None


def _reach(ax: Axes, shown: tuple[float, float] | None, low: float, high: float) -> None:
    """Show [low, high] of x, and what was shown before."""
    if shown is not None:
        low, high = min(low, *shown), max(high, *shown)
    ax.set_xlim(low, high)


def _time_axis(ax: Axes, unit: str) -> None:
    """Times written out, without a power of ten in a corner."""
    ax.xaxis.set_major_formatter("{x:,.12g}")
    ax.set_xlabel(f"time ({unit})")


def _log_axis(ax: Axes, name: str, most: int) -> None:
    """A logarithmic axis of counts, numbered 1, 2, 5, 10, ... in plain figures."""
    counts = [c * 10**e for e in range(10) for c in (1, 2, 5) if c * 10**e <= most]
    if name == "x":
        ax.set_xscale("log")
        ax.set_xticks(counts, [f"{c:,}" for c in counts])
    else:
        ax.set_yscale("log")
        ax.set_yticks(counts, [f"{c:,}" for c in counts])
    ax.minorticks_off()


def _axes(ax: Any) -> Axes:
    """The caller's axes, or those of a new figure."""
    try:
        from matplotlib.axes import Axes
    except ImportError:
        raise PevmError('plots need matplotlib: pip install "pevm-numba[plot]"') from None
    if ax is not None:
        door.instance("ax", ax, Axes)
        return ax
    import matplotlib.pyplot as plt

    return plt.subplots(figsize=(9, 3.6), layout="constrained")[1]


def _timeline(name: str, value: Any) -> None:
    """A BlockError unless `value` is a Timeline; for a schedule it says where to find it."""
    hint = ""
    if isinstance(value, Schedule):
        hint = ": give schedule.timeline" if value.timeline else "; this schedule has none: make it for a number of workers"
    door.instance(name, value, Timeline, hint)


def _named(name: str, value: Any, wanted: type) -> list[tuple[str, Any]]:
    """The items of a mapping of names to `wanted`."""
    if not isinstance(value, Mapping):
        raise BlockError(f"{name} = {door.shown(value)}: must be a mapping of names to {wanted.__name__}")
    if not value:
        raise BlockError(f"{name}: empty: must hold at least one {wanted.__name__}")
    for key, item in value.items():
        door.text(f"{name}: key", key)
        _timeline(f"{name}[{key!r}]", item) if wanted is Timeline else door.instance(f"{name}[{key!r}]", item, wanted)
    return list(value.items())


def _style(i: int) -> dict[str, Any]:
    """Look of the i-th line: later ones are thinner and, but for the first, dashed, to show those that they cover."""
    return {"color": COLOURS[i % len(COLOURS)], "ls": _DASHES[i % len(_DASHES)], "lw": max(1.2, 3.2 - 0.4 * i)}


def _legend(ax: Axes, handles: Sequence[Any] | None = None) -> None:
    """Below the axes, where it covers nothing and takes no width from the time axis."""
    from matplotlib.transforms import ScaledTranslation

    texts = [h.get_label() for h in handles] if handles else ax.get_legend_handles_labels()[1]
    if not texts:
        return
    points = 72 * ax.bbox.width / ax.figure.dpi
    columns = max(1, min(len(texts), 4, int(points // (5.0 * max(map(len, texts)) + 45))))
    down = ScaledTranslation(0, -_LEGEND_GAP / 72, ax.figure.dpi_scale_trans)
    more: dict[str, Any] = {} if handles is None else {"handles": handles}
    ax.legend(
        loc="upper left", bbox_to_anchor=(0.0, 0.0), bbox_transform=ax.transAxes + down, borderaxespad=0.0, ncols=columns,
        frameon=False, fontsize="small", handlelength=3.0, **more,
    )  # fmt: skip


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 or value == int(value) else f"{value:,.4g}"
