"""Plain tables for the terminal: one that is too wide is split between columns, since a clipped digit is a wrong figure."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

from ..errors import UsageError
from ..io.paths import check_target, target_of

__all__ = ["check_json", "check_range", "figure", "print_paragraph", "print_table"]

#: What a column takes beside its text, and a table beside its columns.
_COLUMN, _EDGE = 2, 1


def _console() -> Console:
    console = Console(highlight=False)
    return console if console.is_terminal else Console(width=200, highlight=False)


def print_table(
    title: str, headings: Sequence[str], rows: Iterable[Sequence[str]], groups: Sequence[int] | None = None
) -> None:
    """Print a line and a table whose first column is text and the others figures, in several parts if it is too wide.

    Parameters
    ----------
    title : str
        Printed above, wrapped: a title within a table would be wrapped to the table's width.
    headings : sequence of str
    rows : iterable of sequence of str
        An empty row becomes a rule; one shorter than `headings` is filled with empty cells.
    groups : sequence of int, optional
        How many columns after the first belong together; each part holds whole groups, unless one alone is too wide.
    """
    console, body = _console(), [list(row) + [""] * (len(headings) - len(row)) if row else [] for row in rows]
    widths = [max(cell_len(row[place]) for row in [list(headings), *filter(None, body)]) for place in range(len(headings))]
    console.print(title, markup=False, style="italic")
    for part in _parts(widths, groups or [1] * (len(headings) - 1), console.width):
        shown = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
        for place in (0, *part):
            shown.add_column(headings[place], justify="right" if place else "left", overflow="fold")
        for row in body:
            if row:
                shown.add_row(*(row[place] for place in (0, *part)))
            else:
                shown.add_section()
        console.print(shown)


def _parts(widths: Sequence[int], groups: Sequence[int], width: int) -> list[list[int]]:
    """Columns after the first, in parts that fit beside the first: a part takes groups as long as there is room."""
    room = width - _EDGE - widths[0] - _COLUMN
    pieces: list[list[int]] = []
    for size in groups:
        start = 1 + sum(map(len, pieces))
        group = list(range(start, start + size))
        fits = sum(widths[place] + _COLUMN for place in group) <= room
        pieces += [group] if fits else [[place] for place in group]
    parts: list[list[int]] = [[]]
    left = room
    for piece in pieces:
        need = sum(widths[place] + _COLUMN for place in piece)
        if need > left and parts[-1]:
            parts.append([])
            left = room
        parts[-1] += piece
        left -= need
    return parts


def print_paragraph(*sentences: str) -> None:
    """Print sentences as one paragraph, wrapped to the console's width, and an empty line; nothing if there is none."""
    if sentences:
        _console().print(" ".join(sentences) + "\n", markup=False)


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


def check_range(option: str, value: float, low: float, high: float) -> None:
    """Refuse a value out of [low, high], with integers written as such.

    Raises
    ------
    UsageError
        Naming the option, its value and the range.

    Examples
    --------
    >>> check_range("--workers", 0, 1, 2**31 - 1)
    Traceback (most recent call last):
        ...
    pevm_numba.errors.UsageError: --workers 0: must be in [1, 2147483647]
    """
    if not low <= value <= high:
        raise UsageError(f"{option} {value}: must be in [{low}, {high}]")


def check_json(path: Path | None, inputs: Sequence[Path] = ()) -> None:
    """Refuse, before anything is measured, a file for --json that is no .json, cannot be written, or belongs to an input.

    Raises
    ------
    UsageError
        If the name does not end in .json, or the file is an input or lies inside one.
    FileFormatError
        If its folder is missing or it is no regular file.
    """
    if path is None:
        return
    check_target("--json", path, inputs, (".json",))
    for given in inputs:
        if target_of(path).is_relative_to(os.path.realpath(given)):
            raise UsageError(f"--json {path}: lies inside the input {given}")
