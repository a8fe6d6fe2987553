"""One page for a run: rows, figures and definitions in one file that fetches nothing and shows verified results only."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from ..errors import BlockError, ExecutionError
from ..fields import TABLES
from ..html import escaped
from ..io.paths import replacing
from ..metrics import describe_machine, versions
from .html_figures import Picture, Timed, pictures_of
from .html_specs import MAIN, definitions_of, spec_of
from .html_table import tables_of

__all__ = ["page_of", "write_page"]


#: Tables whose names are abbreviations.
_ACRONYMS: Final = ("bal", "evm")


def write_page(
    path: Path, rows: Sequence[Mapping[str, Any]], command: str, *, notes: Sequence[str] = (), timed: Timed | None = None
) -> None:
    """Write the page of a run; an interrupted write leaves the old file.

    Parameters
    ----------
    path : Path
        Of the page.
    rows, command, notes, timed
        As `page_of`.

    Raises
    ------
    PevmError
        As `page_of`, or if the file cannot be written.
    """
    text = page_of(rows, command, notes=notes, timed=timed, written=datetime.now(UTC))
    with replacing(path) as (temporary,):
        temporary.write_text(text, encoding="utf-8")


@dataclass(frozen=True)
class _Part:
    """A part of the page: its id, heading and HTML."""

    key: str
    title: str
    html: str


def page_of(
    rows: Sequence[Mapping[str, Any]],
    command: str,
    *,
    notes: Sequence[str] = (),
    timed: Timed | None = None,
    written: datetime | None = None,
) -> str:
    """The page of a run.

    Parameters
    ----------
    rows : sequence of mapping
        What ``--json`` writes: of the main benchmark, or told apart by `table`. At least one.
    command : str
        What made them, as typed.
    notes : sequence of str
        Sentences about all rows.
    timed : Timed, optional
        Of one block, for its Gantt chart.
    written : datetime, optional
        When; left out by default.

    Returns
    -------
    str
        A whole HTML document: scripts, style and figures are in it, and it forbids the browser to fetch anything.

    Raises
    ------
    BlockError
        If there is no row.
    ExecutionError
        If a row says that its result was not verified.
    PevmError
        If matplotlib is not installed.

    Examples
    --------
    >>> row = {"table": "missed keys", "cause": "<new>", "keys": 3, "share": 1.0, "verified": True}
    >>> page = page_of([row], "python -m pevm_numba.bench predict corpus")
    >>> page[:15], "&lt;new&gt;" in page, "<new>" in page
    ('<!DOCTYPE html>', True, False)
    """
    if not rows:
        raise BlockError("rows: empty: a page needs at least one")
    tables: dict[str, list[Mapping[str, Any]]] = {}
    for place, row in enumerate(rows):
        if row.get("verified", True) is not True:
            raise ExecutionError(f"rows[{place}].verified = {row['verified']!r}: a page shows verified results only")
        tables.setdefault(row.get("table", MAIN), []).append(row)
    parts = [_Part("compared", "What was compared", _compared_html(tables))]
    if notes:
        items = "".join(f"<li>{escaped(note)}</li>\n" for note in notes)
        parts.append(_Part("summary", "Summary", f"<ul>{items}</ul>\n"))
    figures = pictures_of(tables, timed)
    if figures:
        parts.append(_Part("figures", "Figures", f'<div class="figures">{"".join(map(_figure_html, figures))}</div>'))
    for place, (table, mine) in enumerate(tables.items()):
        title = _heading(table)
        parts.append(_Part(f"table{place}", title, tables_of(table, mine, place) + _words_html(table)))
    parts.append(_Part("machine", "Machine and versions", _machine_html(rows[0])))
    return _document(_title(tables), command, parts, written)


def _title(tables: Mapping[str, Any]) -> str:
    first = next(iter(tables))
    return "Parallel against serial execution" if first == MAIN else f"Benchmark: {TABLES[first][0]}"


def _heading(table: str) -> str:
    return "Results" if table == MAIN else table.upper() if table in _ACRONYMS else table[0].upper() + table[1:]


def _compared_html(tables: Mapping[str, Sequence[Any]]) -> str:
    """What `verified` means for each table, or what its spec says instead."""
    said: dict[str, list[str]] = {}
    for table in tables:
        text = spec_of(table).compared or definitions_of(table)["verified"][1]
        said.setdefault(text, []).append(_heading(table))
    heads = ("" if MAIN in tables else f"<strong>{escaped(', '.join(names))}</strong>: " for names in said.values())
    items = (f"<li>{head}{escaped(_sentence(text))}</li>" for head, text in zip(heads, said))
    lead = "Only results that passed are on this page; a run with any other ends without one."
    return f"<p>{lead}</p>\n<ul>{''.join(items)}</ul>\n"


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + ("" if text.endswith(".") else ".")


def _figure_html(picture: Picture) -> str:
    return (
        f"<figure><h3>{escaped(picture.title)}</h3>\n{picture.svg}\n<figcaption>{escaped(picture.caption)}</figcaption></figure>\n"
    )


def _words_html(table: str) -> str:
    """All definitions of a table in one list, for reading and for paper."""
    words = "".join(
        f"<dt>{escaped(name)}{f' ({escaped(unit)})' if unit else ''}</dt><dd>{escaped(_sentence(text))}</dd>\n"
        for name, (unit, text) in definitions_of(table).items()
    )
    return f'<details class="words"><summary>All definitions</summary>\n<dl class="words">{words}</dl></details>\n'


def _machine_html(row: Mapping[str, Any]) -> str:
    facts = {**row.get("machine", describe_machine()), **row.get("versions", versions())}
    items = "".join(f"<div><dt>{escaped(name)}</dt><dd>{escaped(str(value))}</dd></div>" for name, value in facts.items())
    return f'<dl class="shared">{items}</dl>\n'


def _document(title: str, command: str, parts: Sequence[_Part], written: datetime | None) -> str:
    """The document around its parts; its policy allows its own script, by hash, inline style, and inline images."""
    script, style = (files(__package__).joinpath(f"html_page.{kind}").read_text("utf-8") for kind in ("js", "css"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src data:"
    when = "" if written is None else f"<p>Written {written:%Y-%m-%d %H:%M} UTC.</p>\n"
    links = "".join(f'<li><a href="#{part.key}">{escaped(part.title)}</a></li>' for part in parts)
    body = "".join(f'<section id="{part.key}"><h2>{escaped(part.title)}</h2>\n{part.html}</section>\n' for part in parts)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escaped(title)}</title>\n<style>{style}</style>\n</head>\n<body>\n"
        f'<header><h1>{escaped(title)}</h1>\n<pre><code>{escaped(command)}</code></pre>\n{when}'
        f'<nav aria-label="Parts"><ul>{links}</ul></nav></header>\n<main>\n{body}</main>\n'
        f"<script>{script}</script>\n</body>\n</html>\n"
    )
