"""How long the calls of a store took, and what they moved: counts for ever, in a fixed amount of memory."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Meter", "StoreMetrics", "Summary"]

#: Steps of a factor of two, and factors of two: 1 ns to 18 minutes.
_STEPS = 16
_OCTAVES = 40


class Summary(NamedTuple):
    """Of durations, in nanoseconds; the percentiles are right to 4 %. All 0 if there are none."""

    n: int = 0
    mean: float = 0.0
    p50: float = 0.0
    p99: float = 0.0


_NONE = Summary()


@dataclass(frozen=True)
class StoreMetrics:
    """What a store has done since it was opened, or since `Store.reset_metrics`.

    Attributes
    ----------
    reads, writes, commits : int
        Calls: of `get_many`; of `put_many`; of `commit_block`.
    hits, misses : int
        Keys read that were there, and that were not.
    keys_written : int
        By `put_many` and `commit_block`.
    bytes_read, bytes_written : int
        Of the keys and words that went over the interface, 53 and 32 bytes each; of codes, their own.
    read_call, read_key, write_call, write_key : Summary
        Durations of a call, and of a key if a call's are shared out among its keys; writes include commits.
    """

    reads: int = 0
    hits: int = 0
    misses: int = 0
    writes: int = 0
    commits: int = 0
    keys_written: int = 0
    bytes_read: int = 0
    bytes_written: int = 0
    read_call: Summary = _NONE
    read_key: Summary = _NONE
    write_call: Summary = _NONE
    write_key: Summary = _NONE


@dataclass
class _Histogram:
    """Durations in bins of equal ratio."""

    bins: NDArray[np.int64] = field(default_factory=lambda: np.zeros(_STEPS * _OCTAVES, np.int64))
    total: float = 0.0

    def add(self, ns: float, weight: int) -> None:
        place = int(_STEPS * np.log2(max(ns, 1.0)))
        self.bins[min(place, len(self.bins) - 1)] += weight
        self.total += ns * weight

    def summary(self) -> Summary:
        count = int(self.bins.sum())
        if not count:
            return _NONE
        reached = np.cumsum(self.bins)
        marks = (int(np.searchsorted(reached, np.ceil(share * count))) for share in (0.5, 0.99))
        p50, p99 = (2.0 ** ((mark + 0.5) / _STEPS) for mark in marks)
        return Summary(count, self.total / count, p50, p99)


class Meter:
    """Counts what a store does; several threads may."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        """Begin anew."""
        self._counts = dict.fromkeys(("reads", "hits", "misses", "writes", "commits", "keys_written"), 0)
        self._counts |= {"bytes_read": 0, "bytes_written": 0}
        self._durations = {name: _Histogram() for name in ("read_call", "read_key", "write_call", "write_key")}

    def count(self, kind: str, ns: int, keys: int, **counts: int) -> None:
        """One call of a kind (read or write) of so many keys."""
        with self._lock:
            for name, value in counts.items():
                self._counts[name] += value
            self._durations[f"{kind}_call"].add(ns, 1)
            if keys:
                self._durations[f"{kind}_key"].add(ns / keys, keys)

    def add(self, **counts: int) -> None:
        """To counts alone."""
        with self._lock:
            for name, value in counts.items():
                self._counts[name] += value

    def metrics(self) -> StoreMetrics:
        """As they stand."""
        with self._lock:
            durations = {name: one.summary() for name, one in self._durations.items()}
            values: dict[str, Any] = self._counts | durations
            return StoreMetrics(**values)
