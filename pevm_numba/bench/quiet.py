"""Whether this is a quiet moment: a time on shared cores means something only beside what the cores were worth then.

Virtual cores move: at times two of them are the two threads of one core, at times they lie on different chips, and another
process may hold one of them. So each round of a benchmark asks first.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from time import perf_counter_ns
from typing import Final

import numpy as np

from .._kernels import probe as _k
from .._kernels.jit import most_threads

__all__ = ["LEAST_PAIR", "MOST_DRIFT", "MOST_WAIT", "Moment", "awake", "look", "waited_ns"]

#: A round counts as quiet if its two serial runs agree so far, if our threads waited for a core for at most this share of
#: its time, and if all workers together step at least so much faster than one, as a share of what they should.
MOST_DRIFT: Final = 0.15
MOST_WAIT: Final = 0.03
LEAST_PAIR: Final = 0.9

_STEPS: Final = 40_000
_TURNS: Final = 300


@dataclass(frozen=True)
class Moment:
    """What the cores are worth now.

    Parameters
    ----------
    pair : float
        Stand-in work of all workers at once against one alone, as a share of the workers: 1 means that they are cores of
        their own. 1 for one worker.
    handoff_ns : float or None
        Time from one core's write to another's having seen it; None with one thread.
    """

    pair: float
    handoff_ns: float | None


def awake(workers: int) -> None:
    """Wake Numba's threads, which sleep some milliseconds after their last work."""
    _k.wake_up(workers, np.zeros(16 * workers, np.uint64))


def look(workers: int) -> Moment:
    """Probe the cores; about a quarter of a millisecond."""
    if workers < 2 or most_threads() < 2:
        return Moment(1.0, None)
    x, taken = np.ones(16 * workers, np.uint64), np.zeros(16 * workers, np.int64)
    awake(workers)
    alone, together = [], []
    for _ in range(3):
        _k.step_on_all(1, _STEPS, x, taken)
        alone.append(int(taken[0]))
        _k.step_on_all(workers, _STEPS, x, taken)
        together.append(int(taken[::16].max()))
    turn = np.zeros(16, np.int64)
    start = perf_counter_ns()
    _k.hand_over(turn, _TURNS, 100_000)
    elapsed = perf_counter_ns() - start
    return Moment(min(1.0, min(alone) / min(together)), elapsed / turn[0] if turn[0] == 2 * _TURNS else None)


def waited_ns() -> int | None:
    """Nanoseconds that all threads of this process have waited for a core so far; None where the system does not tell."""
    total = 0
    try:
        for path in Path("/proc/self/task").glob("*/schedstat"):
            total += int(path.read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return total
