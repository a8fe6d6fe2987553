"""Figures of a page as inline SVG: texts stay text, colours are those of the page, and the same rows give the same bytes."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from ..html import escaped, readable
from ..plot import COLOURS, gantt
from ..plot.style import plain, series
from ..schedule.timeline import Timeline
from .html_specs import MAIN, Chart, definitions_of, meaning_of, spec_of
from .html_table import shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Picture", "Timed", "pictures_of", "running_in"]

#: Inches: at 72 units an inch as wide as a small screen, so that texts are not shrunk there.
_WIDTH: Final = 5.0
#: Inches of a line of a chart, and what is around the lines.
_LINE, _AROUND = 0.19, 1.1
#: Inches of the tallest chart.
_TALLEST: Final = 40.0
#: More lines than this carry no names.
_MOST_NAMED: Final = 100
#: From more lines than this on the axis is at the top, too.
_MOST_SEEN: Final = 20
#: Times the median from which on a value makes the axis logarithmic.
_FAR: Final = 10.0
#: Slices of the time of a run whose parallelism is drawn.
_SLICES: Final = 100
#: What texts and frames are drawn with; becomes the page's colour of ink. No other colour of a figure is this one.
_INK: Final = "#010203"
_MARKERS: Final = "osD^vPX"
#: What a caption calls fields whose names are not what a line is of.
_LINES: Final = {"block_number": "block", "workers": "number of workers"}
#: The font that matplotlib brings and lays texts out by; wider than most, so that others fit where it does.
_MEASURED_BY: Final = "DejaVu Sans"


@dataclass(frozen=True)
class Picture:
    """One figure: its title, its SVG, and a sentence below."""

    title: str
    svg: str
    caption: str


@dataclass(frozen=True, eq=False)
class Timed:
    """When each transaction of one block ran, in a run that was compared with serial execution.

    Parameters
    ----------
    scenario, executor : str
    timeline : Timeline
        In nanoseconds.
    """

    scenario: str
    executor: str
    timeline: Timeline


@dataclass(frozen=True)
class _Point:
    label: str
    series: str
    value: float
    bound: float | None


def pictures_of(tables: Mapping[str, Sequence[Mapping[str, Any]]], timed: Timed | None = None) -> list[Picture]:
    """The figures of a page, in the order of its tables.

    Parameters
    ----------
    tables : mapping of str to sequence of mapping
        Rows by table, as `html_specs.spec_of` names it.
    timed : Timed, optional
        For the chart of who ran what when.

    Raises
    ------
    PevmError
        If matplotlib is not installed.
    """
    found = list[Picture]()
    for table, rows in tables.items():
        chart = spec_of(table).chart
        points = [] if chart is None else _points(chart, rows)
        if chart is not None and points and (chart.most is None or len({point.label for point in points}) <= chart.most):
            found.append(_chart(chart, points, f"f{len(found)}", _bound(table)))
        if table == MAIN:
            found += _times(rows, f"f{len(found)}")
    if timed is not None:
        found += _timed(timed, len(found))
    return found


def _bound(table: str) -> str:
    """What the field `bound` of a table means; empty if it has none."""
    return meaning_of(table, "bound") if "bound" in definitions_of(table) else ""


def _points(chart: Chart, rows: Sequence[Mapping[str, Any]]) -> list[_Point]:
    """The values of a chart; serial execution over itself, and rows without a value, are none."""
    found = list[_Point]()
    for row in rows:
        words = [_label(name, row[name]) for name in chart.labels]
        if not all(words):
            continue  # an empty name says that there is nothing to compare with
        label = ", ".join(words)
        inner = row.get(chart.series)
        for name, one in inner.items() if isinstance(inner, Mapping) else [(shown(chart.series, inner), row)]:
            value = one.get(chart.value)
            if value is None or name in ("serial", "-") or (chart.log and value <= 0):
                continue
            bound = row.get(chart.bound)
            if one.get(chart.share):
                bound = value / one[chart.share]
            found.append(_Point(label, name, value, bound))
    return found


def _label(name: str, value: Any) -> str:
    """A value as part of a line's name, with what it counts where the bare number would not say."""
    text = f"{value:g}" if isinstance(value, float) else shown(name, value)
    if name == "seen":
        return "seen before" if value else "any"
    units = {"work_us": "us", "miss_rate": "missed", "keys": "keys", "delay_us": "us a read"}
    units["workers"] = "worker" if value == 1 else "workers"
    return f"{text} {units[name]}" if name in units else text


def _chart(chart: Chart, points: Sequence[_Point], key: str, bound: str) -> Picture:
    """Dots by label and series; ids of the SVG begin with `key`, and the caption says what a bound is."""
    labels, names = (list(dict.fromkeys(getattr(point, field) for point in points)) for field in ("label", "series"))
    height = _AROUND + _LINE * max(4, len(labels) * (1 + 0.25 * (len(names) - 1)))
    with _axes(min(height, _TALLEST)) as ax:
        for place, name in enumerate(names):
            shift = (place - (len(names) - 1) / 2) * 0.7 / len(names)
            mine = [point for point in points if point.series == name]
            lines = [labels.index(point.label) + shift for point in mine]
            limits = [(point.bound, line) for point, line in zip(mine, lines) if point.bound is not None]
            if limits:
                label = "bound" if place == 0 else None
                ax.plot(*zip(*limits), ls="", marker="|", ms=7, mew=2, color=_INK, alpha=0.45, label=label)
            colour = COLOURS[place % len(COLOURS)]
            ax.plot([point.value for point in mine], lines, ls="", marker=_MARKERS[place % len(_MARKERS)], ms=4.5,
                    color=colour, label=series(_short(name)), clip_on=False, zorder=3)  # fmt: skip
        if chart.one:
            ax.axvline(1, color=_INK, lw=0.8, ls=(0, (4, 3)), label=f"1: {chart.one}")
        named = len(labels) <= _MOST_NAMED
        ax.set_yticks(range(len(labels)) if named else [], [plain(_short(label)) for label in labels] if named else [])
        ax.set_ylim(len(labels) - 0.5, -0.5)
        ax.grid(axis="y", lw=0.4, color=_INK, alpha=0.15)
        if chart.log or _far_apart([point.value for point in points]):
            ax.set_xscale("log")
        else:
            ax.set_xlim(left=0)
        ax.set_xlabel(chart.axis)
        ax.tick_params(axis="x", labeltop=len(labels) > _MOST_SEEN, top=len(labels) > _MOST_SEEN)
        ax.figure.legend(loc="outside upper center", ncols=3, frameon=False, fontsize="small", handletextpad=0.3)
        what = f"{chart.title}: {len(points):,} {'value' if len(points) == 1 else 'values'}"
        svg = _svg(ax, key, what)
    named_by = [_LINES.get(name, name.removesuffix("_us").replace("_", " ")) for name in chart.labels]
    caption = f"One line for each {_and(named_by)}."
    if any(point.bound is not None for point in points):
        caption += f" The bars are bounds: {bound}."
    return Picture(chart.title, svg, caption)


def _far_apart(values: Sequence[float]) -> bool:
    """Whether one value, such as that of a disturbed run, would press all others together on an axis that begins at 0."""
    return min(values) > 0 and max(values) > _FAR * float(np.median(values))


def _and(words: Sequence[str]) -> str:
    return " and ".join(part for part in (", ".join(words[:-1]), words[-1]) if part)


def _short(text: str) -> str:
    """A name that can be drawn, and leaves room for the picture."""
    name = readable(text)
    return name if len(name) <= 48 else f"{name[:47]}…"


def _times(rows: Sequence[Mapping[str, Any]], key: str) -> list[Picture]:
    """Serial against parallel time, one dot for each block and executor."""
    rows = [row for row in rows if row["executor"] != "serial" and row["n_tx"]]
    if not rows:
        return []
    both = [row[name] for row in rows for name in ("serial_time_ms", "parallel_time_ms")]
    reach = min(both) / 1.5, max(both) * 1.5
    with _axes(4.2) as ax:
        for place, name in enumerate(dict.fromkeys(row["executor"] for row in rows)):
            mine = [row for row in rows if row["executor"] == name]
            ax.plot([row["serial_time_ms"] for row in mine], [row["parallel_time_ms"] for row in mine], ls="",
                    label=series(_short(name)), marker=_MARKERS[place % len(_MARKERS)],
                    color=COLOURS[place % len(COLOURS)], ms=5, zorder=3)  # fmt: skip
        ax.plot(reach, reach, color=_INK, lw=0.8, ls=(0, (4, 3)), label="as fast as serial: above is slower")
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.set_xlim(reach)
        ax.set_ylim(reach)
        ax.set_xlabel("serial execution (ms)")
        ax.set_ylabel("parallel, end to end (ms)")
        ax.grid(lw=0.4, color=_INK, alpha=0.15)
        ax.figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize="small")
        slower = sum(row["parallel_time_ms"] > row["serial_time_ms"] for row in rows)
        svg = _svg(ax, key, f"Parallel against serial time of {len(rows):,} results, {slower:,} of them slower")
    text = f"Access estimation, scheduling and execution together: {slower:,} of {len(rows):,} are slower than serial."
    return [Picture("Serial and parallel time", svg, text)]


def _timed(timed: Timed, number: int) -> list[Picture]:
    """Who ran what from when to when, and how many at each instant."""
    from matplotlib.colors import LinearSegmentedColormap

    line, who = timed.timeline, f"{timed.scenario} by {timed.executor}"
    with _axes(2.4 + 0.15 * min(16, line.n_workers)) as ax:
        gantt(line, ax=ax, unit="ns")
        ax.collections[0].set_cmap(LinearSegmentedColormap.from_list("on light and dark", [COLOURS[0], COLOURS[5]]))
        _time_axis(ax)
        bars = _svg(ax, f"f{number}", f"Gantt chart of {line.n_tx:,} transactions on {line.n_workers} workers")
    with _axes(2.8) as ax:
        running, edges = running_in(line, _SLICES)
        ax.stairs(running, edges, fill=True, color=COLOURS[0], alpha=0.85)
        ax.axhline(running.mean(), color=_INK, lw=0.8, ls=(0, (4, 3)))
        ax.set_title(f"mean {running.mean():.2f} of {line.n_workers}", loc="left", fontsize="medium")
        ax.set_xlim(0, edges[-1])
        ax.set_ylim(0, max(line.n_workers, 1) * 1.05)
        ax.locator_params(axis="y", integer=True)
        ax.set_ylabel("transactions running")
        _time_axis(ax)
        profile = _svg(ax, f"f{number + 1}", f"Transactions running over time on {line.n_workers} workers")
    run = "One run that took times, compared with serial execution; reading the clock is part of it."
    return [
        Picture(f"When each transaction ran: {who}", bars, run),
        Picture(f"How many ran at once: {who}", profile, f"The same run; means over {_SLICES} slices of its time."),
    ]


def _time_axis(ax: Axes) -> None:
    """Nanoseconds written out, so few of them that they have room."""
    ax.locator_params(axis="x", nbins=5)
    ax.xaxis.set_major_formatter("{x:,.12g}")
    ax.set_xlabel("time (ns)")


def running_in(line: Timeline, n_slices: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean number of transactions that run in each of `n_slices` equal slices of the makespan, and the slices' edges.

    Parameters
    ----------
    line : Timeline
        With a makespan above 0.
    n_slices : int
        At least 1.

    Returns
    -------
    running : (n_slices,) float64
    edges : (n_slices + 1,) float64
        In the unit of the timeline.

    Examples
    --------
    >>> running_in(Timeline(2, [0, 1], [0, 0], [4, 1], 4), 2)[0]
    array([1.5, 1. ])
    """
    edges = np.linspace(0.0, line.makespan, n_slices + 1)
    starts, ends = np.sort(line.start), np.sort(line.end)
    # What has been done by a moment: all that it is past each start, less all that it is past each end.
    done = [_past(starts, moment) - _past(ends, moment) for moment in edges]
    return np.diff(done) / np.diff(edges), edges


def _past(times: NDArray[np.float64], moment: float) -> float:
    """Sum of how far a moment is past each of these times."""
    before = times[: np.searchsorted(times, moment)]
    return float((moment - before).sum())


@contextmanager
def _axes(height: float) -> Iterator[Axes]:
    """Axes in the page's ink on nothing, without a state that other figures would see."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    ink = dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), _INK)
    style: dict[str, Any] = ink | {
        "svg.fonttype": "none", "font.size": 9.0, "font.family": "sans-serif", "font.sans-serif": [_MEASURED_BY],
        "axes.spines.top": False, "axes.spines.right": False,
        "axes.linewidth": 0.8, "axes.facecolor": "none", "figure.facecolor": "none", "path.simplify": False,
    }  # fmt: skip
    with mpl.rc_context():
        mpl.rcdefaults()
        for name, value in style.items():
            mpl.rcParams[name] = value  # type: ignore[index]  # names of settings, as text
        yield Figure(figsize=(_WIDTH, height), layout="constrained").subplots()


def _svg(ax: Axes, key: str, label: str) -> str:
    """The figure of `ax` as an element to put into a page: no fonts, ids or rules of its own, and nothing to fetch."""
    import matplotlib as mpl

    figure: Any = ax.figure
    made = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": key}):
        figure.savefig(made, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    text = made.getvalue()
    head, body = re.match(r".*?<svg\b([^>]*)>(.*)$", text, re.DOTALL).groups()  # type: ignore[union-attr]  # matplotlib writes one svg element
    box = re.search(r'viewBox="[^"]*"', head)
    assert box is not None
    body = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>|<metadata>.*?</metadata>|<!--.*?-->", "", body, flags=re.DOTALL)
    body = re.sub(r'\bid="|xlink:href="#|url\(#', lambda found: _own(found[0], key), body)
    body = body.replace('xlink:href="', 'href="').replace(f"'{_MEASURED_BY}'", "system-ui")
    for colour, name in [(_INK, "--ink"), ("#ffffff", "--page"), *((c.lower(), f"--c{i}") for i, c in enumerate(COLOURS))]:
        body = re.sub(f"(fill|stroke): {colour}\\b", rf"\1: var({name})", body)
    return f'<svg {box[0]} role="img" aria-label="{escaped(label)}">{body.strip()}'


def _own(text: str, key: str) -> str:
    """An id, or a reference to one, with the figure's key: ids of matplotlib are the same in each figure."""
    return text.removeprefix("xlink:") + f"{key}-"
