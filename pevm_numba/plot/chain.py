"""The critical path: which transactions no number of workers can run side by side, and the keys that tie them together."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..access.sets import AccessSets, need_access
from ..errors import BlockError
from ..evm.block import AnyBlock, need_block
from ..machine.ops import Mode
from ..schedule.costs import cost_of
from ..schedule.dependencies import dependencies
from .keytext import short_names
from .style import COLOURS, HATCHES, add_legend, axes_of, grid, ink, label_size, number, plain, title

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["dependency_chain"]

#: Keys that have a colour of their own; further ones share grey.
_MOST_KEYS: Final = 5
#: Up to so many transactions, each is named beside its bar.
_MOST_NAMED: Final = 40
_FIRST: Final = "first of the chain"
_OTHER: Final = "other keys"
_GREY: Final = "#8a8a8a"


def dependency_chain(
    access: AccessSets,
    cost: ArrayLike | str | None = None,
    *,
    ax: Axes | None = None,
    unit: str = "cost",
    block: AnyBlock | None = None,
) -> Axes:
    """Draw a longest path as stairs: each transaction begins where the one before it ends, and is as long as its cost.

    Parameters
    ----------
    access : AccessSets
    cost : (n_tx,) integers or floats, or str, optional
        As in `bounds`; default 1 each.
    ax : matplotlib.axes.Axes, optional
        Default: those of a new figure.
    unit : str
        Of the costs, for the axis.
    block : Block or EvmBlock, optional
        To name the keys, where the access sets cannot.

    Returns
    -------
    matplotlib.axes.Axes
        With one `PolyCollection`, whose polygon i is the i-th transaction of the path; its colour and hatch stand for the key
        that ties it to the one before. Of several such keys that one is taken which ties most of the path. The five keys
        that tie most have colours of their own.

    Raises
    ------
    BlockError
        If an argument is not as described, or there is no transaction.
    PevmError
        If matplotlib is not installed.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> sets = AccessSets.from_dicts([{0: 2}, {1: 2}, {0: 1, 2: 2}, {2: 1}], n_keys=3)
    >>> ax = dependency_chain(sets, [5, 9, 3, 2], ax=Figure().subplots(), unit="gas")
    >>> [text.get_text() for text in ax.get_yticklabels()], ax.get_title(loc="left")
    (['0', '2', '3'], '3 of 4 transactions, 10 of 19 gas: no schedule in block order is shorter')
    """
    need_access("access", access)
    if block is not None:
        need_block("block", block)
    weight = cost_of(cost, access, access.exact_for)
    if not access.n_tx:
        raise BlockError("access has no transaction: must have at least one")
    length, path = dependencies(access).critical_path(weight)
    ties = _ties(access, path)
    ax = axes_of(ax, min(7.0, 1.8 + 0.19 * max(8, min(len(path), _MOST_NAMED))))
    ends = np.cumsum(weight[path])
    _draw_bars(ax, ends - weight[path], ends, _groups(access, ties, block))
    if len(path) <= _MOST_NAMED:
        ax.set_yticks(np.arange(len(path)), [f"{tx:,}" for tx in path], fontsize=label_size(len(path)))
        ax.set_ylabel("transaction, by position in the block")
    else:
        ax.set_ylabel("place in the chain")
        ax.yaxis.set_major_formatter("{x:,.0f}")
    ax.set_ylim(len(path) - 0.3, -0.7)
    ax.set_xlim(0.0, float(length) if length > 0 else 1.0)
    ax.xaxis.set_major_formatter("{x:,.12g}")
    ax.set_xlabel(plain(f"time ({unit})"))
    grid(ax, "x")
    head = f"{len(path):,} of {access.n_tx:,} transactions, {number(float(length))} of {number(float(weight.sum()))} {unit}"
    title(ax, plain(f"{head}: no schedule in block order is shorter"))
    return ax


def _ties(access: AccessSets, path: list[int]) -> list[int]:
    """For each transaction of the path but the first, the key that ties it to the one before."""
    common = [_conflicts(access, one, other) for one, other in pairwise(path)]
    times = Counter(k for keys in common for k in keys.tolist())
    return [min(keys.tolist(), key=lambda k: (-times[k], k)) for keys in common]


def _conflicts(access: AccessSets, one: int, other: int) -> NDArray[np.int32]:
    """Keys on which two transactions conflict."""
    first, second = (slice(access.indptr[tx], access.indptr[tx + 1]) for tx in (one, other))
    keys, mine, others = np.intersect1d(access.keys[first], access.keys[second], assume_unique=True, return_indices=True)
    either = access.modes[first][mine] | access.modes[second][others]
    return keys[(either != Mode.READ) & (either != Mode.CREDIT)]


def _groups(access: AccessSets, ties: list[int], block: AnyBlock | None) -> list[tuple[str, list[int]]]:
    """Names for the legend and the places in the chain that each stands for: the first, keys by number of ties, others."""
    order = sorted(Counter(ties).items(), key=lambda item: (-item[1], item[0]))
    keys = [k for k, _ in order[:_MOST_KEYS]]
    found = [(_FIRST, [0])]
    for k, name in zip(keys, short_names(access, keys, block)):
        places = [place for place, tie in enumerate(ties, 1) if tie == k]
        found.append((f"by {name}: {len(places):,}", places))
    rest = [place for place, tie in enumerate(ties, 1) if tie not in keys]
    if rest:
        found.append((f"by {len(order) - len(keys):,} {_OTHER}: {len(rest):,}", rest))
    return found


def _draw_bars(ax: Axes, start: NDArray[np.float64], end: NDArray[np.float64], groups: list[tuple[str, list[int]]]) -> None:
    from matplotlib.collections import PolyCollection
    from matplotlib.patches import Patch

    row = np.arange(len(start))
    low, high = row - 0.42, row + 0.42
    corners = np.stack([np.stack(c, -1) for c in ((start, low), (end, low), (end, high), (start, high))], axis=1)
    handles: list[Any] = []
    for i, (label, places) in enumerate(groups):
        first, other = label == _FIRST, _OTHER in label
        fill = ink(ax) if first else _GREY if other else COLOURS[i - 1]
        hatch = "" if first or other else HATCHES[i - 1]
        looks: Any = {"facecolor": fill, "hatch": hatch, "edgecolor": ax.get_facecolor(), "linewidth": 0.0}
        ax.add_collection(PolyCollection(list(corners[places]), **looks), autolim=False)
        handles.append(Patch(label=plain(label), **looks))
    links = np.stack([np.stack([end[:-1], row[:-1] + 0.42], -1), np.stack([end[:-1], row[1:] - 0.42], -1)], axis=1)
    ax.vlines(links[:, 0, 0], links[:, 0, 1], links[:, 1, 1], colors=ink(ax), linewidth=0.8)
    add_legend(ax, handles, most=3)
