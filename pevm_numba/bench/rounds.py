"""Taking times in turn: each round runs every job once, so that a slow minute of the machine hits all of them alike."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter_ns
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["WARM_BELOW_NS", "Spread", "interleaved", "peak_growth", "timed"]

#: Jobs below this time run once untimed before each timed run: what ran before has taken the caches.
WARM_BELOW_NS: Final = 50e6


@dataclass(frozen=True)
class Spread:
    """Times of one job in nanoseconds: median, least and most of `runs` runs."""

    median: float
    low: float
    high: float
    runs: int

    @classmethod
    def of(cls, times: list[float] | NDArray[np.float64]) -> Spread:
        """From the times of the runs, at least one.

        Examples
        --------
        >>> Spread.of([3.0, 1.0, 2.0])
        Spread(median=2.0, low=1.0, high=3.0, runs=3)
        """
        values = np.asarray(times, np.float64)
        return cls(float(np.median(values)), float(values.min()), float(values.max()), len(values))

    def scaled(self, factor: float) -> Spread:
        """In another unit."""
        return Spread(self.median * factor, self.low * factor, self.high * factor, self.runs)


def timed(job: Callable[[], Any]) -> tuple[Any, float]:
    """The job's result and its time in nanoseconds, without garbage collection meanwhile."""
    gc.disable()
    try:
        start = perf_counter_ns()
        result = job()
        return result, float(perf_counter_ns() - start)
    finally:
        gc.enable()


def interleaved(jobs: Mapping[str, Callable[[], Any]], repeat: int, budget_s: float = 5.0) -> dict[str, Spread]:
    """Times of jobs that are compiled already, taken in turn; a short one runs once untimed before, so that caches are warm.

    Parameters
    ----------
    jobs : mapping of name to function
    repeat : int
        Rounds, at least 1.
    budget_s : float
        A job that has used so many seconds sits out the further rounds.
    """
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(repeat):
        gc.collect()
        for name, job in jobs.items():
            if sum(times[name]) < budget_s * 1e9:
                taken = timed(job)[1]
                times[name].append(timed(job)[1] if taken < WARM_BELOW_NS else taken)
    return {name: Spread.of(taken) for name, taken in times.items()}


def peak_growth(job: Callable[[], Any]) -> int | None:
    """Most bytes by which the process's resident memory stood above its start while the job ran; None if not to be had.

    Linux only: the high-water mark is reset first (clear_refs), and free memory is given back, so that what the job
    takes is seen. Memory that is allocated but never written does not count.
    """
    status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc only; elsewhere freed memory hides growth
    if trim is not None:
        trim(0)
    try:
        reset.write_text("5")
        before = _kilobytes(status, "VmRSS")
    except (OSError, LookupError):
        job()
        return None
    job()
    return max(0, 1024 * (_kilobytes(status, "VmHWM") - before))


def _kilobytes(status: Path, field: str) -> int:
    lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
    return int(lines[field].split()[0])
