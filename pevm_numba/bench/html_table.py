"""Tables of a page: every text from data is escaped, every column has its definition, ratios below serial have a mark."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from ..html import escaped
from .html_specs import Spec, definitions_of, meaning_of, spec_of
from .tables import figure

__all__ = ["Column", "columns_of", "flat", "tables_of"]

#: Fields that a page says once for all rows, elsewhere.
_ELSEWHERE: Final = ("table", "versions", "machine")
#: Columns of a part, those that name the row not counted.
_WIDTH: Final = 8
#: Whole numbers that are names: no commas in them.
_NAMES: Final = ("block_number", "block", "chain", "tx")


@dataclass(frozen=True)
class Column:
    """One column: where its values are, and what they mean.

    Parameters
    ----------
    name : str
        Of the field; of one inside an object with dots: ``executors.waves.speedup``.
    unit, definition : str
        Of the field, or of the object that holds it.
    values : tuple
        One for each row; None where a row has none.
    """

    name: str
    unit: str
    definition: str
    values: tuple[Any, ...]

    @property
    def numeric(self) -> bool:
        """Whether all values that there are, at least one, are numbers."""
        there = [value for value in self.values if value is not None]
        return bool(there) and all(isinstance(value, int | float) and not isinstance(value, bool) for value in there)

    @property
    def above(self) -> str:
        """Name of the object that the field is in; empty: of the row itself."""
        return self.name.rpartition(".")[0]

    @property
    def constant(self) -> bool:
        """Whether all rows say the same."""
        return all(value == self.values[0] for value in self.values)


def flat(row: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """The row with objects replaced by what they hold, named with dots.

    Examples
    --------
    >>> flat({"n": 1, "waves": {"low": 2, "high": {"x": 3}}})
    {'n': 1, 'waves.low': 2, 'waves.high.x': 3}
    """
    found: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{above}{name}.")
        else:
            found[above + name] = value
    return found


def columns_of(table: str, rows: Sequence[Mapping[str, Any]]) -> list[Column]:
    """The columns of a table's rows, in the order of their definitions; what is an object in one row has no column itself.

    Parameters
    ----------
    table : str
        A key of `fields.TABLES`, or empty for the main benchmark.
    rows : sequence of mapping
        Of that table; at least one.

    Examples
    --------
    >>> [(c.name, c.unit, c.values) for c in columns_of("store", [{"table": "store", "keys": 7, "open_ms": None}])]
    [('keys', 'keys', (7,)), ('open_ms', 'ms', (None,))]
    """
    defined = definitions_of(table)
    flats = [flat({name: value for name, value in row.items() if name not in _ELSEWHERE}) for row in rows]
    place = {name: i for i, name in enumerate(defined)}
    names = dict.fromkeys(sorted((name for row in flats for name in row), key=lambda name: place[name.split(".")[0]]))
    fields = {name: name.split(".")[0] for name in names if not _only_a_gap(name, names)}
    return [
        Column(name, defined[field][0], meaning_of(table, field), tuple(row.get(name) for row in flats))
        for name, field in fields.items()
    ]


def _only_a_gap(name: str, names: Mapping[str, None]) -> bool:
    """Whether a field is an object in other rows, and nothing here."""
    return any(other.startswith(f"{name}.") for other in names)


def tables_of(table: str, rows: Sequence[Mapping[str, Any]], number: int) -> str:
    """HTML of a table: what all rows share, then its columns some at a time, each part led by what names the row.

    Parameters
    ----------
    table : str
        As `columns_of`.
    rows : sequence of mapping
    number : int
        Of the table within the page: its definitions have ids that no other has.

    Returns
    -------
    str
        Well-formed HTML; texts of the rows are escaped.
    """
    spec, columns = spec_of(table), columns_of(table, rows)
    named = {column.name: place for place, column in enumerate(columns)}
    keys = [columns[named[name]] for name in spec.keys if name in named]
    leading = spec.parts[0][1] if spec.parts else ()
    shared = [
        column for column in columns
        if len(rows) > 1 and column.constant and column not in keys and column.name not in leading
    ]  # fmt: skip
    left = [column for column in columns if column not in keys and column not in shared]
    out = list[str]()
    for title, part in _parts(spec, left):
        out.append(_table_html(title or table, spec, [*keys, *part], f"t{number}p{len(out)}"))
    if shared:
        out.append(_shared_html(shared, f"t{number}s", len(rows)))
    return "".join(out)


def _parts(spec: Spec, columns: Sequence[Column]) -> list[tuple[str, list[Column]]]:
    """Columns by part; those that no part names some at a time, those of an object together. At least one part."""
    named = {column.name: column for column in columns}
    parts = [(title, [named[name] for name in names if name in named]) for title, names in spec.parts]
    taken = {name for _, names in spec.parts for name in names}
    rest = [column for column in columns if column.name not in taken]
    plain = [column for column in rest if "." not in column.name]
    pieces = math.ceil(len(plain) / _WIDTH)
    parts += [("", [plain[i] for i in piece]) for piece in np.array_split(np.arange(len(plain)), max(1, pieces))]
    for above in dict.fromkeys(column.above for column in rest if column.above):
        parts.append((above, [column for column in rest if column.above == above]))
    return [part for part in parts if part[1]] or [("", [])]


def _table_html(title: str, spec: Spec, columns: Sequence[Column], key: str) -> str:
    heads = "".join(
        f'<th scope="col" data-kind="{"number" if column.numeric else "text"}">'
        f'<span class="name">{_breakable(column.name)}</span>{_below(column, f"{key}c{place}")}</th>'
        for place, column in enumerate(columns)
    )
    lines = []
    for row in range(len(columns[0].values) if columns else 0):
        cells = (_cell(spec, column, column.values[row], head=place == 0) for place, column in enumerate(columns))
        lines.append(f"<tr>{''.join(cells)}</tr>")
    popups = "".join(_popup(column, f"{key}c{place}") for place, column in enumerate(columns))
    caption = f"{escaped(title)}, {len(lines):,} {'row' if len(lines) == 1 else 'rows'}"
    return (
        f'<h3 id="{key}">{caption}</h3>\n<div class="scroll" tabindex="0" role="group" aria-labelledby="{key}">\n'
        f'<table class="sortable" aria-labelledby="{key}">\n'
        f"<thead><tr>{heads}</tr></thead>\n<tbody>\n{chr(10).join(lines)}\n</tbody></table>\n</div>\n{popups}\n"
    )


def _shared_html(columns: Sequence[Column], key: str, n_rows: int) -> str:
    items = "".join(
        f"<div><dt>{_breakable(column.name)} {_what(column, f'{key}{place}')}</dt>"
        f"<dd>{escaped(shown(column.name, column.values[0]))} {_unit(column.unit)}</dd></div>"
        for place, column in enumerate(columns)
    )
    popups = "".join(_popup(column, f"{key}{place}") for place, column in enumerate(columns))
    return f'<h3>The same in all {n_rows:,} rows</h3>\n<dl class="shared">{items}</dl>\n{popups}\n'


def _breakable(name: str) -> str:
    """A field's name that may be broken after an underscore or dot."""
    return escaped(name).replace("_", "_<wbr>").replace(".", ".<wbr>")


def _unit(unit: str) -> str:
    return f'<span class="unit">{escaped(unit)}</span>' if unit else ""


def _below(column: Column, key: str) -> str:
    """Second line of a heading: unit, and the way to the definition."""
    return f'<span class="below">{_unit(column.unit)} {_what(column, key)}</span>'


def _what(column: Column, key: str) -> str:
    """The button that opens a definition; it works without scripts."""
    label = f"definition of {escaped(column.name)}"
    return f'<button type="button" class="what" popovertarget="{key}" aria-label="{label}">?</button>'


def _popup(column: Column, key: str) -> str:
    unit = f"<p>Unit: {escaped(column.unit)}</p>" if column.unit else ""
    name = escaped(column.name)
    return (
        f'<div popover="auto" id="{key}" role="dialog" aria-label="{name}"><strong>{name}</strong>'
        f"<p>{escaped(column.definition)}</p>{unit}</div>\n"
    )


def _cell(spec: Spec, column: Column, value: Any, *, head: bool) -> str:
    """One cell; a number carries its exact value, by which it is sorted, what is none (nan) comes last as a gap does."""
    text = escaped(shown(column.name, value))
    order = f' data-value="{_exact(value)}"' if column.numeric and value is not None and not np.isnan(value) else ""
    if head:
        return f'<th scope="row"{order}>{text}</th>'
    if not column.numeric:
        return f'<td class="text">{text}</td>'
    if value is None:
        return "<td>-</td>"
    if _slower(spec, column.name, value):
        said = '<span class="said"> slower than serial</span>'
        text = f'<span class="slower"><span aria-hidden="true">&#9660;</span>{text}{said}</span>'
    return f"<td{order}>{text}</td>"


def _exact(value: float) -> str:
    """All digits of a number, of numpy's as of Python's; what is infinite as the page's script reads it."""
    if np.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return repr(float(value)) if isinstance(value, float) else repr(int(value))


def _slower(spec: Spec, name: str, value: float) -> bool:
    last = name.rpartition(".")[2]
    return (last in spec.gains and value < 1) or (last in spec.costs and value > 1)


def shown(name: str, value: Any) -> str:
    """A value as text, numbers to four digits and with commas, whole ones in full; names of blocks without.

    Examples
    --------
    >>> [shown("n_tx", 12345), shown("block_number", 12345), shown("x", 1.23456), shown("x", None), shown("x", True)]
    ['12,345', '12345', '1.235', '-', 'yes']
    >>> shown("x", 1.5e-7), shown("alone", ["waves", "bal"])
    ('1.5e-07', 'waves, bal')
    """
    if value is None or (isinstance(value, list | tuple) and not value):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return str(value) if name in _NAMES else f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}" if 0 < abs(value) < 1e-3 or not math.isfinite(value) else figure(value, 4)
    if isinstance(value, list | tuple):
        return ", ".join(shown(name, item) for item in value)
    return str(value)
