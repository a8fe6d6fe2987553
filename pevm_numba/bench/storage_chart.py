"""A picture of storage benchmarks: keys a second of every backend by size, and what reading ahead saves of slow reads."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import numpy as np

from ..errors import PevmError
from ..io.paths import replacing
from .storage_cells import OPERATIONS
from .storage_chain import KINDS
from .storage_load import DISTRIBUTIONS

__all__ = ["draw", "need_matplotlib"]

_MARKERS: Final = "osD^v"


def need_matplotlib() -> None:
    """Refuse, before anything is measured, to draw without the library.

    Raises
    ------
    PevmError
        If matplotlib is not installed.
    """
    try:
        import_module("matplotlib.figure")
    except ImportError:
        raise PevmError('plots need matplotlib: pip install "pevm-numba[plot]"') from None


def draw(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Write the chart: a panel for each operation and distribution, and one for chains by delay.

    Raises
    ------
    PevmError
        If matplotlib is not installed.
    """
    need_matplotlib()
    from matplotlib.figure import Figure

    loads = [row for row in rows if row["table"] == "store workload"]
    chains = [row for row in rows if row["table"] == "chain" and row["backend"] == "memory"]
    slow = len({row["delay_us"] for row in chains}) > 1
    lines = len(DISTRIBUTIONS) + slow
    picture = Figure(figsize=(11, 2.5 * lines + 0.8), layout="constrained")
    axes = picture.subplots(lines, len(OPERATIONS), squeeze=False)
    for ax in axes[: len(DISTRIBUTIONS)].flat[1:]:
        ax.sharex(axes[0][0])
        ax.sharey(axes[0][0])
    for line, distribution in enumerate(DISTRIBUTIONS):
        for place, operation in enumerate(OPERATIONS):
            ax = axes[line][place]
            _panel(ax, [row for row in loads if (row["distribution"], row["operation"]) == (distribution, operation)])
            ax.set_title(f"{operation}, {distribution}", loc="left", fontsize="medium")
        axes[line][0].set_ylabel("keys a second")
    for ax in axes[len(DISTRIBUTIONS) - 1]:
        ax.set_xlabel("keys in the store")
    handles, labels = axes[0][0].get_legend_handles_labels()
    if slow:
        for ax in axes[-1][2:]:
            ax.set_axis_off()
        _delays(axes[-1][0], chains, "ms", "a chain, milliseconds")
        _delays(axes[-1][1], chains, "times", "times as fast as on demand")
        kinds = axes[-1][0].get_legend_handles_labels()
        axes[-1][2].legend(*kinds, loc="center left", frameon=False, title="reads of chains")
    picture.legend(handles, labels, loc="outside lower center", ncols=max(1, len(labels)), frameon=False)
    with replacing(path) as (temporary,):
        picture.savefig(temporary, format=path.suffix[1:], dpi=100)


def _panel(ax: Any, rows: Sequence[dict[str, Any]]) -> None:
    from ..plot import COLOURS

    for backend, colour, marker in zip(dict.fromkeys(row["backend"] for row in rows), COLOURS, _MARKERS, strict=False):
        mine = sorted((row["keys"], row["keys_per_s"]) for row in rows if row["backend"] == backend)
        ax.plot(*zip(*mine, strict=True), color=colour, marker=marker, markersize=4, linewidth=1.2, label=backend)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.minorticks_off()
    ax.grid(alpha=0.25)


def _delays(ax: Any, rows: Sequence[dict[str, Any]], what: str, title: str) -> None:
    """Over the delay of a read, a line for each way of reading; medians over chains."""
    from ..plot import COLOURS

    delays = sorted({row["delay_us"] for row in rows})
    for kind, colour, marker in zip(KINDS, COLOURS, _MARKERS, strict=False):
        y = [_median(rows, delay, kind, what) for delay in delays]
        ax.plot(range(len(delays)), y, color=colour, marker=marker, markersize=4, linewidth=1.2, label=kind)
    ax.set_xticks(range(len(delays)), [f"{delay:g}" for delay in delays])
    ax.set_xlabel("microseconds more a read")
    ax.set_title(title, loc="left", fontsize="medium")
    ax.set_yscale("log")
    ax.grid(alpha=0.25)


def _median(rows: Sequence[dict[str, Any]], delay: int, kind: str, what: str) -> float:
    mine, slow = (
        {row["chain"]: row["ms"] for row in reversed(rows) if (row["delay_us"], row["kind"]) == (delay, one)}
        for one in (kind, KINDS[0])
    )
    if what == "ms":
        return float(np.median(list(mine.values())))
    return float(np.median([slow[name] / ms for name, ms in mine.items()]))
