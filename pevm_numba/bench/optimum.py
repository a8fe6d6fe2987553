"""Heuristics beside the optimum, and built blocks beside their bound: figures of quality, not of time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from ..access.oracles import access_sets
from ..block import Block
from ..console import progress, status
from ..generate import generate
from ..io.files import block_numbers, read_blocks
from ..io.paths import existing
from ..schedule.building import build_block
from ..schedule.exact import EXACT_LIMIT
from ..schedule.optimality import optimality
from ..survey.definitions import chain_gas
from .html_target import Page
from .outputs import check_outputs, write_outputs
from .tables import check_range, figure, print_paragraph, print_table

__all__ = ["run"]

#: Blocks of each synthetic case.
_REPEATS: Final = 10


def _generated() -> Iterator[tuple[str, Block]]:
    for pattern in ("uniform", "zipf"):
        for seed in range(_REPEATS):
            yield f"generated, {pattern}", generate("medium", n_tx=200, pattern=pattern, seed=seed)


def _real(path: Path, seen: Counter[str]) -> Iterator[tuple[str, Block]]:
    """Blocks that an exact optimum may be asked for; the others are counted in `seen`."""
    for block in read_blocks(path):
        seen["all"] += 1
        seen["empty"] += block.n_tx == 0
        seen["large"] += block.n_tx > EXACT_LIMIT
        if 0 < block.n_tx <= EXACT_LIMIT:
            yield "real blocks", block


def _ratios(blocks: Iterable[tuple[str, Block]], workers: int, time_limit: float) -> Iterator[dict[str, Any]]:
    for case, block in blocks:
        gas = block.chain_gas_used
        cost = gas if gas is not None and gas.min() > 0 else None
        for found in optimality(block, workers, cost, time_limit=time_limit):
            yield {
                "table": "ratios", "case": case, "block_number": block.number, "n_tx": block.n_tx, "workers": workers,
                "cost": "unit" if cost is None else "gas", "measure": found.measure, "heuristic": found.heuristic,
                "value": found.value, "best": found.optimum, "bound": found.bound, "proved": found.proved,
                "ratio": found.ratio,
            }  # fmt: skip


def _built(block: Block, workers: int) -> Iterator[dict[str, Any]]:
    """The block's transactions as a pool: half of its gas to fill, rewards per gas spread log-normally (seed 0)."""
    gas, access = chain_gas(block), access_sets(block)
    if gas is None:
        return
    reward = gas * np.random.default_rng(0).lognormal(0, 1, block.n_tx)
    total = int(gas.sum())
    for deadline, key_cap in ((None, None), (total / 10, None), (total / 10, total // 20)):
        limits = [name for name, value in (("deadline", deadline), ("key cap", key_cap)) if value is not None]
        for method in ("greedy", "lp"):
            made = build_block(
                access, reward, gas, gas_limit=total // 2, workers=workers, deadline=deadline, key_cap=key_cap,
                method=method, block=block,
            )  # fmt: skip
            yield {
                "table": "built", "block_number": block.number, "pool": block.n_tx, "workers": workers,
                "gas_limit": total // 2, "deadline": deadline, "key_cap": key_cap, "limits": ["gas", *limits],
                "method": method,
                "chosen": len(made.chosen), "reward": made.reward, "bound": made.bound, "gap": made.gap,
                "gas_share": made.gas / (total // 2), "makespan": made.makespan, "makespan_bound": made.makespan_bound,
            }  # fmt: skip


def _show_ratios(rows: Sequence[dict[str, Any]], seen: Counter[str]) -> None:
    sections = dict.fromkeys((row["case"], row["cost"]) for row in rows)
    for case, cost in sections:
        chosen = [row for row in rows if (row["case"], row["cost"]) == (case, cost)]
        sizes = [row["n_tx"] for row in chosen]
        size = f"{min(sizes):,}" + (f" to {max(sizes):,}" if max(sizes) > min(sizes) else "")
        unit = "gas" if cost == "gas" else "1 a transaction"
        workers = chosen[0]["workers"]
        title = (
            f"{case}: heuristic / optimum; makespan on {workers:,} worker{'s' * (workers > 1)}, cost = {unit}, "
            f"{size} transactions"
        )
        headings = ["measure: heuristic", "blocks", "mean", "worst", "at bound", "proved"]
        print_table(title, headings, _ratio_rows(chosen))
    left = []
    if seen["large"]:
        left.append(f"{seen['large']:,} with more than {EXACT_LIMIT:,} transactions")
    if seen["empty"]:
        left.append(f"{seen['empty']:,} without any")
    print_paragraph(*([f"Left out, of {seen['all']:,} real blocks: {', '.join(left)}."] if left else []))
    print_paragraph(
        "Makespan and waves: heuristic / bound; independent set: bound / first wave; 1 is as good as can be.",
        "proved: blocks whose optimum was proved in time; else the bound is the solver's, so the ratio is too high.",
        "at bound: blocks where the heuristic reaches it.",
        "first-fit takes transactions in block order: where one that comes early touches hot keys, it keeps all that",
        "conflict with it out of the first wave, which is then far from the largest independent set.",
    )


def _ratio_rows(rows: Sequence[dict[str, Any]]) -> list[list[str]]:
    """One row for each heuristic, and a rule between measures."""
    shown, last = list[list[str]](), ""
    for measure, heuristic in dict.fromkeys((row["measure"], row["heuristic"]) for row in rows):
        found = [row for row in rows if (row["measure"], row["heuristic"]) == (measure, heuristic)]
        ratios = np.array([row["ratio"] for row in found])
        if last and measure != last:
            shown.append([])
        last = measure
        shown.append([
            f"{measure}: {heuristic}", f"{len(found):,}", figure(float(ratios.mean()), 4), figure(float(ratios.max()), 4),
            f"{int((ratios <= 1).sum()):,}", f"{sum(row['proved'] for row in found):,}",
        ])  # fmt: skip
    return shown


def _show_built(rows: Sequence[dict[str, Any]]) -> None:
    shown = [
        [
            f"{' + '.join(row['limits'])}: {row['method']}", f"{row['chosen']:,}", f"{100 * row['gas_share']:.1f}",
            f"{100 * row['gap']:.2f}", figure(row["makespan"] / row["makespan_bound"] if row["makespan_bound"] else None, 4),
        ]
        for row in rows
    ]  # fmt: skip
    first = rows[0]
    title = (
        f"Blocks built from the {first['pool']:,} transactions of block {first['block_number']}: makespan on "
        f"{first['workers']:,} workers, cost = gas"
    )
    print_table(title, ["limits: method", "chosen", "% of gas", "% below", "makespan x"], shown)
    deadline = next(row["deadline"] for row in rows if row["deadline"] is not None)
    cap = next(row["key_cap"] for row in rows if row["key_cap"] is not None)
    print_paragraph(
        f"gas: at most {first['gas_limit']:,}, half of the pool's.",
        f"deadline: the block's makespan is at most {deadline:,.0f} gas, a tenth of the pool's.",
        f"key cap: on each key, the transactions that write it use at most {cap:,} gas, a twentieth.",
        "Reward per gas is log-normal (seed 0). % of gas: of the gas limit. % below: by how much the reward stays below the",
        "bound by linear programming. makespan x: makespan / its lower bound.",
    )


def run(
    path: Path | None, workers: int, time_limit: float, json_path: Path | None = None, page: Page | None = None
) -> list[dict[str, Any]]:
    """Ratios of generated blocks and of the small blocks under `path`, and blocks built from its largest.

    Raises
    ------
    UsageError
        If workers or time_limit is out of range, or the JSON file is no .json or an input.
    PevmError
        If the input is bad, or OR-Tools is missing.
    """
    check_range("--workers", workers, 1, 2**31 - 1)
    check_range("--time-limit", time_limit, 0.01, 86_400)
    check_outputs(json_path, page, [] if path is None else [path])
    if path is not None:
        existing(path)
    rows = list(_ratios(progress(_generated(), "generated blocks", 2 * _REPEATS), workers, time_limit))
    built: list[dict[str, Any]] = []
    seen: Counter[str] = Counter()
    if path is not None:
        small = _real(path, seen)
        rows += _ratios(progress(small, "real blocks", len(block_numbers(path))), workers, time_limit)
        with status("building blocks"):
            known = [block for block in read_blocks(path) if chain_gas(block) is not None]
            built = list(_built(max(known, key=lambda block: block.n_tx), workers)) if known else []
    write_outputs(json_path, page, [*rows, *built])
    _show_ratios(rows, seen)
    if built:
        _show_built(built)
    return [*rows, *built]
