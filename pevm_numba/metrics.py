"""What a measurement reports: the arithmetic from raw times to the fields of `fields`, and the page that lists them.

`speedup` compares with *tuned serial execution of the same block in the same process*; it includes finding the access
sets and scheduling. `speedup_execute` leaves those two out.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .fields import FIELDS, TABLES

__all__ = ["Rounds", "describe_machine", "fields_page", "percentiles_ms", "time_fields", "versions"]


@dataclass
class Rounds:
    """Raw nanoseconds of interleaved rounds: serial, parallel phases, serial again.

    Parameters
    ----------
    serial_before, serial_after, estimate, graph, schedule, execute, cpu, verify : list of int
        One entry a round, in nanoseconds.
    """

    serial_before: list[int]
    serial_after: list[int]
    estimate: list[int]
    graph: list[int]
    schedule: list[int]
    execute: list[int]
    cpu: list[int]
    verify: list[int]

    @classmethod
    def empty(cls) -> Rounds:
        """No rounds yet."""
        return cls([], [], [], [], [], [], [], [])

    def quiet(self) -> NDArray[np.bool_]:
        """(rounds,) bool: whether the two serial runs of a round differ by at most 15 %, and no core was taken away.

        Serial runs do not show that another process holds the second core; an execution of over twice the best one's
        time does.
        """
        first, second = np.array(self.serial_before, float), np.array(self.serial_after, float)
        execute = np.array(self.execute, float)
        steady = np.abs(first - second) <= 0.15 * np.minimum(first, second)
        return steady & (execute <= 2 * execute.min(initial=np.inf))


def time_fields(rounds: Rounds, *, has_graph: bool) -> dict[str, Any]:
    """The time fields of `FIELDS` from raw rounds; noisy rounds are left out if at least three quiet ones remain.

    Examples
    --------
    >>> rounds = Rounds([2_000_000], [2_000_000], [100_000], [0], [400_000], [500_000], [1_500_000], [0])
    >>> fields = time_fields(rounds, has_graph=False)
    >>> fields["speedup"], fields["speedup_execute"], fields["graph_ms"]
    (2.0, 4.0, None)
    """
    quiet = rounds.quiet()
    keep = quiet if quiet.sum() >= 3 else np.ones(len(quiet), bool)

    def ms(values: NDArray[Any]) -> float:
        return float(np.median(values[keep])) / 1e6

    before, after = np.array(rounds.serial_before, float), np.array(rounds.serial_after, float)
    serial = (before + after) / 2
    parts = {name: np.array(getattr(rounds, name), float) for name in ("estimate", "graph", "schedule", "execute")}
    total = sum(parts.values())
    ratios = serial[keep] / np.maximum(parts["execute"][keep], 1)
    serial_ms, parallel_ms, execute_ms = ms(serial), ms(np.asarray(total)), ms(parts["execute"])
    return {
        "serial_time_ms": serial_ms,
        "parallel_time_ms": parallel_ms,
        "execute_time_ms": execute_ms,
        "speedup": serial_ms / parallel_ms if parallel_ms else None,
        "speedup_execute": serial_ms / execute_ms if execute_ms else None,
        "speedup_execute_low": float(np.quantile(ratios, 0.25)),
        "speedup_execute_high": float(np.quantile(ratios, 0.75)),
        "cpu_ms": float(np.mean(np.array(rounds.cpu, float)[keep])) / 1e6,
        "rounds": len(quiet),
        "rounds_quiet": int(quiet.sum()),
        "estimate_ms": ms(parts["estimate"]),
        "graph_ms": ms(parts["graph"]) if has_graph else None,
        "schedule_ms": ms(parts["schedule"]),
        "verify_ms": ms(np.array(rounds.verify, float)),
    }


def percentiles_ms(nanoseconds: NDArray[np.int64], name: str) -> dict[str, float | None]:
    """p50, p95 and p99 in milliseconds, under a name; None for no transaction.

    Examples
    --------
    >>> percentiles_ms(np.array([1_000_000, 3_000_000]), "tx_latency")["tx_latency_p50_ms"]
    2.0
    """
    if len(nanoseconds) == 0:
        return {f"{name}_p{q}_ms": None for q in (50, 95, 99)}
    return {f"{name}_p{q}_ms": float(np.percentile(nanoseconds, q)) / 1e6 for q in (50, 95, 99)}


def versions() -> dict[str, str]:
    """Versions that decide what machine code runs."""
    from importlib.metadata import version

    names = ("pevm-numba", "numba", "llvmlite", "numpy", "scipy", "pyarrow")
    found = {"python": platform.python_version()}
    from . import __version__

    found["pevm-numba"] = __version__
    found |= {name: version(name) for name in names[1:]}
    return found


def describe_machine() -> dict[str, Any]:
    """Processor, number of cores this process may use, system."""
    import os

    import llvmlite.binding as llvm

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"cpu": llvm.get_host_cpu_name(), "cores": cores, "system": platform.system(), "machine": platform.machine()}


def fields_page() -> str:
    """The page docs/metrics.md: one row for each of `FIELDS`, then for each field of the `TABLES`.

    Examples
    --------
    >>> print(fields_page().splitlines()[-1])
    | `verified` |  | the honest party won every game, within the bound; each was judged anew from its transcript |
    """
    head = (
        "# Fields of a measurement\n\n"
        "Each object that `python -m pevm_numba.bench --json FILE` and `python -m pevm_numba benchmark --output FILE` write\n"
        "has these fields. Times are medians over the rounds. A field that has no meaning for a run is null.\n\n"
        "Written by `python -m pevm_numba.metrics > docs/metrics.md`; a test compares.\n\n"
    )
    parts = [head, _field_rows(FIELDS)]
    last = ""
    for table, (command, fields) in TABLES.items():
        if command != last:
            last = command
            parts.append(f"\n## `python -m pevm_numba.bench {command} --json FILE`\n\n")
            parts.append("A list of objects, told apart by `table`.\n")
        parts += [f"\n### `table` is `{table}`\n\n", _field_rows(fields)]
    return "".join(parts)


def _field_rows(fields: dict[str, tuple[str, str]]) -> str:
    rows = (f"| `{name}` | {unit} | {text} |\n" for name, (unit, text) in fields.items())
    return "| field | unit | definition |\n|---|---|---|\n" + "".join(rows)


if __name__ == "__main__":
    print(fields_page(), end="")
