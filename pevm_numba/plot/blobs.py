"""Prices of blobs, how long they wait, and what blocks earn with them: simulated or built, and drawn as they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from .. import door
from ..blobs.simulation import BlobSimulation
from ..errors import BlockError
from ..schedule.building import BuiltBlock
from .style import MARKERS, add_legend, axes_of, figure_of, grid, ink, line_style, named, title, whole_numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["blob_choices", "blob_delays", "blob_market"]

#: A float holds no more than 1.8e308; no axis needs as much.
_MOST_DRAWN: Final = 10**300
_PANELS: Final = ("price of a unit of blob gas (wei)", "blobs in a block", "blobs left waiting")


def blob_market(
    simulations: Mapping[str, BlobSimulation], *, ax: Axes | None = None, figure: Figure | None = None, mean_over: int = 1
) -> tuple[Axes, Axes, Axes]:
    """Draw the price of blob gas, the blobs included and those left waiting, block after block.

    Parameters
    ----------
    simulations : mapping of str to BlobSimulation
        By name, at least one.
    ax : matplotlib.axes.Axes, optional
        Of a grid; the panels take its place.
    figure : matplotlib.figure.Figure, optional
        Default: a new one.
    mean_over : int
        Blobs in a block are means over so many blocks, at least 1; prices and the waiting never are.

    Returns
    -------
    three matplotlib.axes.Axes
        Below each other, with one line for each name, in the order given; the first is logarithmic. In the second there is
        a line at each target, too.

    Raises
    ------
    BlockError
        If an argument is not as described, or a simulation has no block.
    PevmError
        If matplotlib is not installed.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from pevm_numba import simulate_blobs
    >>> axes = blob_market({"full": simulate_blobs([30.0] * 20)}, figure=Figure())
    >>> [len(ax.lines) for ax in axes]
    [1, 2, 1]
    """
    given = named("simulations", simulations, BlobSimulation)
    mean_over = door.integer("mean_over", mean_over, 1, 10**6)
    for name, made in given:
        if not made.n_blocks:
            raise BlockError(f"simulations[{name!r}] has no block: must have one at least")
    whole = figure_of(figure, 6.4, ax)
    price, blobs, waiting = axes = whole.subplots(3, 1, sharex=True, height_ratios=(2.2, 1.6, 1.3))
    for i, (name, made) in enumerate(given):
        style, place = {**line_style(price, i), "lw": 1.5}, np.arange(made.n_blocks)
        levels = [float(min(one, _MOST_DRAWN)) for one in made.price]
        label = f"{name}: {_wei(min(made.price))} to {_wei(max(made.price))} wei"
        price.step(place, levels, where="post", label=label, **style)
        blobs.plot(*_means(made.blobs, mean_over), **style)
        blobs.axhline(made.parameters.target, color=style["color"], lw=6, alpha=0.3, zorder=1)
        waiting.step(place, made.waiting, where="post", **style)
    price.set_yscale("log")
    for ax, text in zip(axes, _PANELS):
        title(ax, text)
        grid(ax)
        if ax is not price:
            ax.set_ylim(bottom=0)
    over = "" if mean_over == 1 else f", means over {mean_over:,} blocks"
    title(blobs, f"{_PANELS[1]}{over}; broad: the target")
    for axis in (blobs.yaxis, waiting.yaxis, waiting.xaxis):
        whole_numbers(axis)
    waiting.set_xlim(0, max(made.n_blocks for _, made in given))
    waiting.set_xlabel("block")
    add_legend(waiting, price.get_legend_handles_labels()[0], most=2)
    return price, blobs, waiting


def _wei(price: int) -> str:
    """Exact as far as people read it."""
    return f"{price:,}" if price < 10**15 else f"{float(min(price, _MOST_DRAWN)):.3g}"


def _means(blobs: NDArray[np.int64], over: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Middles of runs of blocks, the last of which may be shorter, and the mean of each."""
    first = np.arange(0, len(blobs), over)
    size = np.diff(np.append(first, len(blobs)))
    return first + (size - 1) / 2, np.add.reduceat(blobs, first) / size


def blob_delays(simulations: Mapping[str, BlobSimulation], *, ax: Axes | None = None) -> Axes:
    """Draw which share of all blob transactions was included after how many blocks, of all that arrived.

    Parameters
    ----------
    simulations : mapping of str to BlobSimulation
        By name, at least one.
    ax : matplotlib.axes.Axes, optional
        Default: those of a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        With one line for each name, in the order given. What never was included is missing at the right end: withdrawn, or
        still waiting at the end of the simulation.

    Raises
    ------
    BlockError
        If an argument is not as described, or no transaction arrived in a simulation.
    PevmError
        If matplotlib is not installed.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from pevm_numba import simulate_blobs
    >>> ax = blob_delays({"quiet": simulate_blobs([3.0] * 50)}, ax=Figure().subplots())
    >>> ax.lines[0].get_label()
    'quiet: at once 100.0 %, never 0.0 %'
    """
    given = named("simulations", simulations, BlobSimulation)
    for name, made in given:
        if not len(made.tx_arrival):
            raise BlockError(f"simulations[{name!r}]: no transaction arrived: there are no delays")
    ax = axes_of(ax)
    most = max(int(made.delay.max(initial=0)) for _, made in given)
    for i, (name, made) in enumerate(given):
        n_tx = len(made.tx_arrival)
        share = np.cumsum(np.bincount(made.delay, minlength=most + 1)) / n_tx
        label = f"{name}: at once {share[0]:.1%}, never {1 - share[-1]:.1%}".replace("%", " %")
        ax.step(np.arange(most + 1), share, where="post", label=label, **line_style(ax, i))
    ax.set_xscale("symlog", linthresh=1, linscale=0.3)
    ticks = [0, *(step * 10**e for e in range(7) for step in (1, 2, 5) if step * 10**e <= most)]
    ax.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    ax.minorticks_off()
    ax.set_xlim(0, max(1, most))
    ax.set_ylim(0, 1.03)
    ax.set_xlabel("blocks waited")
    ax.set_ylabel("share of all that arrived")
    grid(ax)
    add_legend(ax, most=2)
    return ax


def blob_choices(built: Mapping[str, Mapping[int, BuiltBlock]], *, ax: Axes | None = None) -> Axes:
    """Draw what blocks earn against the blob limit, one line for each way of choosing, beside the bound.

    Parameters
    ----------
    built : mapping of str to (mapping of int to BuiltBlock)
        By name, and by blob limit: blocks built of one pool that differ in nothing else.
    ax : matplotlib.axes.Axes, optional
        Default: those of a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        With one line for each name, in the order given, then the bound, the least that any of them knows. The legend has
        the least share of it that each reaches.

    Raises
    ------
    BlockError
        If an argument is not as described, or there is nothing to draw.
    PevmError
        If matplotlib is not installed.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> import pevm_numba as pn
    >>> pool = pn.AccessSets.from_dicts([{}, {}], n_keys=0)
    >>> made = {n: pn.build_block(pool, [2, 1], [1, 1], gas_limit=9, blobs=[4, 2], blob_limit=n) for n in (2, 4, 6)}
    >>> blob_choices({"greedy": made}, ax=Figure().subplots()).lines[0].get_ydata().tolist()
    [1.0, 2.0, 3.0]
    """
    given = _choices(built)
    limits = sorted({limit for _, row in given for limit in row})
    bound = {limit: min(row[limit].bound for _, row in given if limit in row) for limit in limits}
    ax = axes_of(ax)
    for i, (name, row) in enumerate(given):
        mine = sorted(row)
        least = min((row[n].reward / bound[n] for n in mine if bound[n] > 0), default=1.0)
        style = {**line_style(ax, i), "marker": MARKERS[i % len(MARKERS)], "ms": 4}
        label = f"{name}: {min(1.0, least):.2%} of the bound at least".replace("%", " %")
        ax.plot(mine, [row[n].reward for n in mine], label=label, **style)
    ax.plot(limits, [bound[n] for n in limits], label="bound", color=ink(ax), lw=7, alpha=0.25, zorder=1)
    ax.set_xticks(limits, [f"{n:,}" for n in limits])
    ax.set_ylim(bottom=0)
    ax.set_xlabel("blob limit (blobs in a block)")
    ax.set_ylabel("reward")
    ax.yaxis.set_major_formatter("{x:,.12g}")
    grid(ax)
    add_legend(ax, most=2)
    return ax


def _choices(built: Any) -> list[tuple[str, dict[int, BuiltBlock]]]:
    """Names, and blocks by blob limit."""
    found = []
    for name, row in named("built", built, Mapping):
        if not row:
            raise BlockError(f"built[{name!r}]: empty: must hold at least one BuiltBlock")
        for limit, one in row.items():
            door.integer(f"built[{name!r}]: blob limit", limit, 0, 2**31 - 1)
            door.instance(f"built[{name!r}][{limit}]", one, BuiltBlock)
        found.append((name, dict(row)))
    return found
