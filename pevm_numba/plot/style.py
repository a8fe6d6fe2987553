"""Looks that all pictures share: colours come with dashes, markers or hatches; black on white is white on black."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from .. import door
from ..errors import BlockError, PevmError
from ..html import readable
from ..io.paths import replacing
from ..schedule.plan import Schedule
from ..schedule.timeline import Timeline

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import FigureBase

__all__ = [
    "COLOURS", "DASHES", "HATCHES", "MARKERS", "add_legend", "axes_of", "colour", "figure_of", "grid", "ink", "is_dark",
    "label_size", "line_style", "log_counts", "named", "need_matplotlib", "need_timeline", "number", "plain", "reach", "save",
    "series", "shades", "shown_before", "text_over", "title", "whole_numbers",
]  # fmt: skip

#: Okabe and Ito's colours, which people with any common colour blindness tell apart; yellow left out, faint on white.
COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
#: Dashes after a first full line, so that a line shows through those that are equal to it and drawn later.
DASHES: Final = ("-", "--", ":", "-.")
#: Of the points of a line.
MARKERS: Final = "osD^vPX"
#: Of filled areas, in the order of `COLOURS`.
HATCHES: Final = ("", "////", "....", "xxxx", "----", "\\\\\\\\", "++++")
#: Points from the axes down to the legend: room for tick labels and the axis label.
_LEGEND_GAP: Final = 40.0


def need_matplotlib() -> None:
    """Refuse to draw without the library: before anything is measured for a picture.

    Raises
    ------
    PevmError
        If matplotlib is not installed.
    """
    try:
        import matplotlib.figure  # noqa: F401  # whether it is there is the question
    except ImportError:
        raise PevmError('plots need matplotlib: pip install "pevm-numba[plot]"') from None


def axes_of(ax: Any, height: float = 3.6) -> Axes:
    """The caller's axes, or those of a new figure, so many inches high."""
    need_matplotlib()
    from matplotlib.axes import Axes

    if ax is not None:
        door.instance("ax", ax, Axes)
        return ax
    import matplotlib.pyplot as plt

    return plt.subplots(figsize=(9, height), layout="constrained")[1]


def figure_of(figure: Any, height: float, ax: Any = None) -> FigureBase:
    """The caller's figure, one in the place of the caller's axes, or a new one, so many inches high."""
    need_matplotlib()
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    if ax is not None:
        door.instance("ax", ax, Axes)
        place = ax.get_subplotspec()
        if figure is not None or place is None:
            why = "with figure: one of the two" if figure is not None else "must be of a grid, as plt.subplots makes it"
            raise BlockError(f"ax = {door.shown(ax, 80)}: {why}")
        parent: Any = ax.figure
        ax.remove()
        made: FigureBase = parent.add_subfigure(place)
        return made
    if figure is not None:
        door.instance("figure", figure, Figure)
        return figure
    import matplotlib.pyplot as plt

    return plt.figure(figsize=(9, height), layout="constrained")


def save(ax: Axes, path: Path) -> None:
    """Write the picture that axes are in, as the ending of `path` says, and close it; the file is replaced as a whole."""
    import matplotlib.pyplot as plt

    figure: Any = ax.figure
    with replacing(path) as (temporary,):
        figure.savefig(temporary, format=path.suffix[1:], dpi=100)
    plt.close(figure)


# -------------------------------------------------------------------- colours


def ink(ax: Axes) -> Any:
    """The colour that the axes are labelled in: black on a light background, white on a dark one."""
    return ax.xaxis.label.get_color()


def is_dark(ax: Axes) -> bool:
    """Whether the axes are labelled in a light colour, so that the background is dark."""
    return text_over(ink(ax)) == "black"


def text_over(fill: Any) -> str:
    """Black or white, whichever is easier to read on a colour."""
    from matplotlib.colors import to_rgb

    red, green, blue = to_rgb(fill)
    return "black" if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.45 else "white"


def colour(ax: Axes, i: int) -> Any:
    """The i-th colour; black is whatever the axes are labelled in."""
    found = COLOURS[i % len(COLOURS)]
    return ink(ax) if found == "#000000" else found


def line_style(ax: Axes, i: int) -> dict[str, Any]:
    """Look of the i-th line: later ones are thinner and, but for the first, dashed, to show those that they cover."""
    return {"color": colour(ax, i), "ls": DASHES[i % len(DASHES)], "lw": max(1.2, 3.2 - 0.4 * i)}


def shades(ax: Axes, *, most_stands_out: bool = False) -> Colormap:
    """Shades of one scale that is even in grey, without the end that the background would swallow.

    With `most_stands_out` the greatest value is the one that differs most from the background.
    """
    import matplotlib as mpl
    from matplotlib.colors import LinearSegmentedColormap

    full = mpl.colormaps["cividis"]
    parts = (0.35, 1.0) if is_dark(ax) else (0.78, 0.0) if most_stands_out else (0.0, 0.95)
    steps = [parts[0] + (parts[1] - parts[0]) * k / 255 for k in range(256)]
    return LinearSegmentedColormap.from_list("cividis part", full(steps))


def grid(ax: Axes, axis: str = "both") -> None:
    """Faint lines behind everything, on light and on dark."""
    ax.grid(axis=axis, color=ink(ax), alpha=0.15, linewidth=0.8)  # type: ignore[arg-type]  # x, y or both
    ax.set_axisbelow(True)


# -------------------------------------------------------------------- text


def number(value: float) -> str:
    """A figure written out, four digits if it is small and not whole."""
    return f"{value:,.0f}" if value >= 1000 or value == int(value) else f"{value:,.4g}"


def plain(text: str) -> str:
    """A caller's text as matplotlib shows it, `readable`: between two dollar signs there would be a formula.

    Examples
    --------
    >>> plain("$a$ for $b$")
    '\\\\$a\\\\$ for \\\\$b\\\\$'
    """
    return readable(text).replace("$", r"\$")


def series(text: str) -> str:
    """A label that begins with a caller's text, for the legend, from which matplotlib leaves one that begins with ``_``.

    Examples
    --------
    >>> series("_mine: 3 waves"), series("mine")
    (' _mine: 3 waves', 'mine')
    """
    return plain(f" {text}" if text.startswith("_") else text)


def title(ax: Axes, text: str) -> None:
    """A title at the left, where it begins with the axes; what a caller named must be `plain` in it."""
    ax.set_title(text, loc="left", fontsize="medium")


def label_size(n: int) -> float:
    """Points for n labels in a column, one for each row."""
    return 9.0 if n <= 16 else 7.5 if n <= 26 else 6.0


def add_legend(ax: Axes, handles: Sequence[Any] | None = None, *, most: int = 4) -> None:
    """Below the axes, where it covers nothing and takes no width from the time axis; at most so many columns."""
    from matplotlib.transforms import ScaledTranslation

    texts = [h.get_label() for h in handles] if handles else ax.get_legend_handles_labels()[1]
    if not texts:
        return
    points = 72 * ax.bbox.width / ax.figure.dpi
    columns = max(1, min(len(texts), most, int(points // (5.0 * max(map(len, texts)) + 45))))
    down = ScaledTranslation(0, -_LEGEND_GAP / 72, ax.figure.dpi_scale_trans)
    more: dict[str, Any] = {} if handles is None else {"handles": handles}
    ax.legend(
        loc="upper left", bbox_to_anchor=(0.0, 0.0), bbox_transform=ax.transAxes + down, borderaxespad=0.0, ncols=columns,
        frameon=False, fontsize="small", handlelength=3.0, **more,
    )  # fmt: skip


# -------------------------------------------------------------------- axes


def shown_before(ax: Axes) -> tuple[float, float] | None:
    """What the x axis shows of others, which a new picture must not hide: its limits, or None if nothing was drawn yet."""
    sharing = ax.get_shared_x_axes().get_siblings(ax)
    return ax.get_xlim() if not ax.get_autoscalex_on() or any(one.has_data() for one in sharing) else None


def reach(ax: Axes, shown: tuple[float, float] | None, low: float, high: float) -> None:
    """Show [low, high] of x, and what was shown before."""
    if shown is not None:
        low, high = min(low, *shown), max(high, *shown)
    ax.set_xlim(low, high)


def log_counts(ax: Axes, name: str, most: float, least: float = 1.0) -> None:
    """A logarithmic axis of counts, numbered 1, 2, 5, 10, ... in plain figures, or 1, 10, ... where those would be many."""
    steps = (1, 2, 5) if most / least <= 2e4 else (1,)
    counts = [c * 10.0**e for e in range(-3, 16) for c in steps if least <= c * 10.0**e <= most]
    texts = [f"{c:,.12g}" for c in counts]
    if name == "x":
        ax.set_xscale("log")
        ax.set_xticks(counts, texts)
    else:
        ax.set_yscale("log")
        ax.set_yticks(counts, texts)
    ax.minorticks_off()


def whole_numbers(axis: Any) -> None:
    """Ticks of an axis at whole numbers, written out."""
    axis.get_major_locator().set_params(integer=True)
    axis.set_major_formatter("{x:,.0f}")


# -------------------------------------------------------------------- arguments


def named(name: str, value: Any, wanted: type) -> list[tuple[str, Any]]:
    """The items of a mapping of names to `wanted`."""
    if not isinstance(value, Mapping):
        raise BlockError(f"{name} = {door.shown(value)}: must be a mapping of names to {wanted.__name__}")
    if not value:
        raise BlockError(f"{name}: empty: must hold at least one {wanted.__name__}")
    for key, item in value.items():
        door.text(f"{name}: key", key)
        need_timeline(f"{name}[{key!r}]", item) if wanted is Timeline else door.instance(f"{name}[{key!r}]", item, wanted)
    return list(value.items())


def need_timeline(name: str, value: Any) -> None:
    """A BlockError unless `value` is a Timeline; for a schedule it says where to find it."""
    hint = ""
    if isinstance(value, Schedule):
        hint = ": give schedule.timeline" if value.timeline else "; this schedule has none: make it for a number of workers"
    door.instance(name, value, Timeline, hint)
