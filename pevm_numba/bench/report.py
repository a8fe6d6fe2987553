"""Showing measurements: a table for people, a JSON list for programs. A cell slower than serial is marked, not hidden."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from ..io.paths import replacing

__all__ = ["comparison_line", "show", "summary_lines", "table", "write_json"]

#: Columns: heading, heading in narrow terminals, narrowest width at which it is shown. Those named in `_SOMETIMES` only where
#: a row has something to show there.
_COLUMNS = (
    ("block", "block", 0), ("executor", "executor", 0), ("txs", "txs", 0), ("conflict %", "conf %", 110),
    ("waves", "waves", 0), ("critical path", "path", 0),
    ("serial ms", "serial", 0), ("parallel ms", "par.", 0), ("execute ms", "exec.", 110),
    ("speedup", "x", 0), ("exec. speedup", "exec. x", 0), ("bound", "bound", 0), ("share %", "share", 110),
    ("waited", "waited", 130), ("run again", "again", 130), ("put off", "put off", 130), ("verified", "verified", 140),
)  # fmt: skip
_SOMETIMES = {
    "waves": lambda row: row["waves"], "waited": lambda row: row["waits"], "run again": lambda row: row["reexecuted"],
    "put off": lambda row: row["requeued"],
}  # fmt: skip

#: From this width on the headings are written out.
_WIDE = 220


def table(results: Sequence[dict[str, Any]], width: int = 240) -> Table:
    """One row for each measurement; fewer columns and shorter headings where the terminal is narrow."""
    names = {r["executor"] for r in results}
    what = f"{next(iter(names))} against serial execution" if len(names) == 1 else "parallel and serial execution"
    first, workers = results[0], max(r["workers"] for r in results)
    work = f", {first['work_us']:g} us of work added to each transaction" if first["work_us"] else ""
    title = f"{what}, {workers} worker{'s' if workers > 1 else ''}, milliseconds{work}"
    shown = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1 if width >= _WIDE else 0))
    kept = [least <= width and _has_content(name, results) for name, _, least in _COLUMNS]
    for (wide, narrow, _), keep in zip(_COLUMNS, kept):
        if keep:
            heading = wide if width >= _WIDE else narrow
            shown.add_column(heading, justify="left" if wide in ("block", "executor") else "right", no_wrap=True)
    for row in results:
        shown.add_row(*(cell for cell, keep in zip(_cells(row), kept) if keep))
    return shown


def _has_content(column: str, results: Sequence[dict[str, Any]]) -> bool:
    if column == "executor":
        return len({r["executor"] for r in results}) > 1
    return column not in _SOMETIMES or any(_SOMETIMES[column](row) for row in results)


def _cells(row: dict[str, Any]) -> list[str]:
    rate = f"{100 * row['conflict_rate']:.3g}" + ("" if row["conflict_rate_exact"] else "~")
    digits = 3 if row["serial_time_ms"] < 100 else 1
    return [
        row["scenario"], row["executor"], f"{row['n_tx']:,}", rate, f"{row['waves']:,}", f"{row['critical_path']:,}",
        *(f"{row[name]:.{digits}f}" for name in ("serial_time_ms", "parallel_time_ms", "execute_time_ms")),
        _ratio(row["speedup"]), _ratio(row["speedup_execute"]),
        "-" if row["bound"] is None else f"{row['bound']:.2f}",
        "-" if row["bound_share"] is None else f"{100 * row['bound_share']:.0f}",
        f"{row['waits']:,}", f"{row['reexecuted']:,}", f"{row['requeued']:,}", "yes" if row["verified"] else "NO",
    ]  # fmt: skip


def _ratio(value: float | None) -> str:
    if value is None:
        return "-"
    return f"[red]{value:.2f}[/red]" if value < 1 else f"{value:.2f}"


def summary_lines(results: Sequence[dict[str, Any]]) -> list[str]:
    """What holds over all rows; rows that are themselves serial are left out of comparisons."""
    n_tx = sum(r["n_tx"] for r in results)
    lines = [
        ("1 result verified" if len(results) == 1 else f"All {len(results)} results verified")
        + f" ({n_tx:,} transactions): receipts, observed accesses and state equal to serial execution."
    ]
    by_executor: dict[str, list[dict[str, Any]]] = {}
    for r in results:
        if r["executor"] != "serial" and r["n_tx"]:
            by_executor.setdefault(r["executor"], []).append(r)
    for name, rows in by_executor.items():
        lines += _comparison(rows, "In all" if len(by_executor) == 1 else name)
    lines += _chain_gas(results)
    return lines


def _comparison(rows: Sequence[dict[str, Any]], head: str) -> list[str]:
    """What holds for the rows of one executor."""
    serial, parallel, execute, cpu = (
        sum(r[name] for r in rows) for name in ("serial_time_ms", "parallel_time_ms", "execute_time_ms", "cpu_ms")
    )
    slower, slower_execute = (sum(r[name] < 1 for r in rows) for name in ("speedup", "speedup_execute"))
    share = 100 * float(np.median([r["bound_share"] for r in rows]))
    quiet, rounds = sum(r["rounds_quiet"] for r in rows), sum(r["rounds"] for r in rows)
    lines = [
        f"{head}: serial {serial:.2f} ms; parallel {parallel:.2f} ms end to end ({serial / parallel:.2f}x, "
        f"{cpu:.2f} ms of CPU time), {execute:.2f} ms of it execution ({serial / execute:.2f}x).",
        f"Slower than serial (red): {slower} of {len(rows)} end to end, {slower_execute} by execution alone. "
        f"Median share of the bound: {share:.0f} %.",
    ]
    waves = [r for r in rows if r["executor"] == "waves"]
    alone = sum(r["parallel_waves"] == 0 for r in waves)
    if alone:
        lines.append(f"In {alone} of {len(waves)} no wave held enough work for more than one thread.")
    for reason, count in Counter(r["reason"] for r in rows if r["reason"].startswith("serial")).most_common(3):
        lines.append(f"In {count} of {len(rows)} run on one thread: {reason.removeprefix('serial: ')}.")
    seen = sum(r["oracle"] == "observed" for r in rows)
    if seen:
        lines.append(f"In {seen} of {len(rows)} a serial run told the access sets beforehand, which no time includes.")
    again = sum(r["reexecuted"] for r in rows)
    if again:
        lines.append(f"Thrown away and run again: {again:,}; given up for dataflow: {sum(r['fallback'] for r in rows)}.")
    if quiet < 0.9 * rounds:
        lines.append(f"Only {quiet} of {rounds} rounds were quiet: other processes used the cores, which ruins waves most.")
    return lines


def _chain_gas(results: Sequence[dict[str, Any]]) -> list[str]:
    known = [r for r in results if r["chain_gas_exact"] is not None]
    if not known:
        return []
    exact, total = sum(r["chain_gas_exact"] for r in known), sum(r["n_tx"] for r in known)
    text = f"Gas used equals the chain's for {exact:,} of {total:,} transactions"
    free = [r for r in known if r["fork"] == "free"]
    if free:
        inside, of = sum(r["chain_gas_exact"] for r in free), sum(r["n_tx"] for r in free)
        text += (
            f"; {exact - inside:,} of {total - of:,} by the machine's own rules (from Berlin on), {inside:,} of {of:,} in "
            "replays whose gas is made up by NOOP and BURN, without refunds"
        )
    return [text + "."]


def comparison_line(name: str, index_ms: float, naive_ms: float, pairs: int) -> str:
    """Index against all pairs, in words."""
    return (
        f"Conflict graph of {name} ({pairs:,} pairs): {index_ms:.2f} ms by key index, {naive_ms:.2f} ms by testing all "
        f"pairs ({naive_ms / max(index_ms, 1e-9):.1f}x), equal."
    )


def write_json(path: Path, value: Any) -> None:
    """Write JSON; an interrupted write leaves the old file."""
    with replacing(path) as (temporary,):
        temporary.write_text(json.dumps(value, indent=2) + "\n")


def show(results: Sequence[dict[str, Any]], lines: Sequence[str]) -> None:
    """Print table, summary and further lines; a piped table is as wide as it needs to be."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(width=240, highlight=False)
    console.print(table(results, console.width))
    for line in [*summary_lines(results), *lines]:
        console.print(line, markup=False, soft_wrap=not console.is_terminal)
