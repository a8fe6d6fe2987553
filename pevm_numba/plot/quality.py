"""How right predicted access sets were, block after block, while more was learned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from .. import door
from ..errors import BlockError
from .rows import figures, of_table
from .style import MARKERS, add_legend, axes_of, grid, line_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["prediction_quality"]

#: Blocks up to which each is named below the axis.
_MOST_NAMED: Final = 10
_LINES: Final = ("precision: predicted keys that were touched", "recall: touched keys that were predicted")


def prediction_quality(rows: Any, *, ax: Axes | None = None) -> Axes:
    """Draw precision and recall by block, in the order of the blocks' numbers, evenly spaced.

    Parameters
    ----------
    rows : iterable of mappings, or mapping of int to (float, float)
        Rows of the table ``prediction in a block`` of ``python -m pevm_numba.bench predict --json``; or precision and recall,
        each in [0, 1], by block number. Null, where there was nothing to count, leaves a gap.
    ax : matplotlib.axes.Axes, optional
        Default: those of a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        With two lines, precision and recall; their means over the blocks, each block counting alike, stand in the legend.

    Raises
    ------
    BlockError
        If an argument is not as described, there is no block, or one comes twice.
    PevmError
        If matplotlib is not installed.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> ax = prediction_quality({8: (1.0, 0.5), 7: (0.9, None)}, ax=Figure().subplots())
    >>> [line.get_ydata().tolist() for line in ax.lines]
    [[0.9, 1.0], [nan, 0.5]]
    """
    given = _checked(rows)
    ax = axes_of(ax)
    numbers = sorted(given)
    values = np.array([given[n] for n in numbers])
    many = len(numbers) > 100
    for i, words in enumerate(_LINES):
        known = values[np.isfinite(values[:, i]), i]
        mean = f"mean {known.mean():.3f}" if len(known) else "none known"
        style = {**line_style(ax, i), "lw": 1.6, "marker": MARKERS[i], "ms": 2.5 if many else 4.5}
        ax.plot(np.arange(len(numbers)), values[:, i], label=f"{words}; {mean}", **style)
    step = -(-len(numbers) // _MOST_NAMED)
    places = np.arange(0, len(numbers), step)
    ax.set_xticks(places, [f"{numbers[p]}" for p in places], fontsize="small")
    ax.set_ylim(-0.03, 1.03)
    ax.set_ylabel("share")
    ax.set_xlabel("block")
    grid(ax, "y")
    add_legend(ax, most=2)
    return ax


def _checked(rows: Any) -> dict[int, tuple[float, float]]:
    """Precision and recall by block number, nan where unknown."""
    if isinstance(rows, Mapping):
        table = [_as_row(number, pair) for number, pair in rows.items()]
        if not table:
            raise BlockError("rows: empty: must hold at least one block")
    else:
        table = [dict(row) for row in of_table(rows, "prediction in a block", "bench predict")]
    pairs = list(zip(*(figures(table, name, missing=True) for name in ("precision", "recall"))))
    found: dict[int, tuple[float, float]] = {}
    for i, row in enumerate(table):
        number = door.integer(f"block_number of row {i}", row.get("block_number"), 0, 2**64 - 1)
        if number in found:
            raise BlockError(f"block_number of row {i} = {number}: a second row of that block: must be one")
        if any(share > 1 for share in pairs[i]):
            raise BlockError(f"precision, recall of block {number} = {pairs[i]}: must be at most 1")
        found[number] = pairs[i]
    return found


def _as_row(number: Any, pair: Any) -> dict[str, Any]:
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise BlockError(f"rows[{door.shown(number)}] = {door.shown(pair)}: must be (precision, recall)")
    return {"block_number": number, "precision": pair[0], "recall": pair[1]}
