"""How many transactions each wave of a schedule holds: often few large waves, then many small ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from ..schedule.plan import Schedule
from .style import add_legend, axes_of, line_style, log_counts, named, reach, series, shown_before

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["wave_sizes"]


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
    given = named("schedules", schedules, Schedule)
    ax = axes_of(ax)
    from matplotlib.patches import StepPatch

    shown = shown_before(ax)
    for i, (name, plan) in enumerate(given):
        sizes = np.diff(plan.wave_indptr)
        style = line_style(ax, i)
        ax.stairs(
            sizes, np.arange(1, plan.n_waves + 2), baseline=None, label=series(f"{name}: {plan.n_waves:,} waves"),
            color=style["color"], ls=style["ls"], lw=style["lw"],
        )  # fmt: skip
    drawn = [step.get_data() for step in ax.patches if isinstance(step, StepPatch)]  # those drawn before, too
    most = max(1, *(len(values) for values, _, _ in drawn))
    widest = max(1, *(int(values.max(initial=1)) for values, _, _ in drawn))
    log_counts(ax, "x", most + 1)
    log_counts(ax, "y", widest)
    reach(ax, shown, 1.0, most + 1.0)
    ax.set_ylim(0.8, 1.25 * widest)
    ax.set_xlabel("wave, the first is 1")
    ax.set_ylabel("transactions in the wave")
    add_legend(ax)
    return ax
