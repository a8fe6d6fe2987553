"""Bodies of the commands `schedule` and `simulate`: what they print is a plan at the costs named, never a measured time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from . import __version__
from . import console as con
from ._kernels.jit import most_threads
from .access.oracles import ORACLES, access_sets, exact_oracle, exact_sets
from .access.sets import AccessSets
from .access.view import FEE_RECIPIENT, GRANULARITIES, select
from .bench.report import write_json
from .errors import BlockError, ScheduleError, UsageError
from .evm.block import AnyBlock
from .execute.costs import transaction_costs
from .execute.run import execute
from .io.paths import check_target
from .io.schedule_file import write_schedule
from .machine.ops import Field
from .schedule.bounds import Bounds, bounds
from .schedule.check import check_schedule
from .schedule.costs import COSTS
from .schedule.listing import PRIORITIES
from .schedule.models import MODEL_PRIORITIES
from .schedule.plan import Schedule
from .schedule.policies import POLICIES, POLICY_PRIORITIES, schedule
from .schedule.simulate import MODELS, Overheads, Simulation, compare
from .screens import COST_NAMES, amount, print_pairs, schedule_rows, show_runs, wasted_share, workers_text

__all__ = ["View", "run_schedule", "run_simulate"]

_MOST_WORKERS: Final = 2**31 - 1
_MOST_COST: Final = 1e15

#: What a prefetcher may be taken to know.
PREFETCH_LISTS: Final = ("static", "declared", "eip2930", "union", "observed")


@dataclass(frozen=True)
class View:
    """Which block, which estimate of its accesses, and which of its dependencies count."""

    input: Path
    number: int | None = None
    oracle: str | None = None
    miss_rate: float = 0.0
    seed: int = 0
    fields: str = "all"
    granularity: str = "slot"
    fee_recipient: str = "commutative"
    prestate: Path | None = None
    fork: str | None = None
    exact: str = "static"

    @property
    def inputs(self) -> list[Path]:
        """What no output may overwrite."""
        return [self.input, *([] if self.prestate is None else [self.prestate])]

    def check(self) -> None:
        """Refuse what no block could make good, naming the option.

        Raises
        ------
        UsageError
        """
        if self.number is not None:
            con.check_range("--number", self.number, 0, 2**64 - 1)
        if self.oracle is not None:
            con.check_choice("--oracle", self.oracle, ORACLES)
        con.check_range("--miss-rate", self.miss_rate, 0, 1)
        if self.miss_rate and self.oracle != "degraded":
            raise UsageError(f"--miss-rate {self.miss_rate:g} without --oracle degraded: only that misses accesses")
        con.check_range("--seed", self.seed, 0, 2**63 - 1)
        _choices("--fields", self.fields, [field.name.lower() for field in Field])
        con.check_choice("--granularity", self.granularity, GRANULARITIES)
        con.check_choice("--fee-recipient", self.fee_recipient, FEE_RECIPIENT)

    def read(self) -> tuple[View, AnyBlock, AccessSets]:
        """The view with the block's own oracle, if none is named; the block; and the access sets that are asked for."""
        known = [field.name.lower() for field in Field]
        fields = _choices("--fields", self.fields, known)
        block = con.read_input(self.input, self.number, self.prestate, self.fork)
        exact = exact_oracle(block)
        view = replace(self, exact=exact, oracle=self.oracle or exact)
        with con.status("finding accesses"):
            if view.oracle == "observed":
                access = execute(block, "serial").observed
            else:
                access = access_sets(block, view.oracle, miss_rate=self.miss_rate, seed=self.seed)
            return view, block, select(
                access, block, fields=None if fields == known else fields, granularity=self.granularity,
                fee_recipient=self.fee_recipient,
            )  # fmt: skip

    @property
    def chosen(self) -> list[str]:
        """In words, what is left out or changed of the dependencies that executing the block needs."""
        words = [f"fields {self.fields}"] if self.fields != "all" else []
        if self.granularity != "slot":
            words.append(f"whole {self.granularity}s")
        return words + ([f"credits {self.fee_recipient}"] if self.fee_recipient != "commutative" else [])

    @property
    def scope(self) -> str:
        """What bounds hold for, if not for the block: words to go behind a figure."""
        words = ["estimate"] if self.oracle != self.exact else []
        words += ["selection"] if self.chosen else []
        return f", by this {' and '.join(words)}" if words else ""

    @property
    def in_block_order_only(self) -> bool:
        """Whether what is exact holds for block order alone, as what is met in running does."""
        return self.exact == "observed"

    def words(self) -> str:
        """The same for people; only choices that are not the default."""
        text = f"{self.oracle} access sets"
        if self.oracle == "degraded":
            text += f" (missed {self.miss_rate:g}, seed {self.seed})"
        return f"{text}; {', '.join(self.chosen)}: for analysis only" if self.chosen else text

    def about(self, block: AnyBlock, cost: str) -> dict[str, Any]:
        """For files: where it comes from, and all choices."""
        return {
            "package_version": __version__, "input": str(self.input), "block_digest": block.digest(), "cost_unit": cost,
            "seed": self.seed, "oracle": self.oracle, "miss_rate": self.miss_rate, "fields": self.fields,
            "granularity": self.granularity, "fee_recipient": self.fee_recipient,
        }  # fmt: skip


# -------------------------------------------------------------------- arguments


def _choices(option: str, text: str, known: Iterable[str]) -> list[str]:
    """Names with commas between them, each once; `all` among them is all."""
    words, names = [word.strip() for word in text.split(",")], list(known)
    for word in words:
        if word not in ("all", *names):
            raise UsageError(f"{option} {text!r}: {word!r} is unknown: all, or some of {', '.join(names)}")
    return names if "all" in words else list(dict.fromkeys(words))


def _priority(option: str, value: str | None, whose: str, known: tuple[str, ...]) -> None:
    if value is None or value in known:
        return
    rule = f"is unknown: one of {', '.join(known)}" if known else "has no priorities to choose"
    raise UsageError(f"{option} {value!r} with {whose}: {rule if known else f'this {rule}'}")


def _costs(block: AnyBlock, kind: str) -> NDArray[np.float64]:
    with con.status("executing, for the costs"):
        try:
            return transaction_costs(block, kind).astype(np.float64)
        except BlockError as error:
            raise BlockError(f"--cost {kind}: {error}") from None


# -------------------------------------------------------------------- schedule


def run_schedule(
    view: View, policy: str, workers: int | None, cost: str, priority: str | None, output: Path | None, rows: int
) -> None:
    """Make and check a schedule; write it, or print it.

    Raises
    ------
    PevmError
        On bad arguments or input, or if the schedule is not valid for the access sets it was made from.
    """
    view.check()
    con.check_choice("--policy", policy, POLICIES)
    con.check_choice("--cost", cost, COSTS)
    _priority("--priority", priority, f"--policy {policy}", POLICY_PRIORITIES.get(policy, ()))
    count = most_threads() if workers is None else workers
    con.check_range("--workers", count, 1, _MOST_WORKERS)
    if rows < 0:
        raise UsageError(f"--rows {rows}: must be at least 0")
    if output is not None:
        check_target("--output", output, view.inputs, (".json", ".parquet"))
    view, block, access = view.read()
    weight = _costs(block, cost)
    with con.status("scheduling"):
        plan = schedule(access, policy, workers=count, cost=weight, priority=priority, seed=view.seed, block=block)
        violation = _proved(view, plan, access, block)
    about = _summary(view, block, plan, bounds(access, weight, count), cost, priority) | violation
    if output is None:
        print_pairs(_schedule_lines(view, block, plan, about))
        schedule_rows(plan, weight, rows, cost)
        return
    write_schedule(output, plan, block.number, weight, about=about)
    waves = f"{plan.n_waves:,} wave{'' if plan.n_waves == 1 else 's'}"
    print(f"{output}: {plan.policy}, {plan.n_tx:,} transactions in {waves}; checked: {_checked(about)}")


def _proved(view: View, plan: Schedule, access: AccessSets, block: AnyBlock) -> dict[str, Any]:
    """Check a schedule against the access sets it was made from, which must hold, and against all conflicts."""
    check_schedule(plan, access, block=block)
    first = None
    if view.scope:  # else these are all conflicts
        try:
            check_schedule(plan, exact_sets(block), block=block)
        except ScheduleError as error:
            first = str(error)
    if view.in_block_order_only and not plan.block_order:
        against, valid = "accesses in block order", None if first is None else False
    else:
        against, valid = "all conflicts" if first is None else "the access sets used", first is None
    return {"checked_against": against, "valid_for_block": valid, "first_violation": first}


def _checked(of: dict[str, Any]) -> str:
    if of["valid_for_block"]:
        return "yes, against all conflicts"
    if of["valid_for_block"] is None:
        return "holds for what is accessed in block order; in an order of its own the block's code may access other keys"
    return f"holds for the access sets used; NOT valid for the block: {of['first_violation']}"


def _summary(view: View, block: AnyBlock, plan: Schedule, limit: Bounds, cost: str, priority: str | None) -> dict[str, Any]:
    """What holds for the schedule as a whole; times are in the unit of the costs."""
    line, free = plan.timeline, not POLICIES[plan.policy]
    if line is None:
        raise UsageError("a schedule without workers has no times")
    bound = limit.makespan_order_free if free else limit.makespan
    known = POLICY_PRIORITIES.get(plan.policy, (None,))
    return view.about(block, cost) | {
        "priority": known[0] if priority is None else priority,
        "block_order": not free,
        "waves": plan.n_waves,
        "waves_bound": limit.waves if free else limit.levels,
        "n_workers": line.n_workers,
        "total_cost": limit.total,
        "makespan": line.makespan,
        "bound": bound,
        "bound_share": min(1.0, bound / line.makespan) if line.makespan > 0 else 1.0,
        "critical_path": limit.critical_path,
        "speedup": limit.total / line.makespan if line.makespan > 0 else 1.0,
        "idle_share": line.idle_share,
    }


def _schedule_lines(view: View, block: AnyBlock, plan: Schedule, of: dict[str, Any]) -> list[tuple[str, Any]]:
    """The summary in words."""
    kind, any_or_block = of["cost_unit"], "block" if of["block_order"] else "any"
    scope = view.scope or ("" if of["block_order"] or not view.in_block_order_only else ", by accesses in block order")
    order = "block order kept" if of["block_order"] else "its own order: not a way to validate this block"
    chosen = f", priority {of['priority']}" if of["priority"] else ""
    return [
        ("block", f"{block.number}: {block.n_tx:,} transactions"),
        ("dependencies", view.words()),
        ("costs", ": ".join(COST_NAMES[kind])),
        ("policy", f"{plan.policy}{chosen}; {order}"),
        ("waves", f"{plan.n_waves:,}; {any_or_block} order needs at least {of['waves_bound']:,}{scope}"),
        ("makespan", f"{amount(of['makespan'], kind)} on {workers_text(of['n_workers'])}, barriers and dispatch free"),
        ("bound", f"{amount(of['bound'], kind)} at least in {any_or_block} order, from costs alone{scope}: "
                  f"{of['bound_share']:.1%} of it reached"),
        ("speed-up", f"{of['speedup']:.2f} over one worker's {amount(of['total_cost'], kind)}"),
        ("idle", f"{of['idle_share']:.1%} of the time of {workers_text(of['n_workers'])}"),
        ("checked", _checked(of)),
    ]  # fmt: skip


# -------------------------------------------------------------------- simulate


def run_simulate(
    view: View, models: str, workers: str, cost: str, priority: str | None, overheads: dict[str, Any], output: Path | None,
    prefetch_list: str | None = None,
) -> None:  # fmt: skip
    """Simulate models on numbers of workers; print a table and write JSON if asked.

    Raises
    ------
    PevmError
        On bad arguments or input.
    """
    view.check()
    chosen, counts = _choices("--models", models, MODELS), con.worker_counts(workers)
    con.check_choice("--cost", cost, COSTS)
    having = [name for name in chosen if name in MODEL_PRIORITIES]
    _priority("--priority", priority, f"--models {models}", PRIORITIES if having else ())
    for name, value in overheads.items():
        whole = name == "prefetch"
        con.check_range(f"--{name.replace('_', '-')}", value, 0, _MOST_WORKERS if whole else _MOST_COST)
    if prefetch_list is not None:
        con.check_choice("--prefetch-list", prefetch_list, PREFETCH_LISTS)
    if output is not None:
        check_target("--json", output, view.inputs, (".json",))
    view, block, access = view.read()
    weight = _costs(block, cost)
    prefetch_list, known = prefetch_list or view.exact, None
    if prefetch_list != view.exact:
        if view.granularity != "slot":
            raise UsageError(f"--prefetch-list {prefetch_list} with --granularity {view.granularity}: only {view.exact}")
        known = execute(block, "serial").observed if prefetch_list == "observed" else access_sets(block, prefetch_list)
    over = Overheads(**overheads, prefetch_access=known)
    with con.status("simulating"):
        runs = compare(access, chosen, workers=counts, cost=weight, overheads=over, priority=priority, block=block)
    first = (priority or "longest-path") if having else None
    total = float(weight.sum())
    if output is not None:
        about = {"block_number": block.number, "n_tx": block.n_tx, "priority": first}
        about |= view.about(block, cost) | overheads | {"prefetch_list": prefetch_list}
        write_json(output, [about | _row(run, total) for run in runs])
    paid = [f"{name.replace('_', ' ')} {amount(value)}" for name, value in overheads.items() if value]
    paid += [f"of the {prefetch_list} list"] if overheads["prefetch"] and known is not None else []
    pairs = [
        ("block", f"{block.number}: {block.n_tx:,} transactions"),
        ("dependencies", view.words()),
        ("costs", f"{': '.join(COST_NAMES[cost])}; {amount(total)} in all"),
        ("overheads", f"{', '.join(paid)}; in the unit of the costs" if paid else "none"),
    ]
    print_pairs([*pairs, ("priority", f"{first}, for {' and '.join(having)}")] if having else pairs)
    show_runs(runs, total, COST_NAMES[cost][0] + view.scope)


def _row(run: Simulation, total: float) -> dict[str, Any]:
    share = min(1.0, run.bound / run.makespan) if run.makespan > 0 else 1.0
    return run.row() | {"bound_share": share, "wasted_share": wasted_share(run, total)}
