"""Bodies of the commands `schedule` and `simulate`: what they print is a plan at the costs named, never a measured time."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.console import Console
from rich.table import Table

from . import console as con
from ._kernels.jit import most_threads
from .access.oracles import access_sets
from .access.sets import AccessSets
from .bench.report import write_json
from .block import Block
from .errors import UsageError
from .execute.costs import transaction_costs
from .io.files import read_block
from .io.paths import replacing, target_of
from .io.schedule_file import write_schedule
from .schedule.bounds import Bounds, bounds
from .schedule.check import check_schedule
from .schedule.costs import COSTS
from .schedule.plan import Schedule
from .schedule.policies import POLICY_PRIORITIES, schedule
from .schedule.simulate import MODELS, Overheads, Simulation, compare

__all__ = ["View", "run_schedule", "run_simulate"]


@dataclass(frozen=True)
class View:
    """Which block, which estimate of its accesses, and which of its dependencies count."""

    input: Path
    number: int | None = None
    oracle: str = "static"
    miss_rate: float = 0.0
    seed: int = 0
    fields: str = "all"
    granularity: str = "slot"
    fee_recipient: str = "commutative"

    def read(self) -> tuple[Block, AccessSets]:
        """The block and the access sets that are asked for."""
        fields = None if self.fields == "all" else _words("--fields", self.fields)
        with con.status(f"reading {self.input.name}"):
            block = read_block(self.input, self.number)
        return block, access_sets(
            block, self.oracle, miss_rate=self.miss_rate, seed=self.seed, fields=fields, granularity=self.granularity,
            fee_recipient=self.fee_recipient,
        )  # fmt: skip

    @property
    def plain(self) -> bool:
        """Whether all dependencies count, as executing the block needs it."""
        return (self.fields, self.granularity, self.fee_recipient) == ("all", "slot", "commutative")

    def words(self) -> str:
        """The same for people."""
        text = f"{self.oracle} access sets"
        if self.oracle == "degraded":
            text += f" (missed {self.miss_rate:g}, seed {self.seed})"
        if self.plain:
            return text
        return f"{text}; fields {self.fields}, {self.granularity}s, credits {self.fee_recipient}: for analysis only"


def _words(option: str, text: str) -> list[str]:
    words = [word.strip() for word in text.split(",")]
    if not all(words):
        raise UsageError(f"{option} {text!r}: must be names with commas between them")
    return words


def _costs(block: Block, kind: str) -> NDArray[np.float64]:
    if kind not in COSTS:
        raise UsageError(f"--cost {kind!r} is unknown: one of {', '.join(COSTS)}")
    with con.status("executing, for the costs"):
        return transaction_costs(block, kind).astype(np.float64)


def _check_target(option: str, path: Path, source: Path) -> None:
    """Refuse, before any work, a file that could not be written or that is the input."""
    target_of(path)
    if path.exists() and source.exists() and path.samefile(source):
        raise UsageError(f"{option} {path}: is the input")


# -------------------------------------------------------------------- schedule


def run_schedule(
    view: View, policy: str, workers: int | None, cost: str, priority: str | None, output: Path | None, rows: int
) -> list[tuple[str, Any]]:
    """Make and check a schedule; write it, or return what to print.

    Raises
    ------
    PevmError
        On bad arguments or input, or if the schedule is not valid for the access sets it was made from.
    """
    if output is not None:
        if output.suffix not in (".json", ".parquet"):
            raise UsageError(f"--output {output}: must be NAME.json or NAME.parquet")
        _check_target("--output", output, view.input)
    if rows < 0:
        raise UsageError(f"--rows {rows}: must be at least 0")
    block, access = view.read()
    weight = _costs(block, cost)
    count = most_threads() if workers is None else workers
    with con.status("scheduling"):
        plan = schedule(access, policy, workers=count, cost=weight, priority=priority, seed=view.seed, block=block)
        check_schedule(plan, access, block=block)
    summary = _summary(view, block, plan, bounds(access, weight, count), cost, priority)
    if output is None:
        return _schedule_lines(view, block, plan, summary) + _first_rows(plan, weight, rows)
    if output.suffix == ".json":
        _write_plan(output, summary | _arrays(plan, weight))
    else:
        write_schedule(output, plan, block.number, weight)
    return [(f"{output}:", f"{plan.policy}, {plan.n_tx:,} transactions in {plan.n_waves:,} waves, checked")]


def _summary(view: View, block: Block, plan: Schedule, limit: Bounds, cost: str, priority: str | None) -> dict[str, Any]:
    """What holds for the schedule as a whole; times are in the unit of the costs."""
    line, free = plan.timeline, not plan.block_order
    if line is None:
        raise UsageError("a schedule without workers has no times")
    bound = limit.makespan_order_free if free else limit.makespan
    known = POLICY_PRIORITIES.get(plan.policy, (None,))
    return {
        "schema": "pevm_numba.schedule/1",
        "block_number": block.number,
        "n_tx": plan.n_tx,
        "policy": plan.policy,
        "priority": known[0] if priority is None else priority,
        "seed": view.seed,
        "block_order": not free,
        "oracle": view.oracle,
        "fields": view.fields,
        "granularity": view.granularity,
        "fee_recipient": view.fee_recipient,
        "cost_unit": cost,
        "n_workers": line.n_workers,
        "waves": plan.n_waves,
        "waves_bound": limit.waves if free else limit.levels,
        "total_cost": limit.total,
        "makespan": line.makespan,
        "bound": bound,
        "bound_share": min(1.0, bound / line.makespan) if line.makespan > 0 else 1.0,
        "critical_path": limit.critical_path,
        "speedup": limit.total / line.makespan if line.makespan > 0 else 1.0,
        "idle_share": line.idle_share,
        "checked": True,
    }


def _schedule_lines(view: View, block: Block, plan: Schedule, of: dict[str, Any]) -> list[tuple[str, Any]]:
    """The summary in words."""
    unit, free = of["cost_unit"], not of["block_order"]
    order = "block order kept" if not free else "its own order: not a way to validate this block"
    chosen = f", priority {of['priority']}" if of["priority"] else ""
    return [
        ("block", f"{block.number}: {block.n_tx:,} transactions"),
        ("dependencies", view.words()),
        ("policy", f"{plan.policy}{chosen}; {order}"),
        ("waves", f"{plan.n_waves:,}; {'any' if free else 'block'} order needs at least {of['waves_bound']:,}"),
        ("makespan", f"{_amount(of['makespan'])} {unit} on {of['n_workers']:,} workers"),
        ("bound", f"{_amount(of['bound'])} {unit} at least in {'any' if free else 'block'} order: "
                  f"{of['bound_share']:.1%} of it reached"),
        ("speed-up", f"{of['speedup']:.2f} over one worker's {_amount(of['total_cost'])} {unit}"),
        ("idle", f"{of['idle_share']:.1%} of the workers' time"),
        ("checked", "yes: conflicting transactions never run at once, nor in another order than promised"),
    ]  # fmt: skip


def _first_rows(plan: Schedule, cost: NDArray[np.float64], rows: int) -> list[tuple[str, Any]]:
    """Transactions in order of start as columns of text; the names in front are their positions in the block."""
    line, shown = plan.timeline, min(rows, plan.n_tx)
    if line is None or not shown:
        return []
    position = np.argsort(plan.serial_order)
    first = np.lexsort((position, line.start))[:shown]
    columns: list[tuple[str, NDArray[Any]]] = [("wave", plan.wave_of), ("position", position), ("worker", line.worker)]
    texts = [[name, *(f"{int(value):,}" for value in values[first])] for name, values in columns]
    times = [("start", line.start), ("end", line.end), ("cost", cost)]
    texts += [[name, *(_amount(value) for value in values[first])] for name, values in times]
    wide = [max(map(len, column)) for column in texts]
    bodies = ["  ".join(f"{text:>{w}}" for text, w in zip(row, wide)) for row in zip(*texts)]
    names = ["transaction", *(f"{t:,}" for t in first)]
    more = [("...", f"{plan.n_tx - shown:,} more")] if shown < plan.n_tx else []
    return [("", ""), *zip(names, bodies), *more]


def _arrays(plan: Schedule, cost: NDArray[np.float64]) -> dict[str, list[Any]]:
    """Per transaction, by position in the block; serial_order is the other way round."""
    line = plan.timeline
    times = {} if line is None else {name: getattr(line, name).tolist() for name in ("worker", "start", "end")}
    return {"serial_order": plan.serial_order.tolist(), "wave": plan.wave_of.tolist(), **times, "cost": cost.tolist()}


def _write_plan(path: Path, plan: dict[str, Any]) -> None:
    """One JSON object, each array on a line of its own."""
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in plan.items())
    with replacing(path) as (temporary,):
        temporary.write_text(f"{{\n{lines}\n}}\n")


def _amount(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) or value >= 1000 else f"{value:,.4g}"


# -------------------------------------------------------------------- simulate


def run_simulate(
    view: View, models: str, workers: str, cost: str, priority: str | None, overheads: Overheads, output: Path | None
) -> None:
    """Simulate models on numbers of workers; print a table and write JSON if asked.

    Raises
    ------
    PevmError
        On bad arguments or input.
    """
    chosen = list(MODELS) if models == "all" else _words("--models", models)
    unknown = [name for name in chosen if name not in MODELS]
    if unknown:
        raise UsageError(f"--models {unknown[0]!r} is unknown: all, or some of {', '.join(MODELS)}")
    counts = _counts(workers)
    if output is not None:
        _check_target("--json", output, view.input)
    block, access = view.read()
    weight = _costs(block, cost)
    with con.status("simulating"):
        runs = compare(access, chosen, workers=counts, cost=weight, overheads=overheads, priority=priority, block=block)
        limits = compare(access, ["list"], workers=counts, cost=weight, overheads=overheads, block=block)
    if output is not None:
        about = {"block_number": block.number, "n_tx": block.n_tx, "cost_unit": cost, "oracle": view.oracle,
                 "fields": view.fields, "granularity": view.granularity, "fee_recipient": view.fee_recipient,
                 **asdict(overheads)}  # fmt: skip
        write_json(output, [about | run.row() for run in runs])
    print(f"block {block.number}: {block.n_tx:,} transactions; {view.words()}")
    _show(runs, limits, cost, float(weight.sum()))


def _counts(text: str) -> list[int]:
    words = _words("--workers", text)
    if not all(word.isascii() and word.isdigit() and 1 <= int(word[:11]) < 2**31 for word in words):
        raise UsageError(f"--workers {text!r}: must be integers from 1 on with commas between them")
    return list(dict.fromkeys(int(word) for word in words))


def _show(runs: list[Simulation], limits: list[Simulation], unit: str, total: float) -> None:
    """One row for each run, models apart; then what holds for every run that keeps block order and all conflicts."""
    shown = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    shown.add_column("model", no_wrap=True)
    for heading in (
        "workers",
        f"makespan, {unit}",
        "speed-up",
        "bound %",
        "again",
        "validations",
        "wasted %",
        "idle %",
        "CPU",
    ):
        shown.add_column(heading, justify="right", no_wrap=True)
    last = ""
    for run in runs:
        if last not in ("", run.model):
            shown.add_section()
        shown.add_row(*_cells(run, total, run.model != last))
        last = run.model
    shown.add_section()
    for i, run in enumerate(limits):
        reach = run.serial / run.bound if run.bound > 0 else 1.0
        name = "bound" if i == 0 else ""
        shown.add_row(name, f"{run.workers:,}", _amount(run.bound), f"{reach:.2f}", *[""] * 6)
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(width=100, highlight=False)
    console.print(shown)
    for line in _FOOT:
        console.print(line, markup=False, soft_wrap=not console.is_terminal)


_FOOT = (
    "bound %: share reached of the bound for what the model must keep. again: executions thrown away;",
    "wasted %: of the cost executed. CPU: time that holds a worker, in serial runs. bound: with every",
    "conflict in block order; two-pass, block-stm and bal keep only data flow and two-bin another order,",
    "so they may be shorter.",
)


def _cells(run: Simulation, total: float, first: bool) -> list[str]:
    share = min(1.0, run.bound / run.makespan) if run.makespan > 0 else 1.0
    wasted = run.wasted / (total + run.wasted) if run.wasted > 0 else 0.0
    cpu = run.busy / run.serial if run.serial > 0 else 1.0
    return [
        run.model if first else "", f"{run.workers:,}", _amount(run.makespan), f"{run.speedup:.2f}", f"{100 * share:.1f}",
        f"{run.reexecutions:,}", f"{run.validations:,}", f"{100 * wasted:.1f}", f"{100 * run.idle_share:.1f}", f"{cpu:.2f}",
    ]  # fmt: skip
