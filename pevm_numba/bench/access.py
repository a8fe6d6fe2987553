"""Access lists of real blocks: how large, how fast, what they are worth to transactions, what they tell of dependencies."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from ..access.eip2930 import EIP_7981, cheapest_list, list_difference, list_prices
from ..access.eip2930_tried import OptimalList, optimal_access_lists
from ..access.eip7928 import Eip7928List
from ..access.eip7928_build import list_of_evm
from ..access.eip7928_compare import differences
from ..access.eip7928_rules import ITEM_COST
from ..access.eip7928_sets import READS, sets_of_list
from ..access.eip7928_wire import encode
from ..access.sets import AccessSets
from ..access.view import select
from ..console import progress
from ..errors import ExecutionError
from ..evm.block import EvmBlock
from ..evm.forks import Fork
from ..execute.evm_result import EvmExecution
from ..execute.run import execute
from ..io.evm_tables import chosen_numbers, read_evm_blocks
from ..io.files import read_block
from ..machine.ops import Mode
from ..schedule.dependencies import dependencies
from .html_target import Page
from .outputs import check_outputs, write_outputs
from .rounds import interleaved
from .tables import figure, print_paragraph, print_table

__all__ = ["block_list_rows", "dependency_rows", "run", "transaction_rows"]

_TRACES: Final = "op_trace"
_JOBS: Final = ("build", "validate", "encode", "decode")
#: Which keys count, and which edges; see `dependencies`.
_DEFINITIONS: Final = (("all", "all"), ("storage", "all"), ("all", "raw"), ("storage", "raw"))
_COUNTED: Final = ("accesses", "accounts", "slots", "reads", "changes")


# -------------------------------------------------------------------- EIP-7928


def block_list_rows(block: EvmBlock, done: EvmExecution, rounds: int) -> dict[str, Any]:
    """Size of a block's list, and the times that it takes to make it, compare it with what the block did, write and read it.

    Parameters
    ----------
    block : EvmBlock
    done : EvmExecution
        What it did.
    rounds : int
        Times are medians of so many.

    Raises
    ------
    ExecutionError
        If the list does not come back as it was.
    """
    listed = done.eip7928_list()
    data = listed.encode()
    again = Eip7928List.decode(data)
    if again != listed or list(differences(again, listed)):
        raise ExecutionError(f"block {block.number}: the list does not come back as it was")
    jobs = {
        "build": lambda: list_of_evm(done.accesses),
        "validate": lambda: list(differences(Eip7928List(listed.columns), list_of_evm(done.accesses))),
        "encode": lambda: encode(listed.columns), "decode": lambda: Eip7928List.decode(data),
    }  # fmt: skip
    times = interleaved(jobs, rounds)
    gas = int(done.gas_used.sum())
    return {
        "table": "block list", "block_number": block.number, "fork": block.fork, "n_tx": block.n_tx, "gas": gas,
        "accesses": done.observed.n_accesses, "accounts": len(listed), "slots": len(listed.columns.slot),
        "reads": len(listed.columns.read), "changes": listed.n_changes, "items": listed.n_items,
        "items_bound": block.env.gas_limit // ITEM_COST, "bytes": len(data), "code_bytes": len(listed.columns.code_data),
        "hash": listed.hash().hex(), "verified": True, **{f"{name}_ns": one.median for name, one in times.items()},
    }  # fmt: skip


def _unlike_trace(folder: Path, block: EvmBlock, done: EvmExecution) -> int | None:
    """In how many entries the list differs from that of the trace of another machine; None if there is no trace."""
    if not (folder / _TRACES).is_dir():
        return None
    trace = execute(read_block(folder / _TRACES, block.number), "serial", record="changes")
    return len(list(differences(trace.eip7928_list(done.accesses.codes), done.eip7928_list())))


# -------------------------------------------------------------------- EIP-2930


def transaction_rows(block: EvmBlock, done: EvmExecution) -> list[dict[str, Any]]:
    """Of each transaction the best list of those tried, verified by running it, and what the one that it carries is worth.

    Raises
    ------
    ExecutionError
        If a transaction that is as it was tried, without a list or with the best one, takes other gas in the block.
    """
    rows, cost = [], list_prices(block.env.fork)
    for t, best in enumerate(optimal_access_lists(block)):
        tx, gas = block.transactions[t], int(done.gas_used[t])
        tried = {best.entries: best.gas_used, (): best.gas_without}
        if tried.get(tx.access_list, gas) != gas or best.gas_used > best.gas_without:
            what = f"{gas:,} gas in it, {best.gas_without:,} without a list, {best.gas_used:,} with the best"
            raise ExecutionError(f"block {block.number}, transaction {t}: {what}")
        code = tx.to is None or bool(block.state.get(tx.to, (0, 0, b"", {}))[2])
        rows.append({
            "table": "transaction list", "block_number": block.number, "tx": t, "runs_code": code, "gas": gas,
            "gas_without": best.gas_without, "gas_best": best.gas_used, "expected": best.expected,
            "addresses": len(best.entries), "slots": sum(len(slots) for _, slots in best.entries),
            "saved_eip7981": cheapest_list(best.accessed, EIP_7981)[1], "verified": True,
            **_carried(tx.access_list, best, cost, gas),
        })  # fmt: skip
    return rows


def _carried(entries: Any, best: OptimalList, cost: Any, gas: int) -> dict[str, Any]:
    """About the list that a transaction carries, if it does."""
    if not entries:
        return {"carries": False}
    unlike = list_difference(entries, best.accessed, cost)
    return {
        "carries": True, "missing": len(unlike.missing), "surplus": len(unlike.surplus), "lost": gas - best.gas_used,
        "worse_than_none": gas > best.gas_without,
    }  # fmt: skip


# -------------------------------------------------------------------- dependencies


def dependency_rows(block: EvmBlock, done: EvmExecution) -> list[dict[str, Any]]:
    """Critical paths by what the list tells, reads charged to whom they may be, beside those by what was observed; in gas.

    Parameters
    ----------
    block : EvmBlock
    done : EvmExecution
        What it did.

    Raises
    ------
    ExecutionError
        If the list changes other slots than were observed to change, or a path is not within its bounds.
    """
    listed, gas = done.eip7928_list(), done.gas_used.astype(float)
    found = {"observed": done.observed} | {reads: sets_of_list(listed, block.n_tx, reads) for reads in READS}
    rows = []
    for fields, edges in _DEFINITIONS:
        kept = {name: sets if fields == "all" else select(sets, block, fields=[fields]) for name, sets in found.items()}
        paths = {name: float(dependencies(sets, edges=edges).critical_path(gas)[0]) for name, sets in kept.items()}
        if fields == "storage" and _changed(kept["observed"]) != _changed(kept["nobody"]):
            raise ExecutionError(f"block {block.number}: the list changes other slots than its transactions")
        if not paths["nobody"] <= paths["observed"] <= paths["everybody"]:
            why = f"paths of {fields} keys, {edges} edges, are not within bounds: {paths}"
            raise ExecutionError(f"block {block.number}: {why}")
        rows += [
            {
                "table": "dependencies", "block_number": block.number, "n_tx": block.n_tx, "sets": name, "fields": fields,
                "edges": edges, "path": path, "gas": float(gas.sum()), "verified": True,
            } for name, path in paths.items()
        ]  # fmt: skip
    return rows


def _changed(sets: AccessSets) -> list[set[Any]]:
    """Keys that each transaction changes."""
    assert sets.table is not None
    return [{sets.table[k] for k, mode in one.items() if mode != Mode.READ} for one in sets]


# -------------------------------------------------------------------- showing


def run(
    path: Path, numbers: Sequence[int] = (), rounds: int = 7, json: Path | None = None, page: Page | None = None
) -> list[dict[str, Any]]:
    """Measure and print all tables.

    Raises
    ------
    PevmError
        If the folder has no such blocks, or something does not come out as it must.
    """
    check_outputs(json, page, [path])
    wanted = chosen_numbers(path, numbers)
    lists, txs, deps = list[dict[str, Any]](), list[dict[str, Any]](), list[dict[str, Any]]()
    for block in progress(read_evm_blocks(path, wanted), "listing", len(wanted)):
        if not block.n_tx:
            continue
        done = execute(block, "serial")
        lists.append(block_list_rows(block, done, rounds) | {"unlike_trace": _unlike_trace(path, block, done)})
        deps += dependency_rows(block, done)
        if block.env.fork >= Fork.BERLIN:
            txs += transaction_rows(block, done)
    _show_lists(lists)
    _show_transactions(txs)
    _show_dependencies(deps)
    rows = lists + txs + deps
    write_outputs(json, page, rows)
    return rows


def _show_lists(rows: Sequence[dict[str, Any]]) -> None:
    forks: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        forks.setdefault(row["fork"], []).append(row)

    def line(name: str, part: Sequence[dict[str, Any]]) -> list[str]:
        total = {field: sum(row[field] for row in part) for field in (*_COUNTED, "gas")}
        size = sum(row["bytes"] for row in part)
        speeds = [total["accesses"] / max(1e-9, sum(row[f"{job}_ns"] for row in part)) * 1e3 for job in _JOBS]
        return [
            name, f"{len(part)}", *(f"{total[field]:,}" for field in _COUNTED),
            f"{size / 1024:,.0f}", f"{size / max(1, total['gas']) * 1e6 / 1024:,.2f}", *(figure(speed) for speed in speeds),
        ]  # fmt: skip

    body = [line(fork, part) for fork, part in forks.items()]
    headings = (
        "fork", "blocks", "accesses", "accounts", "changed slots", "read slots", "changes", "KiB", "KiB a Mgas",
        "build M/s", "validate M/s", "encode M/s", "decode M/s",
    )  # fmt: skip
    print_table(
        "Block access lists (EIP-7928), and millions of accesses a second: made of what was observed; checked, and compared "
        "with what is made for it; written to, and read from RLP, by the library rlp.",
        headings, [*body, [], line("all", rows)],
    )  # fmt: skip
    known = [row["unlike_trace"] for row in rows if row["unlike_trace"] is not None]
    over = [row["block_number"] for row in rows if row["items"] > row["items_bound"]]
    trace = f"{known.count(0)} of {len(known)} lists are those of another machine's trace, entry by entry." if known else ""
    bound = f"With more items than their gas limit would allow, one for {ITEM_COST:,} gas: {len(over)}."
    print_paragraph(trace, bound)


def _show_transactions(rows: Sequence[dict[str, Any]]) -> None:
    if not rows:
        return

    def line(name: str, part: Sequence[dict[str, Any]]) -> list[str]:
        gains = [row for row in part if row["gas_best"] < row["gas_without"]]
        saved, gas = sum(row["gas_without"] - row["gas_best"] for row in part), sum(row["gas_without"] for row in part)
        return [
            name, f"{len(part):,}", f"{len(gains):,}", f"{len(gains) / max(1, len(part)):.1%}", f"{saved:,}",
            f"{saved / max(1, gas):.2%}", f"{sum(row['saved_eip7981'] > 0 for row in part):,}",
        ]  # fmt: skip

    calls = [row for row in rows if row["runs_code"]]
    print_table(
        "Access lists of transactions (EIP-2930): those that the best list makes cheaper, each run with it; and by "
        "the prices of EIP-7981.",
        ("transactions", "all", "gain", "share", "gas saved", "of gas", "gain by EIP-7981"),
        [line("all", rows), line("of contracts", calls), line("plain", [row for row in rows if not row["runs_code"]])],
    )  # fmt: skip
    carried = [row for row in rows if row["carries"]]
    imperfect = [row for row in carried if row["lost"] > 0]
    unlike = sum(row["expected"] != row["gas_without"] - row["gas_best"] for row in rows)
    print_paragraph(
        f"{len(carried)} transactions carry a list; {len(imperfect)} of these could be cheaper, by "
        f"{sum(row['lost'] for row in imperfect):,} gas in all: {sum(row['surplus'] > 0 for row in carried)} have entries "
        f"that cost more than they save, {sum(row['missing'] > 0 for row in carried)} lack some that pay, "
        f"{sum(row['worse_than_none'] for row in carried)} cost more than no list.",
        f"In {unlike} of {len(rows):,} transactions the best list saves other than its prices say: refunds are capped, or "
        "calls burn their gas.",
    )


def _show_dependencies(rows: Sequence[dict[str, Any]]) -> None:
    if not rows:
        return
    body = []
    for fields, edges in _DEFINITIONS:
        group = [row for row in rows if (row["fields"], row["edges"]) == (fields, edges)]
        for name in ("observed", *READS):
            part, true = ([row for row in group if row["sets"] == which] for which in (name, "observed"))
            speed = [row["gas"] / row["path"] if row["path"] else 1.0 for row in part]
            ratio = [row["path"] / one["path"] if one["path"] else 1.0 for row, one in zip(part, true)]
            off = sum(abs(one - 1) > 1e-9 for one in ratio)
            spread = np.quantile(ratio, [0.0, 0.5, 1.0])
            body.append([
                f"{name}, {fields} keys, {edges}", f"{len(part)}", figure(float(np.median(speed))), f"{off}",
                *(f"{one:.2f}" for one in spread),
            ])  # fmt: skip
        body.append([])
    print_table(
        "Dependencies from block access lists alone, whose reads carry no transaction: work over the critical path in gas, "
        "and the path beside the true one; by all conflicts, and by values alone (raw). Reads of what others change are "
        "charged to nobody, to the writer of a slot, to writers of its account, to everybody.",
        ("access sets", "blocks", "median work/path", "blocks unlike", "least", "median", "most"), body[:-1],
    )  # fmt: skip
