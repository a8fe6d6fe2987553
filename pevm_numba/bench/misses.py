"""What wrong estimates cost: the preset `large`, with access sets from which a share of the accesses is missing."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter_ns
from typing import Any, Final

import numpy as np

from ..access.oracles import access_sets, degrade
from ..execute.micro_ops import JOBS
from ..execute.serial import SerialJob
from ..generate import generate
from .quiet import awake
from .tables import print_table

__all__ = ["MISS_RATES", "measure_misses", "show_misses"]

MISS_RATES: Final = (0.0, 0.01, 0.1, 1.0)
_EXECUTORS: Final = ("waves", "dataflow")
_PRESET: Final = "large"


def measure_misses(workers: int, rounds: int) -> list[dict[str, Any]]:
    """Time of planning and running by each estimate, beside a perfect one and beside serial, interleaved, all compared.

    Returns
    -------
    list of dict
        For each executor and miss rate the fields of `fields.TABLES["misses"]`.

    Raises
    ------
    ExecutionError
        If any result differs from serial execution.
    """
    block = generate(_PRESET)
    exact = access_sets(block)
    baseline = SerialJob(block)
    baseline.reset()
    baseline.run()
    reference = baseline.collect({}, {})
    jobs = {
        (name, rate): JOBS[name](block, workers=workers, access=degrade(exact, rate, 0.0, 1) if rate else exact)
        for name in _EXECUTORS for rate in MISS_RATES
    }  # fmt: skip
    times: dict[Any, list[int]] = {at: [] for at in (*jobs, "serial")}
    counters: dict[Any, dict[str, int]] = {}
    for turn in range(rounds + 2):
        baseline.reset()
        serial = baseline.run()[1]["execute_ns"]
        for at, job in jobs.items():
            start = perf_counter_ns()
            job.plan()
            planned = perf_counter_ns() - start
            job.reset()
            awake(workers)
            counters[at], spent = job.run()
            job.collect({}, {}).check_equal(reference)
            if turn >= 2:  # kernels are loaded in the first, and entered quickly from the second on
                times[at].append(planned + spent["execute_ns"])
        if turn >= 2:
            times["serial"].append(serial)
    middle = {at: float(np.median(values)) for at, values in times.items()}
    return [_row(at, middle, counters[at], block.n_tx) for at in jobs]


def _row(at: tuple[str, float], middle: dict[Any, float], counters: dict[str, int], n_tx: int) -> dict[str, Any]:
    name, rate = at
    return {
        "table": "misses", "preset": _PRESET, "n_tx": n_tx, "executor": name, "miss_rate": rate, "time_ms": middle[at] / 1e6,
        "to_perfect": middle[at] / middle[name, 0.0], "to_serial": middle[at] / middle["serial"],
        "runtime_conflicts": counters["runtime_conflicts"], "requeued": counters["requeued"], "verified": True,
    }  # fmt: skip


def show_misses(rows: Sequence[dict[str, Any]]) -> None:
    """One line for each executor and share of missed accesses; dataflow waits by footprints, whatever the estimate."""
    body = [
        [
            f"{row['executor']}, {100 * row['miss_rate']:g} % missed", f"{row['time_ms']:.3f}", f"{row['to_perfect']:.2f}",
            f"{row['to_serial']:.2f}", f"{row['runtime_conflicts']:,}", f"{row['requeued']:,}",
        ]
        for row in rows
    ]  # fmt: skip
    headings = ("estimate", "ms", "/ perfect", "/ serial", "conflicts met", "put off")
    title = f"wrong estimates: planning and running {rows[0]['preset']} ({rows[0]['n_tx']:,} transactions)"
    print_table(title, headings, body)
