"""What a measurement reports: every field with its unit and definition, and the arithmetic from raw times to fields.

`speedup` compares with *tuned serial execution of the same block in the same process*; it includes finding the access
sets and scheduling. `speedup_execute` leaves those two out.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["FIELDS", "Rounds", "describe_machine", "fields_page", "percentiles_ms", "time_fields", "versions"]

#: Field -> (unit, definition). Times are medians over the repeats.
FIELDS: Final[dict[str, tuple[str, str]]] = {
    "scenario": ("", "preset, or kind of file and block number"),
    "block_number": ("", "number of the block"),
    "n_tx": ("transactions", "transactions in the block"),
    "n_ops": ("ops", "micro-ops in the block"),
    "n_keys": ("keys", "distinct state keys, pre-state included"),
    "fork": ("", "name of the gas prices"),
    "executor": ("", "executor that ran"),
    "policy": ("", "scheduling policy; null if the executor needs none"),
    "oracle": ("", "source of the access sets"),
    "miss_rate": ("", "share of accesses withheld from the estimate"),
    "workers": ("", "threads that the run could use"),
    "work_us": ("us", "stand-in work added to every transaction"),
    "verified": ("", "receipts, observed sets and state equal to serial execution in the promised order, in every repeat"),
    "chain_gas_exact": ("transactions", "transactions whose gas is the chain's own; null if unknown or work was added"),
    "serial_time_ms": ("ms", "serial execution alone, on encoded programs and warm buffers"),
    "parallel_time_ms": ("ms", "access estimation + scheduling + execution, from interned arrays"),
    "execute_time_ms": ("ms", "parallel execution alone, the check of the schedule included"),
    "speedup": ("", "serial_time_ms / parallel_time_ms"),
    "speedup_execute": ("", "serial_time_ms / execute_time_ms"),
    "speedup_execute_low": ("", "lower quartile of serial / execute over the rounds"),
    "speedup_execute_high": ("", "upper quartile of serial / execute over the rounds"),
    "cpu_ms": ("ms", "CPU time of all threads during parallel_time_ms, mean over the rounds"),
    "rounds": ("", "rounds measured"),
    "rounds_quiet": (
        "",
        "rounds whose two serial runs differ by at most 15 % and whose execution takes at most twice the best one's time; "
        "the others are left out if three remain",
    ),
    "waves": ("waves", "waves run, transactions put off included"),
    "parallel_waves": ("waves", "waves run on several threads; the others hold too little work to be worth launching"),
    "avg_wave_size": ("transactions", "n_tx / waves"),
    "conflict_pairs": ("pairs", "pairs of transactions that conflict on any key"),
    "conflict_rate": ("", "conflict_pairs / all pairs; 0 below two transactions"),
    "conflict_rate_exact": ("", "false if the rate is an estimate from sampled pairs"),
    "runtime_conflicts": ("accesses", "accesses that the schedule would have run before a predecessor"),
    "requeued": ("transactions", "transactions put off to a later wave"),
    "reexecuted": ("transactions", "transactions run more than once"),
    "preexec_precision": ("", "share of the estimated (key, mode) pairs that execution observed"),
    "preexec_recall": ("", "share of the observed (key, mode) pairs that the estimate held"),
    "critical_path": ("transactions", "longest chain of dependent transactions in the promised order"),
    "bound": ("", "min(workers, serial time / critical path), both in measured serial nanoseconds per transaction"),
    "bound_gas": ("", "the same with gas used for time; not a bound on time"),
    "bound_share": ("", "speedup_execute / bound"),
    "tx_latency_p50_ms": ("ms", "start to end of a transaction, its share of hashing included, in a separate serial pass"),
    "tx_latency_p95_ms": ("ms", "95th percentile of the same"),
    "tx_latency_p99_ms": ("ms", "99th percentile of the same"),
    "work_per_tx_us": ("us", "serial_time_ms / n_tx"),
    "iops": ("1/s", "observed accesses per second of parallel execution"),
    "total_gas": ("gas", "sum of gas used, after refunds"),
    "failed": ("transactions", "transactions that the machine failed"),
    "intern_ms": ("ms", "giving dense ids to the keys of all accesses; once, when a block is made"),
    "encode_ms": ("ms", "resolving warmth, static gas and stack depth; once for a block and fork"),
    "estimate_ms": ("ms", "access estimation"),
    "graph_ms": ("ms", "conflict graph; null where the policy needs none"),
    "schedule_ms": ("ms", "scheduling, without the graph"),
    "verify_ms": ("ms", "comparing receipts, observed sets and state with serial execution"),
    "compile_ms": ("ms", "compiling or loading kernels, once for the process, in no other time"),
    "kernels_compiled": ("", "kernels compiled in this process; 0 if all came from disk"),
    "versions": ("", "versions of Python and the libraries"),
    "machine": ("", "processor, cores, system"),
}


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


def percentiles_ms(nanoseconds: NDArray[np.int64]) -> dict[str, float | None]:
    """p50, p95 and p99 in milliseconds; None for no transaction.

    Examples
    --------
    >>> percentiles_ms(np.array([1_000_000, 3_000_000]))["tx_latency_p50_ms"]
    2.0
    """
    if len(nanoseconds) == 0:
        return {f"tx_latency_p{q}_ms": None for q in (50, 95, 99)}
    return {f"tx_latency_p{q}_ms": float(np.percentile(nanoseconds, q)) / 1e6 for q in (50, 95, 99)}


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
    """The page docs/metrics.md: one row for each of `FIELDS`.

    Examples
    --------
    >>> print(fields_page().splitlines()[-1])
    | `machine` |  | processor, cores, system |
    """
    head = (
        "# Fields of a measurement\n\n"
        "Each object that `python -m pevm_numba.bench --json FILE` and `python -m pevm_numba benchmark --output FILE` write\n"
        "has these fields. Times are medians over the rounds. A field that has no meaning for a run is null.\n\n"
        "Written by `python -m pevm_numba.metrics > docs/metrics.md`; a test compares.\n\n"
        "| field | unit | definition |\n|---|---|---|\n"
    )
    return head + "".join(f"| `{name}` | {unit} | {text} |\n" for name, (unit, text) in FIELDS.items())


if __name__ == "__main__":
    print(fields_page(), end="")
