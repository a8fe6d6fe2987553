"""Results as a small HTML table for notebooks: whatever comes from data is escaped and cut, so no name can break a page."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape
from itertools import islice
from typing import Any, Final

__all__ = ["MOST_ROWS", "escaped", "readable", "table"]

#: Rows of content that are shown; the rest is counted.
MOST_ROWS: Final = 10
#: Characters of one cell.
_MOST_CHARACTERS: Final = 160
_LEFT: Final = ' style="text-align:left"'


#: What HTML drops, replaces or cannot encode, and what nobody sees: controls but tab and line feed, and lone surrogates.
_UNSEEN: Final = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def readable(text: str) -> str:
    """A text with control characters and lone surrogates, as in names of files, written as Python writes them.

    Examples
    --------
    >>> print(readable("a" + chr(0) + "b" + chr(0xDC80)))
    a\\x00b\\udc80
    """
    return _UNSEEN.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def escaped(text: str) -> str:
    """A text as HTML has it, `readable`.

    Examples
    --------
    >>> escaped("<b>")
    '&lt;b&gt;'
    """
    return escape(readable(text))


def table(
    caption: str,
    facts: Iterable[tuple[str, Any]],
    heads: Sequence[str] = (),
    rows: Iterable[Sequence[Any]] = (),
    total: int = 0,
    noun: str = "rows",
) -> str:
    """One table: a caption, facts as name and value, then the first rows of what there is more of.

    Parameters
    ----------
    caption : str
    facts : iterable of (str, value)
        One line each.
    heads : sequence of str
        Names of the columns of `rows`.
    rows : iterable of sequences
        Of cells; no more than `MOST_ROWS` are taken.
    total : int
        How many rows there are in all.
    noun : str
        What they are, for the last line, "… and 5 more".

    Returns
    -------
    str
        ``<table>…</table>``. Integers have commas; all text is escaped, and cut at 160 characters.

    Examples
    --------
    >>> table("two <b>", [("gas", 21000)])[:39], "21,000" in table("", [("gas", 21000)])
    ('<table><caption>two &lt;b&gt;</caption>', True)
    >>> "and 4 more keys" in table("many", [], ["key"], ([k] for k in range(14)), 14, "keys")
    True
    """
    shown = list(islice(rows, MOST_ROWS))
    span = f' colspan="{len(heads) - 1}"' if len(heads) > 2 else ""
    parts = [f"<table><caption>{_text(caption)}</caption>"]
    parts += [f"<tr><th{_LEFT}>{_text(name)}</th><td{span}{_LEFT}>{_text(value)}</td></tr>" for name, value in facts]
    if shown:
        parts.append("<tr>" + "".join(f"<th{_LEFT}>{_text(head)}</th>" for head in heads) + "</tr>")
        parts += ["<tr>" + "".join(f"<td{_LEFT}>{_text(cell)}</td>" for cell in row) + "</tr>" for row in shown]
    if total > len(shown):
        width = f' colspan="{len(heads)}"' if len(heads) > 1 else ""
        parts.append(f"<tr><td{width}{_LEFT}>… and {total - len(shown):,} more {_text(noun)}</td></tr>")
    return "".join([*parts, "</table>"])


def _text(value: Any) -> str:
    """A cell: numbers with commas, text cut, then escaped."""
    text = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
    return escaped(text if len(text) <= _MOST_CHARACTERS else text[: _MOST_CHARACTERS - 1] + "…")
