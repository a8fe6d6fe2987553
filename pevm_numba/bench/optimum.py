"""Heuristics beside the optimum, and built blocks beside their bound: figures of quality, not of time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from ..access.oracles import access_sets
from ..block import Block
from ..console import progress
from ..errors import UsageError
from ..generate import generate
from ..io.files import block_numbers, read_blocks
from ..schedule.building import build_block
from ..schedule.exact import EXACT_LIMIT
from ..schedule.optimality import optimality
from .report import write_json
from .tables import figure, print_lines, print_table

__all__ = ["run"]

#: Blocks of each synthetic case.
_REPEATS: Final = 10


def _generated() -> Iterator[tuple[str, Block]]:
    for pattern in ("uniform", "zipf"):
        for seed in range(_REPEATS):
            yield f"generated, {pattern}", generate("medium", n_tx=200, pattern=pattern, seed=seed)


def _real(path: Path) -> Iterator[tuple[str, Block]]:
    for block in read_blocks(path):
        if 0 < block.n_tx <= EXACT_LIMIT:
            yield "real blocks", block


def _ratios(blocks: Iterable[tuple[str, Block]], workers: int, time_limit: float) -> Iterator[dict[str, Any]]:
    for case, block in blocks:
        gas = block.chain_gas_used
        cost = gas if gas is not None and gas.min() > 0 else None
        for found in optimality(block, workers, cost, time_limit=time_limit):
            yield {
                "case": case, "block_number": block.number, "n_tx": block.n_tx, "workers": workers,
                "cost": "unit" if cost is None else "gas", "measure": found.measure, "heuristic": found.heuristic,
                "value": found.value, "optimum": found.optimum, "bound": found.bound, "proved": found.proved,
                "ratio": found.ratio,
            }  # fmt: skip


def _built(block: Block, workers: int) -> Iterator[dict[str, Any]]:
    """The block's transactions as a pool: half of its gas to fill, rewards per gas spread log-normally (seed 0)."""
    gas, access = block.chain_gas_used, access_sets(block)
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
                "block_number": block.number, "pool": block.n_tx, "limits": ["gas", *limits], "method": method,
                "chosen": len(made.chosen), "reward": made.reward, "bound": made.bound, "gap": made.gap,
                "gas_share": made.gas / (total // 2), "makespan": made.makespan, "makespan_bound": made.makespan_bound,
            }  # fmt: skip


def _show_ratios(rows: list[dict[str, Any]]) -> None:
    cases: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in rows:
        cases.setdefault((row["case"], row["measure"], row["heuristic"]), []).append(row)
    shown, last = list[list[str]](), ""
    for (case, measure, heuristic), found in cases.items():
        ratios = np.array([row["ratio"] for row in found])
        if last and case != last:
            shown.append([])
        last = case
        shown.append([
            f"{case}: {measure}", heuristic, str(len(found)), figure(float(ratios.mean()), 4),
            figure(float(ratios.max()), 4), str(int((ratios <= 1).sum())), str(sum(row["proved"] for row in found)),
        ])  # fmt: skip
    headings = ["blocks: measure", "heuristic", "blocks", "mean", "max", "at the bound", "proved"]
    print_table("Heuristic beside the optimum (1 = as good)", headings, shown)
    print_lines([
        "Makespans and waves: heuristic / bound; independent set: bound / first wave.",
        "Where the optimum is not proved in time, the ratio is to the solver's bound, so too high.",
    ])  # fmt: skip


def _show_built(rows: list[dict[str, Any]]) -> None:
    shown = [
        [
            f"{row['block_number']}: {' + '.join(row['limits'])}", row["method"], f"{row['chosen']} of {row['pool']}",
            f"{100 * row['gas_share']:.1f} %", f"{100 * row['gap']:.2f} %",
            figure(row["makespan"] / row["makespan_bound"] if row["makespan_bound"] else None, 4),
        ]
        for row in rows
    ]  # fmt: skip
    headings = ["pool: limits", "method", "chosen", "gas used", "reward below bound", "makespan / bound"]
    print_table("Built blocks: half of the pool's gas, reward per gas log-normal", headings, shown)


def run(path: Path | None, workers: int, time_limit: float, json_path: Path | None = None) -> list[dict[str, Any]]:
    """Ratios of generated blocks and of the small blocks under `path`, and blocks built from its largest.

    Raises
    ------
    UsageError
        If workers or time_limit is out of range.
    PevmError
        If the input is bad, or OR-Tools is missing.
    """
    for name, value, low, high in (("--workers", workers, 1, 2**31 - 1), ("--time-limit", time_limit, 0.01, 86_400)):
        if not low <= value <= high:
            raise UsageError(f"{name} {value:g}: must be in [{low:g}, {high:g}]")
    rows = list(_ratios(progress(_generated(), "generated blocks", 2 * _REPEATS), workers, time_limit))
    built: list[dict[str, Any]] = []
    if path is not None:
        small = _real(path)
        rows += _ratios(progress(small, "real blocks", len(block_numbers(path))), workers, time_limit)
        known = [block for block in read_blocks(path) if block.chain_gas_used is not None]
        built = list(_built(max(known, key=lambda block: block.n_tx), workers)) if known else []
    if json_path is not None:
        write_json(json_path, [*rows, *built])
    _show_ratios(rows)
    if built:
        _show_built(built)
    return [*rows, *built]
