"""Plain tables for the terminal; a piped table is as wide as it needs to be, so that nothing is cut in a log."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table

__all__ = ["figure", "print_lines", "print_table"]


def _console() -> Console:
    console = Console(highlight=False)
    return console if console.is_terminal else Console(width=200, highlight=False)


def print_table(title: str, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table whose first column is text and the others figures; an empty row becomes a rule."""
    shown = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for place, heading in enumerate(headings):
        shown.add_column(heading, justify="right" if place else "left", no_wrap=True)
    for row in rows:
        if row:
            shown.add_row(*row)
        else:
            shown.add_section()
    _console().print(shown)


def print_lines(lines: Iterable[str]) -> None:
    """Print sentences below a table."""
    console = _console()
    for line in lines:
        console.print(line, markup=False, soft_wrap=not console.is_terminal)


def figure(value: float | None, digits: int = 3) -> str:
    """A number with so many significant digits, thousands separated; a dash for None.

    Examples
    --------
    >>> [figure(v) for v in (None, 0.01234, 1.5, 123456.7)]
    ['-', '0.0123', '1.50', '123,457']
    """
    if value is None:
        return "-"
    if value == 0:
        return "0"
    size = abs(value)
    decimals, bound = digits - 1, 10.0
    while size >= bound and decimals > 0:
        decimals, bound = decimals - 1, bound * 10
    low = 1.0
    while size < low and decimals < 6:
        decimals, low = decimals + 1, low / 10
    return f"{value:,.{decimals}f}"
