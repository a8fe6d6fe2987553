"""Tables over a folder of real blocks: a mean over blocks says little where half of them hold a handful of transactions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from ..access.oracles import access_sets
from ..block import Block
from ..console import progress
from ..errors import ExecutionError, FileFormatError
from ..io.files import block_numbers, kind_of, read_blocks
from ..io.paths import existing
from ..schedule.dependencies import dependencies
from ..schedule.listing import list_timeline, priority_order, wave_timeline
from ..schedule.policies import schedule
from ..schedule.simulate import compare
from ..survey.definitions import DEFINITIONS, chain_gas, definition_row
from .bal import bal_table
from .html_target import Page
from .outputs import check_outputs, write_outputs
from .tables import figure, print_paragraph, print_table

__all__ = ["WORKERS", "definition_summary", "model_rows", "model_summary", "run", "worker_rows", "worker_summary"]

#: Simulated workers.
WORKERS: Final = (8, 16)
_LISTS: Final = "eip7928_accesses.parquet"
_TRACES: Final = "op_trace"


def _spread(values: Sequence[float]) -> dict[str, float]:
    given = np.asarray(values, np.float64)
    figures = given.mean(), np.median(given), given.min(), given.max()
    return dict(zip(("mean", "median", "least", "most"), map(float, figures)))


# -------------------------------------------------------------------- definitions


def definition_summary(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Over blocks, for each definition: spreads of the critical path and of work/span, means of waves, sums of pairs.

    Blocks without transactions are left out.
    """
    out = []
    for name in dict.fromkeys(row["definition"] for row in rows):
        chosen = [row for row in rows if row["definition"] == name and row["n_tx"]]
        one: dict[str, Any] = {"table": "definitions summary", "definition": name, "blocks": len(chosen)}
        for field in ("path_txs", "work_span_txs", "work_span_gas"):
            values = [row[field] for row in chosen if row[field] is not None]
            one[field] = _spread(values) if values else None
        for field in ("levels_waves", "mis_waves"):
            values = [row[field] for row in chosen if row[field] is not None]
            one[field] = float(np.mean(values)) if values else None
        for field in ("pairs", "misordered"):
            values = [row[field] for row in chosen if row[field] is not None]
            one[field] = sum(values) if values else None
        one["blocks_misordered"] = sum(bool(row["misordered"]) for row in chosen) if one["pairs"] is not None else None
        out.append(one)
    return out


# -------------------------------------------------------------------- simulated workers


def worker_rows(block: Block, workers: Sequence[int] = WORKERS) -> list[dict[str, Any]]:
    """Simulated makespans of one block in gas: barrier waves, list scheduling, and what no schedule in block order beats.

    Parameters
    ----------
    block : Block
        With the chain's gas and at least one transaction.
    workers : sequence of int

    Returns
    -------
    list of dict
        For each number of workers `waves`, `list`, `bound` in gas; bound = max(gas / workers, critical path).

    Raises
    ------
    ExecutionError
        If a makespan lies outside of what theory allows.
    """
    access, gas = access_sets(block), chain_gas(block)
    if gas is None or not block.n_tx:
        raise FileFormatError(f"block {block.number}: has no transactions, or the chain's gas is not known")
    deps, levels = dependencies(access), schedule(access)
    total, path = float(gas.sum()), float(deps.critical_path(gas)[0])
    order = priority_order(deps, gas, "longest-path")
    rows = []
    for p in workers:
        bound = max(total / p, path)
        waves = wave_timeline(levels.wave_indptr, levels.wave_tx, p, gas).makespan
        listed = list_timeline(deps, order, p, gas).makespan
        graham = total / p + (1 - 1 / p) * path
        if not (bound - 1e-6 <= listed <= graham + 1e-6 and bound - 1e-6 <= waves):
            raise ExecutionError(f"block {block.number}, {p} workers: a makespan is outside of its bounds")
        rows.append({
            "table": "workers", "block_number": block.number, "n_tx": block.n_tx, "workers": p, "gas": total,
            "waves": waves, "list": listed, "bound": bound,
        })  # fmt: skip
    return rows


def worker_summary(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Over blocks, for each number of workers and way: speed-ups, and the share of the bound reached, in all."""
    out = []
    for p in dict.fromkeys(row["workers"] for row in rows):
        chosen = [row for row in rows if row["workers"] == p]
        for way in ("waves", "list", "bound"):
            gas, time = sum(row["gas"] for row in chosen), sum(row[way] for row in chosen)
            shares = [row["bound"] / row[way] for row in chosen]
            out.append({
                "table": "workers summary", "workers": p, "way": way, "blocks": len(chosen), "total": gas / time,
                "share_of_bound": sum(row["bound"] for row in chosen) / time,
                "blocks_at_bound": sum(share > 1 - 1e-9 for share in shares),
            } | _spread([row["gas"] / row[way] for row in chosen]))  # fmt: skip
    return out


# -------------------------------------------------------------------- showing


def model_rows(block: Block, workers: Sequence[int] = WORKERS) -> list[dict[str, Any]]:
    """Every simulated way of executing a block, in the chain's gas and without overheads."""
    return [
        {"table": "models", "block_number": block.number, "n_tx": block.n_tx} | run.row()
        for run in compare(block, workers=list(workers), cost="chain-gas")
    ]


def model_summary(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """For each model and number of workers the sums over blocks."""
    groups: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["model"], row["workers"]), []).append(row)
    found = []
    for (model, p), runs in groups.items():
        serial, makespan, wasted, bound, busy = (
            sum(run[name] for run in runs) for name in ("serial", "makespan", "wasted", "bound", "busy")
        )
        found.append({
            "table": "models summary", "model": model, "workers": p, "order": runs[0]["order"], "blocks": len(runs),
            "total": serial / makespan, "share_of_bound": bound / makespan, "wasted_share": wasted / busy,
            "reexecutions": sum(run["reexecutions"] for run in runs), "n_tx": sum(run["n_tx"] for run in runs),
        })  # fmt: skip
    return found


def _show_bal(rows: Sequence[dict[str, Any]], verbose: bool) -> None:
    title = (
        f"EIP-7928 lists, {len(rows)} blocks ({rows[0]['block_number']} to {rows[-1]['block_number']}): storage writes "
        "only, consecutive writers of a slot as edges, cost = 1 a transaction"
    )
    if verbose:
        body = [
            [f"{r['block_number']}", f"{r['n_tx']:,}", f"{r['critical_path']:,}", f"{100 * r['isolated_share']:.1f}"]
            for r in rows
        ]
        print_table(title, ["block", "txs", "critical path", "isolated %"], body)
    body = []
    for name, field, scale in (
        ("transactions", "n_tx", 1.0), ("critical path, transactions", "critical_path", 1.0),
        ("isolated, % of transactions", "isolated_share", 100.0),
    ):  # fmt: skip
        spread = _spread([scale * row[field] for row in rows])
        body.append([name, *(f"{spread[key]:,.1f}" for key in ("mean", "median", "least", "most"))])
    print_table(title, ["", "mean", "median", "least", "most"], body)
    n_tx, alone = sum(row["n_tx"] for row in rows), sum(row["isolated"] for row in rows)
    print_paragraph(f"{alone:,} of all {n_tx:,} transactions are isolated: {100 * alone / max(1, n_tx):.1f} %.")


def _show_every(rows: Sequence[dict[str, Any]], source: str) -> None:
    headings = ["block, dependencies", "path", "txs/path", "gas/path", "levels", "mis", "pairs", "misordered"]
    fields = ("path_txs", "work_span_txs", "work_span_gas", "levels_waves", "mis_waves", "pairs", "misordered")
    body: list[list[str]] = []
    last = None
    for row in rows:
        if row["block_number"] != last:
            body += [[], [f"{row['block_number']}, {row['n_tx']:,} transactions"]]
        last = row["block_number"]
        body.append([f"  {row['definition']}", *(_cell(row[name]) for name in fields)])
    print_table(f"{source}, every block, by which dependencies count", headings, body[1:], [3, 4])


def _show_definitions(summary: Sequence[dict[str, Any]], source: str) -> None:
    headings = [
        "dependencies", "path", "median", "most", "levels", "mis", "txs/path", "median", "gas/path", "median",
        "pairs", "misordered", "in blocks",
    ]  # fmt: skip
    body = []
    for one in summary:
        spans = [figure(one[f][k]) if one[f] else "-" for f in ("work_span_txs", "work_span_gas") for k in ("mean", "median")]
        path = [figure(one["path_txs"][k]) for k in ("mean", "median", "most")]
        waves, pairs = (
            [_cell(one[f]) for f in fields]
            for fields in (("levels_waves", "mis_waves"), ("pairs", "misordered", "blocks_misordered"))
        )
        body.append([one["definition"], *path, *waves, *spans, *pairs])
    title = f"{source}, {summary[0]['blocks']} blocks with transactions, by which dependencies count"
    print_table(title, headings, body, [3, 2, 4, 3])
    print_paragraph(
        "path: critical path in transactions, mean, median and most over the blocks.",
        "levels, mis: mean number of waves. txs/path, gas/path: transactions over the critical path in transactions, and gas",
        "over the one in gas (work / span), mean and median. misordered: conflicting pairs that mis would run against block",
        "order, were it used to validate, and in how many blocks.",
        "mis keeps each sender's nonces in order, which levels gets from block order.",
    )


def _cell(value: float | None) -> str:
    return f"{value:,}" if isinstance(value, int) else figure(value)


def _show_workers(summary: Sequence[dict[str, Any]], source: str) -> None:
    names = {"waves": "waves (levels)", "list": "list, longest path", "bound": "bound"}
    body: list[list[str]] = []
    for one in summary:
        if one["way"] == "waves":
            body += [[], [f"{one['workers']} workers"]]
        figures = (one["total"], one["mean"], one["median"], one["least"], one["most"])
        share = f"{100 * one['share_of_bound']:.1f}"
        cells = [*(f"{value:,.2f}" for value in figures), share, f"{one['blocks_at_bound']:,}"]
        body.append([f"  {names[one['way']]}", *cells])
    headings = ["", "in all", "mean", "median", "least", "most", "% bound", "at bound"]
    title = (
        f"{source}, {summary[0]['blocks']} blocks: speed-up over one worker, simulated, cost = gas; every dependency, "
        "credits commute"
    )
    print_table(title, headings, body[1:], [5, 2])
    print_paragraph(
        "waves: with a barrier after each. list: list scheduling, longest path first.",
        "bound: no schedule in block order beats max(gas / workers, critical path).",
        "in all: gas of all blocks / sum of their makespans.",
        "% bound: share of the bound's speed-up in all. at bound: blocks whose makespan is the bound itself.",
    )


def _show_models(summary: Sequence[dict[str, Any]]) -> None:
    body: list[list[str]] = []
    last = 0
    for one in sorted(summary, key=lambda one: one["workers"]):
        if one["workers"] != last:
            body += [[], [f"{one['workers']} workers"]]
        last = one["workers"]
        body.append([
            f"  {one['model']}", f"{one['total']:,.2f}", f"{100 * one['share_of_bound']:.1f}", f"{one['reexecutions']:,}",
            f"{100 * one['wasted_share']:.1f}", "yes" if one["order"] == "block" else "no",
        ])  # fmt: skip
    title = f"The same {summary[0]['blocks']} blocks, {summary[0]['n_tx']:,} transactions, by model, without overheads"
    headings = ["", "in all", "% bound", "again", "% wasted", "block order"]
    print_table(title, headings, body[1:])
    print_paragraph(
        "% bound: of the bound on what the model must keep, see simulate. again: executions thrown away.",
        "% wasted: of the gas executed. block order: whether the result is the block's.",
    )


# -------------------------------------------------------------------- the command


def _blocks(folder: Path) -> Iterator[Block]:
    return progress(read_blocks(folder), "blocks", len(block_numbers(folder)))


def _lists(path: Path) -> Path:
    """Where the file of decoded lists is, if anywhere: the path itself, in it, or in its folder bal."""
    if path.name == _LISTS:
        return path
    direct = path / _LISTS
    return direct if direct.exists() else path / "bal" / _LISTS


def _sources(path: Path) -> tuple[Path | None, Path | None]:
    """The file of decoded lists, and the blocks, each if it is there: blocks are in a folder of the path, or are the path."""
    lists, traces = _lists(path), path / _TRACES
    if lists.exists() or traces.exists():
        return lists if lists.exists() else None, traces if traces.exists() else None
    try:
        kind_of(path)
    except FileFormatError as cause:
        reason = str(cause).removeprefix(f"{path}: ")
        rule = f"must be blocks, or a folder that holds bal/{_LISTS} or {_LISTS} or {_TRACES}"
        raise FileFormatError(f"{path}: {rule}; as blocks: {reason}") from cause
    return None, path


def _block_tables(path: Path, verbose: bool) -> list[dict[str, Any]]:
    """Show and give what is known of blocks: by definition of dependencies, and where gas is known by simulated workers."""
    rows: list[dict[str, Any]] = []
    simulated: list[dict[str, Any]] = []
    models: list[dict[str, Any]] = []
    source = kind_of(path).value
    for block in _blocks(path):
        rows += [definition_row(block, definition) for definition in DEFINITIONS]
        if block.n_tx and chain_gas(block) is not None:
            simulated += worker_rows(block)
            models += model_rows(block)
    summary = definition_summary(rows)
    if any(one["blocks"] for one in summary):
        if verbose:
            _show_every(rows, source)
        _show_definitions(summary, source)
    results = [*rows, *summary]
    if simulated:
        speeds, ways = worker_summary(simulated), model_summary(models)
        _show_workers(speeds, source)
        _show_models(ways)
        results += [*simulated, *speeds, *models, *ways]
    return results


def run(
    path: Path, json_path: Path | None = None, page: Page | None = None, *, verbose: bool = False
) -> list[dict[str, Any]]:
    """Work the tables out, show them, and write JSON and page if asked.

    Parameters
    ----------
    path : Path
        Blocks, such as a folder of cryo datasets or op_trace files; or a folder that has ``op_trace``,
        ``bal/eip7928_accesses.parquet`` or both; or the folder ``bal``, or its file.
    json_path : Path, optional
        For a list of objects, told apart by `table`.
    page : Page, optional
        To show the same objects.
    verbose : bool
        Show every block.

    Raises
    ------
    PevmError
        On bad input.
    """
    check_outputs(json_path, page, [path])
    existing(path)
    lists, blocks = _sources(path)
    results: list[dict[str, Any]] = []
    if lists is not None:
        results += bal_table(lists)
        _show_bal(results, verbose)
    if blocks is not None:
        results += _block_tables(blocks, verbose)
    write_outputs(json_path, page, results)
    return results
