"""One cell of the matrix: a case at one amount of work. A share of the bound says more than a speed-up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..access.oracles import access_sets
from ..block import Block
from ..execute.auto import PICKS
from ..schedule.bounds import critical_path_cost
from .contest import Contest, Round, contest
from .scenarios import with_work

__all__ = ["measure_cell"]


def measure_cell(
    case: str, block: Block, work_us: float, executors: Sequence[str], workers: int, rounds: int
) -> list[dict[str, Any]]:
    """One case at one amount of work.

    Parameters
    ----------
    case : str
    block : Block
    work_us : float
        Serial microseconds for each transaction, as near as its operations allow.
    executors : sequence of str
    workers, rounds : int

    Returns
    -------
    list of dict
        For each executor, and for auto if all that it may pick are there, the fields of `fields.TABLES["executors"]`.

    Raises
    ------
    ExecutionError
        If any result differs from serial execution.
    """
    made, done = contest(with_work(block, work_us), executors, workers, rounds)
    quiet = [one for one in done if one.quiet]
    used = quiet or done
    cost = made.cost()
    path = float(critical_path_cost(access_sets(made.block), cost))
    bound = max(1.0, min(workers, cost.sum() / path)) if path else float(workers)
    serial = float(np.median([np.mean(one.serial) for one in used]))
    handoffs = [one.handoff_ns for one in done if one.handoff_ns is not None]
    shared = {
        "table": "executors", "case": case, "n_tx": made.block.n_tx, "work_us": work_us, "workers": workers,
        "serial_ns_per_tx": serial / max(1, made.block.n_tx), "path_bound": bound, "rounds": len(done),
        "rounds_quiet": len(quiet), "handoff_ns": float(np.median(handoffs)) if handoffs else None, "verified": True,
    }  # fmt: skip
    rows = []
    for name, job in made.jobs.items():
        # values that are known beforehand leave only the longest transaction to wait for
        most = max(1.0, min(workers, cost.sum() / max(1, cost.max(initial=1)))) if name == "bal" else bound
        rows.append(shared | {"executor": name, "bound": most, "reason": job.reason} | _figures(name, used, most))
    if not set(PICKS) - {"serial"} <= set(made.jobs):
        return rows
    estimates = [ns for one in used for ns in one.estimate.values()]
    rows.append(shared | _auto(made, used, rows, serial, float(np.median(estimates)) / 1e6, bound))
    return rows


def _figures(name: str, rounds: Sequence[Round], bound: float) -> dict[str, Any]:
    serial = np.array([np.mean(one.serial) for one in rounds])
    execute_ns = np.array([one.execute[name] for one in rounds], float)
    plan = np.array([one.plan[name] for one in rounds], float)
    estimate = np.array([one.estimate[name] for one in rounds], float)
    ratio = serial / execute_ns
    last = rounds[-1].counters[name]
    return {
        "speedup": float(np.median(ratio)),
        "low": float(np.quantile(ratio, 0.25)),
        "high": float(np.quantile(ratio, 0.75)),
        "share": float(np.median(ratio)) / bound,
        "cpu_per_s": sum(one.cpu[name] for one in rounds) / float(execute_ns.sum()),
        "execute_ms": float(np.median(execute_ns)) / 1e6,
        "plan_ms": float(np.median(plan)) / 1e6,
        "speedup_given": float(np.median(serial / (plan + execute_ns))),
        "speedup_computed": float(np.median(serial / (estimate + plan + execute_ns))),
        "launched": last["workers"],
        "reexecuted": float(np.median([one.counters[name]["reexecuted"] for one in rounds])),
        "waits": float(np.median([one.counters[name]["waits"] for one in rounds])),
        "fallback": sum(one.counters[name]["fallback"] for one in rounds),
    }


def _auto(
    made: Contest, rounds: Sequence[Round], rows: Sequence[dict[str, Any]], serial: float, estimate: float, bound: float
) -> dict[str, Any]:
    """What auto picks here, why, and what that costs against the best executor that needs no list of values."""
    choice = made.choice
    name, plan = choice.executor, float(np.median([one.auto_ns for one in rounds])) / 1e6
    ways = {"serial": (0.0, serial / 1e6)}
    ways |= {row["executor"]: (row["plan_ms"], row["execute_ms"]) for row in rows if row["executor"] != "bal"}
    run = ways[name][1]
    best = min(sum(way) for way in ways.values())
    chosen: dict[str, Any] = next((row for row in rows if row["executor"] == name), {})
    speedup = chosen.get("speedup", 1.0)
    return {
        "executor": "auto", "picked": name, "reason": choice.reason, "bound": bound, "speedup": speedup,
        "low": chosen.get("low", 1.0), "high": chosen.get("high", 1.0), "share": speedup / bound,
        "cpu_per_s": chosen.get("cpu_per_s", 1.0), "execute_ms": run, "plan_ms": plan,
        "speedup_given": serial / 1e6 / (plan + run), "speedup_computed": serial / 1e6 / (estimate + plan + run),
        "launched": chosen.get("launched", 1), "reexecuted": chosen.get("reexecuted", 0.0),
        "waits": chosen.get("waits", 0.0), "fallback": chosen.get("fallback", 0),
        "regret": (plan + run) / best - 1,
    }  # fmt: skip
