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

__all__ = ["gantt", "parallelism_profile", "speedup_curves", "wave_sizes"]

#: Okabe and Ito's colours, which people with any common colour blindness tell apart; yellow left out, faint on white.
_COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
_DASHES: Final = ("-", "--", ":")
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
        With one `PolyCollection`, whose polygon i is transaction i.

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
    door.instance("timeline", timeline, Timeline)
    door.choice("colour_by", colour_by, _COLOUR_BY)
    flags = _flags(critical, timeline.n_tx) if colour_by == "critical" else None
    ax = _axes(ax)
    from matplotlib.collections import PolyCollection

    low, high = timeline.worker + 0.08, timeline.worker + 0.92
    corners = [(timeline.start, low), (timeline.end, low), (timeline.end, high), (timeline.start, high)]
    edge = 0.4 if timeline.n_tx <= 150 * timeline.n_workers else 0.0  # white lines between bars would hide short ones
    verts = np.stack([np.stack(corner, axis=-1) for corner in corners], axis=1)
    bars = PolyCollection(list(verts), edgecolors="white", linewidths=edge)
    ax.add_collection(bars, autolim=False)
    if flags is not None:
        bars.set_facecolor([_COLOURS[1] if on else "#9ecae1" for on in flags])
        _critical_legend(ax, flags)
    elif timeline.n_tx:
        bars.set_cmap("cividis")
        bars.set_array(np.arange(timeline.n_tx) if colour_by == "transaction" else timeline.end - timeline.start)
        label = "position in the block" if colour_by == "transaction" else f"cost ({unit})"
        ax.figure.colorbar(bars, cax=ax.inset_axes((1.015, 0.0, 0.015, 1.0)), label=label)
    _worker_axis(ax, timeline.n_workers)
    ax.set_xlim(0, timeline.makespan if timeline.makespan > 0 else 1.0)
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
    handles = [
        Patch(color=_COLOURS[1], label=f"on a longest path ({on:,})"),
        Patch(color="#9ecae1", label=f"not ({len(flags) - on:,})"),
    ]
    _legend(ax, handles)


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
        By name.
    ax : matplotlib.axes.Axes, optional
        Default: those of a new figure.
    unit : str
        Of the timelines' numbers, for the axis.

    Returns
    -------
    matplotlib.axes.Axes
        With one line for each timeline, in the order given. The area under a line is the work.

    Raises
    ------
    BlockError
        If an argument is not as described.
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
    for i, (name, line) in enumerate(given):
        times, running = line.profile()
        times, running = np.append(times, line.makespan), np.append(running, 0)
        if len(running) > 1 and times[0] > 0:  # nothing runs until the first start
            times, running = np.insert(times, 0, 0.0), np.insert(running, 0, 0)
        mean = float((line.end - line.start).sum()) / line.makespan if line.makespan > 0 else 0.0
        label = f"{name}: makespan {_number(line.makespan)}, mean {mean:.2f}"
        ax.step(times, running, where="post", label=label, **_style(i))
    ax.set_xlim(0, max((line.makespan for _, line in given if line.makespan > 0), default=1.0))
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
        Of one block at one cost, in any order; several for each model.
    ax : matplotlib.axes.Axes, optional
        Default: those of a new figure.
    bound : mapping of int to float, optional
        The most that any schedule in block order can gain on so many workers.

    Returns
    -------
    matplotlib.axes.Axes
        With one line for each model, in the order of first appearance; then the bound; then one worker's time over
        the number of workers ("linear").

    Raises
    ------
    BlockError
        If an argument is not as described.
    PevmError
        If matplotlib is not installed.

    Notes
    -----
    Speed-up is total cost over makespan, both at the costs of the simulation: an estimate, not a measurement.
    """
    from .schedule.simulate import Simulation

    points: dict[str, dict[int, float]] = {}
    for i, made in enumerate(door.items("simulations", simulations, "simulations")):
        door.instance(f"simulations[{i}]", made, Simulation)
        points.setdefault(made.model, {})[made.workers] = made.speedup
    ax = _axes(ax)
    for i, (model, curve) in enumerate(points.items()):
        workers = sorted(curve)
        ax.plot(workers, [curve[w] for w in workers], label=model, marker=".", **_style(i))
    if bound is not None:
        ax.plot(sorted(bound), [bound[w] for w in sorted(bound)], label="bound", color="#555555", lw=5, alpha=0.4)
    reach = sorted({w for curve in points.values() for w in curve} | set(bound or ())) or [1]
    straight = np.geomspace(reach[0], reach[-1], 100)
    ax.plot(straight, straight, label="linear", color="#aaaaaa", ls=(0, (1, 2)), lw=1)
    ax.set_xscale("log", base=2)
    ax.set_xticks(reach, [f"{w:,}" for w in reach])
    ax.minorticks_off()
    top = max([1.0, *(v for curve in points.values() for v in curve.values()), *(bound or {}).values()])
    ax.set_ylim(0, 1.1 * top)  # "linear" leaves the picture rather than pressing the others together
    ax.set_xlabel("workers")
    ax.set_ylabel("speed-up over one worker")
    _legend(ax)
    return ax


def wave_sizes(schedules: Mapping[str, Schedule], *, ax: Axes | None = None) -> Axes:
    """Draw how many transactions each wave holds, one line for each schedule.

    Parameters
    ----------
    schedules : mapping of str to Schedule
        By name.
    ax : matplotlib.axes.Axes, optional
        Default: those of a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        With one `StepPatch` for each schedule, in the order given; both axes logarithmic, since waves are often few
        and large at first, then many and small.

    Raises
    ------
    BlockError
        If an argument is not as described.
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
    ax.set_xlim(1, most + 1)
    ax.set_ylim(0.8, 1.25 * widest)
    ax.set_xlabel("wave, the first is 1")
    ax.set_ylabel("transactions in the wave")
    _legend(ax)
    return ax


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


def _named(name: str, value: Any, wanted: type) -> list[tuple[str, Any]]:
    """The items of a mapping of names to `wanted`."""
    if not isinstance(value, Mapping):
        raise BlockError(f"{name} = {value!r:.200}: must be a mapping of names to {wanted.__name__}")
    for key, item in value.items():
        door.text(f"{name}: key", key)
        door.instance(f"{name}[{key!r}]", item, wanted)
    return list(value.items())


def _style(i: int) -> dict[str, Any]:
    """Look of the i-th line: two differ in colour or dashes, and later ones are thinner, to show those that they cover."""
    width = max(1.0, 2.5 - 0.3 * i)
    return {"color": _COLOURS[i % len(_COLOURS)], "ls": _DASHES[i // len(_COLOURS) % len(_DASHES)], "lw": width}


def _legend(ax: Axes, handles: Sequence[Any] | None = None) -> None:
    """Beside the axes, where it covers nothing."""
    more: dict[str, Any] = {} if handles is None else {"handles": handles}
    if handles or ax.get_legend_handles_labels()[0]:
        ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0, frameon=False, fontsize="small", **more)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 or value == int(value) else f"{value:,.4g}"
