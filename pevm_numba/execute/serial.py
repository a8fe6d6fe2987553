"""Serial execution: one core, in the promised order. Every other executor is compared with this one."""

from __future__ import annotations

from time import perf_counter_ns

from ..schedule.plan import Schedule
from .workspace import Workspace

__all__ = ["run_serial"]


def run_serial(space: Workspace, schedule: Schedule | None) -> tuple[dict[str, int], dict[str, int]]:
    """Run on a fresh workspace; returns counters and timings."""
    kernel, arguments = space.serial_call(None if schedule is None else schedule.serial_order)
    start = perf_counter_ns()
    kernel(*arguments)
    elapsed = perf_counter_ns() - start
    counters = {"runtime_conflicts": 0, "requeued": 0, "reexecuted": 0, "waves": 0, "parallel_waves": 0, "workers": 1}
    return counters, {"execute_ns": elapsed}
