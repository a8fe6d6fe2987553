"""Showing measurements: a table for people, a JSON list for programs. A cell slower than serial is marked, not hidden."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from ..io.paths import replacing

__all__ = ["comparison_line", "show", "summary_lines", "table", "write_json"]

_COLUMNS = (
    ("block", "left"), ("txs", "right"), ("conflict %", "right"), ("waves", "right"), ("crit. path", "right"),
    ("serial ms", "right"), ("parallel ms", "right"), ("execute ms", "right"), ("speedup", "right"),
    ("exec. speedup", "right"), ("bound", "right"), ("share %", "right"), ("requeued", "right"), ("verified", "right"),
)  # fmt: skip


def table(results: Sequence[dict[str, Any]]) -> Table:
    """One row for each measurement."""
    first, workers = results[0], max(r["workers"] for r in results)
    what = f"{first['executor'] if len({r['executor'] for r in results}) == 1 else 'parallel'} against serial execution"
    work = f", {first['work_us']:g} us of work added to each transaction" if first["work_us"] else ""
    shown = Table(title=f"{what}, {workers} worker{'s' if workers > 1 else ''}{work}", title_justify="left")
    for name, justify in _COLUMNS:
        shown.add_column(name, justify=justify, no_wrap=True)  # type: ignore[arg-type]  # a literal string
    for row in results:
        shown.add_row(*_cells(row))
    return shown


def _cells(row: dict[str, Any]) -> list[str]:
    rate = f"{100 * row['conflict_rate']:.3g}" + ("" if row["conflict_rate_exact"] else "~")
    return [
        row["scenario"] + (f" ({row['executor']})" if row["executor"] == "serial" else ""),
        f"{row['n_tx']:,}", rate, f"{row['waves']:,}", f"{row['critical_path']:,}",
        f"{row['serial_time_ms']:.3f}", f"{row['parallel_time_ms']:.3f}", f"{row['execute_time_ms']:.3f}",
        _ratio(row["speedup"]), _ratio(row["speedup_execute"]), f"{row['bound']:.2f}",
        "-" if row["bound_share"] is None else f"{100 * row['bound_share']:.0f}",
        f"{row['requeued']:,}", "yes" if row["verified"] else "NO",
    ]  # fmt: skip


def _ratio(value: float | None) -> str:
    if value is None:
        return "-"
    return f"[red]{value:.2f}[/red]" if value < 1 else f"{value:.2f}"


def summary_lines(results: Sequence[dict[str, Any]]) -> list[str]:
    """What holds over all rows."""
    n_tx = sum(r["n_tx"] for r in results)
    serial, parallel, execute, cpu = (
        sum(r[name] for r in results) for name in ("serial_time_ms", "parallel_time_ms", "execute_time_ms", "cpu_ms")
    )
    slower = sum(r["speedup"] is not None and r["speedup"] < 1 for r in results)
    slower_execute = sum(r["speedup_execute"] is not None and r["speedup_execute"] < 1 for r in results)
    shares = [r["bound_share"] for r in results if r["bound_share"] is not None and r["n_tx"]]
    lines = [
        f"{len(results)} measurements, {n_tx:,} transactions, all {sum(r['verified'] for r in results)} verified: "
        "receipts, observed accesses and state equal to serial execution.",
        f"In all: serial {serial:.2f} ms, parallel {parallel:.2f} ms end to end ({serial / max(parallel, 1e-9):.2f}x; "
        f"{cpu:.2f} ms of CPU time), execution alone {execute:.2f} ms ({serial / max(execute, 1e-9):.2f}x).",
        f"Slower than serial: {slower} of {len(results)} end to end, {slower_execute} by execution alone (in red).",
    ]
    if shares:
        lines.append(f"Median share of the bound reached by execution: {100 * float(np.median(shares)):.0f} %.")
    known = [r for r in results if r["chain_gas_exact"] is not None]
    if known:
        exact, total = sum(r["chain_gas_exact"] for r in known), sum(r["n_tx"] for r in known)
        lines.append(f"Gas used equals the chain's for {exact:,} of {total:,} transactions whose gas is known.")
    return lines


def comparison_line(name: str, index_ms: float, naive_ms: float, pairs: int) -> str:
    """Index against all pairs, in words."""
    return (
        f"Conflict graph of {name} ({pairs:,} pairs): {index_ms:.2f} ms by key index, {naive_ms:.2f} ms by testing all "
        f"pairs ({naive_ms / max(index_ms, 1e-9):.0f}x), equal."
    )


def write_json(path: Path, value: Any) -> None:
    """Write JSON; an interrupted write leaves the old file."""
    with replacing(path) as (temporary,):
        temporary.write_text(json.dumps(value, indent=2) + "\n")


def show(console: Console, results: Sequence[dict[str, Any]]) -> None:
    """Print table and summary; a piped table is as wide as it needs to be."""
    if not console.is_terminal:
        console = Console(width=220, highlight=False)
    console.print(table(results))
    for line in summary_lines(results):
        console.print(line, highlight=False)
