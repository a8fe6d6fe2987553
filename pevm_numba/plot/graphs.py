"""Conflicts of a block: as a matrix, of any number of transactions, or as a graph of up to 300."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from .. import door
from ..access.sets import AccessSets, need_access
from ..errors import BlockError
from ..machine.ops import Mode
from ..schedule.bounds import compacted
from ..schedule.conflicts import conflict_graph
from ..schedule.policies import schedule
from .layout import force_layout
from .style import COLOURS, add_legend, axes_of, ink, shades, text_over, title, whole_numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from scipy.sparse import csr_array

__all__ = ["MOST_NODES", "conflict_network", "conflict_spy"]

#: Transactions beyond which a network is refused: nobody could tell its nodes apart.
MOST_NODES: Final = 300
#: Up to so many nodes have room for the number of their transaction.
_MOST_NUMBERED: Final = 60
#: Nodes without a conflict in a row.
_IN_A_ROW: Final = 40
_COLOUR_BY: Final = ("level", "degree")
#: How the kinds of conflict are drawn, of i before j: colour, dash, width; a pair of several kinds shows all of them.
_KINDS: Final = {
    "WW": ("both write", COLOURS[4], "-", 3.4),
    "WR": ("one writes, a later one reads", COLOURS[1], "-", 1.1),
    "RW": ("one reads, a later one writes", COLOURS[2], (0, (2, 2)), 1.5),
}


def conflict_spy(access: AccessSets | csr_array, *, ax: Axes | None = None, cells: int | None = None) -> Axes:
    """Draw which transactions conflict, as a matrix: both axes are positions in the block.

    Parameters
    ----------
    access : AccessSets, or (n_tx, n_tx) scipy.sparse array
        The latter as ``conflict_graph(access)`` gives it.
    ax : matplotlib.axes.Axes, optional
        Default: those of a new figure.
    cells : int in [2, 2000], optional
        Most cells along an axis; default 250, and 100 for fewer than 2,000 pairs, which would be specks. With more
        transactions a cell stands for several, and its shade for the share of their pairs that conflict, on a logarithmic
        scale.

    Returns
    -------
    matplotlib.axes.Axes
        With one image; cells without a conflict are left empty.

    Raises
    ------
    BlockError
        If an argument is not as described.
    TooLargeError
        If the graph of the access sets has more than 50 million entries, as in `conflict_graph`.
    PevmError
        If matplotlib is not installed.

    Notes
    -----
    Linear in the entries of the graph: 10,000 transactions take well under a second.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> sets = AccessSets.from_dicts([{0: 2}, {0: 2, 1: 2}, {1: 2}], n_keys=2)
    >>> conflict_spy(sets, ax=Figure().subplots()).images[0].get_array().filled(0).tolist()
    [[0.0, 1.0, 0.0], [1.0, 0.0, 1.0], [0.0, 1.0, 0.0]]
    """
    graph = _graph(access)
    n_tx, entries = graph.shape[0], graph.nnz
    cells = (100 if entries < 4000 and n_tx > 250 else 250) if cells is None else door.integer("cells", cells, 2, 2000)
    ax = axes_of(ax, 6.0)
    width = max(1, -(-n_tx // cells))
    density = _density(graph, width)
    rate = entries / (n_tx * (n_tx - 1)) if n_tx > 1 else 0.0
    edge = max(1, density.shape[0] * width)
    image = ax.imshow(
        density, cmap=shades(ax, most_stands_out=True), norm=_scale(density), interpolation="nearest",
        extent=(-0.5, edge - 0.5, edge - 0.5, -0.5),
    )  # fmt: skip
    ax.set_xlim(-0.5, max(n_tx, 1) - 0.5)
    ax.set_ylim(max(n_tx, 1) - 0.5, -0.5)
    whole_numbers(ax.xaxis)
    whole_numbers(ax.yaxis)
    ax.set_xlabel("transaction, by position in the block")
    ax.set_ylabel("transaction")
    if width > 1 and entries:
        label = f"share of pairs that conflict, of {width} by {width}"
        bar = ax.figure.colorbar(image, ax=ax, label=label, pad=0.02)
        bar.ax.yaxis.set_major_formatter("{x:.4g}")
        bar.ax.yaxis.set_minor_formatter("")
    title(ax, f"{n_tx:,} transactions, {entries // 2:,} conflicting pairs, {100 * rate:.3g} % of all")
    return ax


def _graph(access: Any) -> Any:
    """A conflict graph as a square CSR matrix, made where access sets are given."""
    from scipy.sparse import csr_array, issparse

    if isinstance(access, AccessSets):
        return conflict_graph(access)
    if not issparse(access) or access.ndim != 2 or access.shape[0] != access.shape[1]:
        raise BlockError(f"access = {door.shown(access)}: must be AccessSets, or a square sparse matrix of conflicts")
    return csr_array(access)


def _density(graph: Any, width: int) -> np.ma.MaskedArray[Any, Any]:
    """Share of the pairs in each cell of width by width transactions that conflict; masked where none does."""
    n_tx, n_cells = graph.shape[0], -(-graph.shape[0] // width)
    rows = np.repeat(np.arange(n_tx), np.diff(graph.indptr)) // width
    counts = np.bincount(rows * n_cells + graph.indices // width, minlength=n_cells**2).reshape(n_cells, n_cells)
    sizes = np.bincount(np.arange(n_tx) // width, minlength=n_cells)
    pairs = np.outer(sizes, sizes) - np.diag(sizes)
    return np.ma.masked_equal(counts / np.maximum(pairs, 1), 0.0)


def _scale(density: np.ma.MaskedArray[Any, Any]) -> Any:
    """Logarithmic from the least share that there is to the greatest; where all are equal, that one stands out."""
    from matplotlib.colors import LogNorm, Normalize

    shares = density.compressed()
    if not len(shares) or shares.min() == shares.max():
        return Normalize(0.0, shares.max(initial=0.0) or 1.0)
    return LogNorm(shares.min(), shares.max())


def conflict_network(access: AccessSets, *, ax: Axes | None = None, colour_by: str = "level", seed: int = 0) -> Axes:
    """Draw transactions as nodes and conflicts as lines, whose looks tell the kinds of conflict.

    Parameters
    ----------
    access : AccessSets
        Of at most 300 transactions.
    ax : matplotlib.axes.Axes, optional
        Default: those of a new figure.
    colour_by : str
        ``"level"``: the wave in which the policy ``levels`` runs a transaction, from 1. ``"degree"``: with how many others
        it conflicts.
    seed : int in [0, 2**63)
        Of the places that nodes start from.

    Returns
    -------
    matplotlib.axes.Axes
        With a `LineCollection` for each kind that there is, WW, WR, RW, then a `PathCollection` of the nodes in block order.

    Raises
    ------
    BlockError
        If an argument is not as described, or there are more than 300 transactions.
    PevmError
        If matplotlib is not installed.

    Notes
    -----
    The legend's counts are those of `conflict_counts`: a pair counts in each kind that it has on any key, and a CREDIT as a
    write. Where lines are short says nothing about time: forces place the nodes.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> sets = AccessSets.from_dicts([{0: 2}, {0: 2, 1: 2}, {1: 1}], n_keys=2)
    >>> ax = conflict_network(sets, ax=Figure().subplots())
    >>> [line.get_label() for line in ax.collections[:2]]
    ['WW, both write: 1', 'WR, one writes, a later one reads: 1']
    """
    need_access("access", access)
    door.choice("colour_by", colour_by, _COLOUR_BY)
    seed = door.integer("seed", seed, 0, 2**63 - 1)
    if access.n_tx > MOST_NODES:
        rule = f"must be at most {MOST_NODES}: conflict_spy draws any number"
        raise BlockError(f"access has {access.n_tx:,} transactions: {rule}")
    ax = axes_of(ax, 6.0)
    kinds = _pairs_by_kind(access)
    ends = np.unique(np.concatenate(list(kinds.values())), axis=0)
    degree = np.bincount(ends.ravel(), minlength=access.n_tx)
    at = _places(degree, ends, seed)
    _draw_pairs(ax, at, kinds)
    plan = schedule(access, "levels")
    level = np.empty(access.n_tx, np.int64)
    level[plan.wave_tx] = np.repeat(np.arange(1, plan.n_waves + 1), np.diff(plan.wave_indptr))
    _draw_nodes(ax, at, level if colour_by == "level" else degree, colour_by)
    ax.set_xlim(-1.06, 1.06)
    ax.set_ylim(min(-1.06, float(at[:, 1].min(initial=0.0)) - 0.06), 1.06)
    ax.set_axis_off()
    alone = int(np.count_nonzero(degree == 0))
    title(ax, f"{access.n_tx:,} transactions, {len(ends):,} conflicting pairs; {alone:,} conflict with none and stand below")
    add_legend(ax)
    return ax


def _pairs_by_kind(access: AccessSets) -> dict[str, NDArray[np.int64]]:
    """For each kind of conflict its pairs i < j, (n, 2)."""
    from scipy.sparse import csr_array

    small, _ = compacted(access)
    shape = small.n_tx, small.n_keys

    def matrix(chosen: NDArray[np.bool_]) -> Any:
        return csr_array((chosen.astype(np.int32), small.keys, small.indptr), shape=shape)

    reads = matrix((small.modes & Mode.READ) > 0)
    writes = matrix((small.modes & (Mode.WRITE | Mode.CREDIT)) > 0)
    credits = matrix(small.modes == Mode.CREDIT)
    products = {
        "WW": writes @ writes.T - credits @ credits.T,  # on how many keys; two that only credit do not conflict
        "WR": writes @ reads.T,
        "RW": reads @ writes.T,
    }
    return {kind: np.argwhere(np.triu(product.toarray(), 1) > 0) for kind, product in products.items()}


def _places(degree: NDArray[np.int64], ends: NDArray[np.int64], seed: int) -> NDArray[np.float64]:
    """By forces where there are conflicts; those that have none in rows below, where they take no room from others."""
    at = np.empty((len(degree), 2))
    tied = degree > 0
    number = np.cumsum(tied) - 1
    at[tied] = force_layout(int(tied.sum()), number[ends], seed)
    k = np.arange(len(degree) - int(tied.sum()))
    at[~tied] = np.stack([-1.0 + 2.0 * (k % _IN_A_ROW) / (_IN_A_ROW - 1), -1.2 - 0.11 * (k // _IN_A_ROW)], axis=-1)
    return at


def _draw_pairs(ax: Axes, at: NDArray[np.float64], kinds: dict[str, NDArray[np.int64]]) -> None:
    from matplotlib.collections import LineCollection

    many = sum(map(len, kinds.values()))
    alpha = 0.9 if many < 300 else 0.6 if many < 2000 else 0.3
    for kind, pairs in kinds.items():
        text, colour, dash, width = _KINDS[kind]
        if len(pairs):
            label = f"{kind}, {text}: {len(pairs):,}"
            looks: Any = {"colors": colour, "linestyles": [dash], "linewidths": width, "label": label}
            ax.add_collection(LineCollection(list(at[pairs]), alpha=alpha, zorder=1, **looks), autolim=False)


def _draw_nodes(ax: Axes, at: NDArray[np.float64], value: NDArray[np.int64], colour_by: str) -> None:
    from matplotlib.colors import Normalize

    n_tx = len(at)
    numbered = n_tx <= _MOST_NUMBERED
    norm = Normalize(value.min(initial=1), max(value.max(initial=1), value.min(initial=1) + 1))
    looks: Any = {"s": 150 if numbered else 45, "edgecolors": ink(ax), "linewidths": 0.8, "zorder": 3}
    nodes = ax.scatter(at[:, 0], at[:, 1], c=value, cmap=shades(ax), norm=norm, **looks)
    label = "level: wave in block order, the first is 1" if colour_by == "level" else "conflicts with so many others"
    bar = ax.figure.colorbar(nodes, ax=ax, label=label, pad=0.01, shrink=0.8)
    whole_numbers(bar.ax.yaxis)
    if numbered:
        for tx, (x, y) in enumerate(at):
            words: Any = {"ha": "center", "va": "center", "fontsize": 6.5}
            ax.text(x, y, f"{tx}", color=text_over(nodes.to_rgba(value[tx])[:3]), zorder=4, **words)
