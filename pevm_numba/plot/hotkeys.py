"""The keys that most transactions access; readers alone do not conflict with each other, so they are shown apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from .. import door
from ..access.sets import AccessSets, need_access
from ..errors import BlockError
from ..evm.block import AnyBlock, need_block
from ..schedule.conflicts import key_heat
from .keytext import short_names
from .style import COLOURS, HATCHES, add_legend, axes_of, grid, label_size, plain, title, whole_numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["hot_keys"]

#: Bars beyond which their names would overlap.
_MOST: Final = 60
_PARTS: Final = {"writers": "write", "crediters": "only credit", "readers": "only read"}


def hot_keys(access: AccessSets, *, ax: Axes | None = None, top: int = 12, block: AnyBlock | None = None) -> Axes:
    """Draw how many transactions write, credit and read the keys with most accesses, one bar for each key.

    Parameters
    ----------
    access : AccessSets
    ax : matplotlib.axes.Axes, optional
        Default: those of a new figure.
    top : int in [1, 60]
        Keys to draw, if so many are accessed.
    block : Block or EvmBlock, optional
        To name the keys, where the access sets cannot.

    Returns
    -------
    matplotlib.axes.Axes
        With three containers of bars, writers, crediters, readers (transactions), from most accesses to fewest.

    Raises
    ------
    BlockError
        If an argument is not as described, or no key is accessed.
    PevmError
        If matplotlib is not installed.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> sets = AccessSets.from_dicts([{0: 2, 1: 1}, {1: 1}, {1: 2}], n_keys=2)
    >>> ax = hot_keys(sets, ax=Figure().subplots())
    >>> [[int(bar.get_width()) for bar in part] for part in ax.containers]
    [[1, 1], [0, 0], [2, 0]]
    """
    need_access("access", access)
    top = door.integer("top", top, 1, _MOST)
    if block is not None:
        need_block("block", block)
    heat = key_heat(access)
    order = np.lexsort((-heat.pairs, -heat.accessors))[:top]
    keys = order[heat.accessors[order] > 0]
    if not len(keys):
        raise BlockError(f"access = {access!r}: must access at least one key")
    ax = axes_of(ax, 1.3 + 0.26 * max(4, len(keys)))
    left = np.zeros(len(keys))
    for i, (part, words) in enumerate(_PARTS.items()):
        width = getattr(heat, part)[keys].astype(float)
        looks: Any = {"color": COLOURS[(1, 5, 4)[i]], "hatch": HATCHES[(0, 2, 1)[i]], "edgecolor": ax.get_facecolor()}
        label = words if width.any() else "_"  # matplotlib leaves it out of the legend
        ax.barh(np.arange(len(keys)), width, 0.78, left, label=label, linewidth=0.0, **looks)
        left += width
    names = short_names(access, keys.tolist(), block)
    ax.set_yticks(np.arange(len(keys)), list(map(plain, names)), fontsize=label_size(len(keys)), family="monospace")
    ax.set_ylim(len(keys) - 0.4, -0.6)
    ax.set_xlim(0.0, 1.03 * float(left.max()))
    whole_numbers(ax.xaxis)
    ax.set_xlabel("transactions")
    grid(ax, "x")
    share = 100 * int(heat.accessors[keys].sum()) / access.n_accesses
    used = int(np.count_nonzero(heat.accessors))
    title(ax, f"{len(keys):,} of {used:,} keys have {share:.3g} % of {access.n_accesses:,} accesses")
    add_legend(ax)
    return ax
