"""How long each transaction took: means hide the few that everybody waits for, so all of them are drawn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import door
from ..errors import BlockError
from ..execute.result import TxTimes
from .style import MARKERS, add_legend, axes_of, grid, ink, line_style, number, series

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["latency_distribution"]

_KINDS: Final = ("ecdf", "histogram")
_PERCENTS: Final = (50, 95, 99)
_BINS: Final = 60


def latency_distribution(times: Mapping[str, TxTimes | ArrayLike], *, ax: Axes | None = None, kind: str = "ecdf") -> Axes:
    """Draw how long transactions took, on a logarithmic axis, with marks at p50, p95 and p99.

    Parameters
    ----------
    times : mapping of str to TxTimes, or to (n,) integers or floats
        By name: ``execution.times``, or nanoseconds, finite and not negative. At least one, each of at least one time.
    ax : matplotlib.axes.Axes, optional
        Default: those of a new figure.
    kind : str
        ``"ecdf"``: the share of transactions that took at most so long. ``"histogram"``: how many took how long, in 60 bins
        that all names share.

    Returns
    -------
    matplotlib.axes.Axes
        For each name a line and one of three marks, in the order given; the percentiles stand in the legend.

    Raises
    ------
    BlockError
        If an argument is not as described.
    PevmError
        If matplotlib is not installed.

    Notes
    -----
    What took less than 1 ns is drawn at 1 ns: a logarithm needs that, and clocks tell no less. Percentiles are those of
    `TxTimes.latency`.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> ax = latency_distribution({"serial": [100, 200, 400]}, ax=Figure().subplots())
    >>> ax.lines[0].get_label()
    'serial: p50 200, p95 380, p99 396 ns'
    """
    door.choice("kind", kind, _KINDS)
    given = _checked(times)
    ax = axes_of(ax)
    drawn = {name: np.sort(np.maximum(one, 1.0)) for name, one in given.items()}
    low, high = min(one[0] for one in drawn.values()), max(one[-1] for one in drawn.values())
    bins = np.geomspace(low, max(high, low * 1.1) * 1.0001, _BINS + 1)
    for i, (name, one) in enumerate(drawn.items()):
        marks = np.percentile(given[name], _PERCENTS)
        figures = ", ".join(f"p{percent} {number(float(mark))}" for percent, mark in zip(_PERCENTS, marks))
        x, y = _curve(one, bins, kind)
        style = line_style(ax, i)
        ax.step(x, y, where="post", label=series(f"{name}: {figures} ns"), **style)
        height = y[np.maximum(np.searchsorted(x, np.maximum(marks, 1.0), side="right") - 1, 0)]
        looks: dict[str, Any] = {"mec": ink(ax), "mew": 1.0, "ms": 8, "zorder": 4, "ls": "none"}
        ax.plot(np.maximum(marks, 1.0), height, marker=MARKERS[i % len(MARKERS)], color=style["color"], **looks)
    ax.set_xscale("log")
    ax.xaxis.set_major_formatter("{x:,.12g}")
    ax.xaxis.set_minor_formatter("")
    ax.set_xlim(low / 1.1, high * 1.1)
    ax.set_ylim(bottom=0)
    ax.set_xlabel("time of a transaction (ns); marks at p50, p95, p99")
    ax.set_ylabel("share that took at most so long" if kind == "ecdf" else "transactions")
    grid(ax)
    add_legend(ax, most=2)
    return ax


def _curve(ordered: NDArray[np.float64], bins: NDArray[np.float64], kind: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """Steps of the share, or of the counts, which go on to the right of each place."""
    if kind == "ecdf":
        x, last = np.unique(ordered, return_index=True)
        share = np.append(last[1:], len(ordered)) / len(ordered)
        return np.insert(x, 0, x[0]), np.insert(share, 0, 0.0)
    counts = np.histogram(ordered, bins)[0]
    return np.insert(bins, 0, bins[0]), np.concatenate([[0], counts, [0]])


def _checked(times: Any) -> dict[str, NDArray[np.float64]]:
    """Nanoseconds by name."""
    if not isinstance(times, Mapping) or not times:
        raise BlockError(f"times = {door.shown(times)}: must be a mapping of names to TxTimes or nanoseconds, not empty")
    found = {}
    for name, one in times.items():
        label = f"times[{door.text('times: key', name)!r}]"
        if isinstance(one, TxTimes):
            one = one.end - one.start
        try:
            values = np.asarray(one)
        except ValueError as error:
            raise BlockError(f"{label}: not an array of numbers: {error}") from None
        if values.ndim != 1 or values.dtype.kind not in "iuf" or not len(values):
            rule = "must be (n,) integers or floats, nanoseconds, at least one"
            raise BlockError(f"{label} has shape {values.shape}, dtype {values.dtype}: {rule}")
        bad = np.flatnonzero(~(np.isfinite(values) & (values >= 0)))
        if len(bad):
            raise BlockError(f"{label}[{bad[0]}] = {values[bad[0]]}: must be finite and not negative")
        found[name] = values.astype(np.float64)
    return found
