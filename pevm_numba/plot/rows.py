"""Rows of a benchmark's JSON at the door: dicts told apart by `table`, whose fields docs/metrics.md defines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .. import door
from ..errors import BlockError

__all__ = ["figures", "of_table", "texts"]


def of_table(rows: Any, table: str, command: str) -> list[Mapping[str, Any]]:
    """The rows of one table, or of none where they do not say; a BlockError if there is none, naming who writes such.

    Examples
    --------
    >>> of_table([{"table": "a", "x": 1}, {"table": "b"}], "a", "bench a")
    [{'table': 'a', 'x': 1}]
    """
    given = door.items("rows", rows, "rows, one dict each")
    for i, row in enumerate(given):
        door.instance(f"rows[{i}]", row, Mapping)
    found = [row for row in given if row.get("table", table) == table]
    if not found:
        raise BlockError(f"rows: none has table {table!r}: must be as `python -m pevm_numba.{command} --json` writes them")
    return found


def figures(rows: Sequence[Mapping[str, Any]], name: str, low: float = 0.0, *, missing: bool = False) -> list[float]:
    """A field of each row as a finite number, at least `low`; nan for null where that may be missing."""
    return [
        float("nan") if missing and row.get(name) is None else door.real(f"{name} of row {i}", row.get(name), low)
        for i, row in enumerate(rows)
    ]


def texts(rows: Iterable[Mapping[str, Any]], name: str) -> list[str]:
    """A field of each row that is a name."""
    found = [row.get(name) for row in rows]
    for i, value in enumerate(found):
        door.instance(f"{name} of row {i}", value, str)
    return [str(value) for value in found]
