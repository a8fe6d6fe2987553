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

__all__ = ["FIELDS", "TABLES", "Rounds", "describe_machine", "fields_page", "percentiles_ms", "time_fields", "versions"]

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

_BLOCK: Final = {"block_number": ("", "number of the block"), "n_tx": ("transactions", "transactions in the block")}
_SPREAD: Final = "object of `mean`, `median`, `least`, `most` over the blocks; null if unknown"

#: Value of `table` -> (command that writes such objects, field -> (unit, definition)).
TABLES: Final[dict[str, tuple[str, dict[str, tuple[str, str]]]]] = {
    "ours": (
        "schedule",
        {
            "case": ("", "synthetic case, by name"),
            "n_tx": ("transactions", "transactions of the case"),
            "n_accesses": ("accesses", "(transaction, key) pairs"),
            "n_keys": ("keys", "distinct keys"),
            "probe_ns": ("ns", "time to touch one 32-byte row for each access, in their order, / accesses"),
            "random_probe_ns": ("ns", "the same in random order"),
            "fresh_probe_ns": ("ns", "the same in their order, in new memory"),
            "job": ("", "what was measured"),
            "ns_per_access": ("ns", "time of the job / accesses; median of the runs"),
            "low": ("ns", "least of the same"),
            "high": ("ns", "most of the same"),
            "runs": ("", "timed runs; fewer for a job that used up its seconds"),
            "probes": ("", "ns_per_access / probe_ns, from the same rounds"),
            "peak_bytes": ("bytes", "most growth of resident memory while the job ran; null if unknown"),
            "skipped": ("", "why there are no figures; only where there are none"),
        },
    ),
    "peers": (
        "schedule",
        {
            "case": ("", "synthetic case, by name"),
            "n_tx": ("transactions", "transactions of the case"),
            "job": ("", "what all sides do"),
            "n_edges": ("edges", "edges of the graph: conflicting pairs, or of the DAG; null if not built"),
            "library": ("", "ours, or the other library; all where a job is left out"),
            "way": ("", "policy or function; of mis and first-fit all waves are timed, of the libraries one set"),
            "edges_given": ("", "true if the side starts from ready-made edges, false if it finds the conflicts itself"),
            "result": ("", "colours, size of the set, generations, or length of the path; checked"),
            "build_ms": ("ms", "from edges to the side's graph, or from accesses to the DAG; null if there is no such step"),
            "run_ms": ("ms", "the job itself; median of the runs"),
            "total_ms": ("ms", "build and run; median of the runs"),
            "total_low": ("ms", "least of the same"),
            "total_high": ("ms", "most of the same"),
            "runs": ("", "timed runs"),
            "ratio_run": ("", "run_ms / that of our first way; null for ours"),
            "ratio_total": ("", "total_ms / that of our first way; null for ours"),
            "skipped": ("", "why there are no figures; only where there are none"),
        },
    ),
    "bal": (
        "corpus",
        _BLOCK
        | {
            "n_writes": ("slots", "distinct slots written, summed over the transactions"),
            "critical_path": ("transactions", "longest chain of consecutive writers of a slot"),
            "isolated": ("transactions", "transactions without any edge"),
            "isolated_share": ("", "isolated / n_tx; 0 for a block without transactions"),
        },
    ),
    "definitions": (
        "corpus",
        {"definition": ("", "which dependencies count")}
        | _BLOCK
        | {
            "path_txs": ("transactions", "critical path, every transaction costing 1"),
            "path_gas": ("gas", "critical path, each costing its gas; null if the chain's is unknown"),
            "work_span_txs": ("", "n_tx / path_txs; null for a block without transactions"),
            "work_span_gas": ("", "gas of the block / path_gas; null if unknown"),
            "levels_waves": ("waves", "waves of levels; null where only read-after-write dependencies count"),
            "mis_waves": ("waves", "waves of mis; null likewise"),
            "pairs": ("pairs", "conflicting pairs; null likewise"),
            "misordered": ("pairs", "of these, run against block order by mis; null likewise"),
        },
    ),
    "definitions summary": (
        "corpus",
        {
            "definition": ("", "which dependencies count"),
            "blocks": ("blocks", "blocks with transactions, which the other fields are over"),
            "path_txs": ("transactions", f"path_txs: {_SPREAD}"),
            "work_span_txs": ("", f"work_span_txs: {_SPREAD}"),
            "work_span_gas": ("", f"work_span_gas: {_SPREAD}"),
            "levels_waves": ("waves", "mean; null for RAW"),
            "mis_waves": ("waves", "mean; null for RAW"),
            "pairs": ("pairs", "sum; null for RAW"),
            "misordered": ("pairs", "sum; null for RAW"),
            "blocks_misordered": ("blocks", "blocks with a misordered pair; null for RAW"),
        },
    ),
    "workers": (
        "corpus",
        _BLOCK
        | {
            "workers": ("workers", "simulated workers"),
            "gas": ("gas", "of the block: its time on one worker"),
            "waves": ("gas", "makespan of the waves of levels with a barrier after each"),
            "list": ("gas", "makespan of list scheduling, longest path first"),
            "bound": ("gas", "max(gas / workers, critical path): no schedule in block order is shorter"),
        },
    ),
    "workers summary": (
        "corpus",
        {
            "workers": ("workers", "simulated workers"),
            "way": ("", "waves, list, or bound"),
            "blocks": ("blocks", "blocks with gas and transactions"),
            "total": ("", "speed-up in all: gas of all blocks / sum of their makespans"),
            "share_of_bound": ("", "sum of the bounds / sum of the makespans"),
            "blocks_at_bound": ("blocks", "blocks whose makespan is the bound itself"),
            "mean": ("", "speed-up of a block, mean"),
            "median": ("", "median of the same"),
            "least": ("", "least of the same"),
            "most": ("", "most of the same"),
        },
    ),
    "models": (
        "corpus",
        _BLOCK
        | {
            "model": ("", "see simulate"),
            "workers": ("workers", "simulated workers"),
            "order": ("", "block, or own: the order that the result equals"),
            "makespan": ("gas", "when all is done"),
            "serial": ("gas", "makespan of the serial model"),
            "speedup": ("", "serial / makespan"),
            "bound": ("gas", "no run that keeps what the model must keep is shorter"),
            "executions": ("", "executions, those thrown away among them"),
            "reexecutions": ("", "executions thrown away"),
            "validations": ("", "validations"),
            "wasted": ("gas", "cost of executions thrown away"),
            "busy": ("gas", "time that holds a worker, summed"),
            "idle_share": ("", "1 - busy / (workers * makespan)"),
        },
    ),
    "models summary": (
        "corpus",
        {
            "model": ("", "see simulate"),
            "workers": ("workers", "simulated workers"),
            "order": ("", "block, or own: the order that the result equals"),
            "blocks": ("blocks", "blocks with gas and transactions"),
            "n_tx": ("transactions", "of these blocks"),
            "total": ("", "speed-up in all: sum of serial / sum of the makespans"),
            "share_of_bound": ("", "sum of the bounds / sum of the makespans"),
            "wasted_share": ("", "wasted / busy, both summed"),
            "reexecutions": ("", "executions thrown away, sum"),
        },
    ),
    "ratios": (
        "optimum",
        {"case": ("", "generated and its pattern, or real blocks")}
        | _BLOCK
        | {
            "workers": ("workers", "of the makespan"),
            "cost": ("", "gas: makespans are in gas; unit: every transaction costs 1"),
            "measure": ("", "makespan, waves, or independent set"),
            "heuristic": ("", "policy, and its priority where it has several"),
            "value": ("gas, waves or transactions", "what the heuristic reached; a unit-cost makespan is in transactions"),
            "best": ("as value", "the best that the solver found; the optimum if proved"),
            "bound": ("as value", "nothing is better; the optimum itself if proved"),
            "proved": ("", "whether the optimum was proved in time"),
            "ratio": ("", "value / bound, for independent sets bound / value; at least 1"),
        },
    ),
    "built": (
        "optimum",
        {
            "block_number": ("", "number of the block whose transactions are the pool"),
            "pool": ("transactions", "transactions in the pool"),
            "workers": ("workers", "of the makespan"),
            "gas_limit": ("gas", "most gas of the built block: half of the pool's"),
            "deadline": ("gas", "most makespan: a tenth of the pool's gas; null if none"),
            "key_cap": ("gas", "most gas, on each key, of its writers: a twentieth of the pool's gas; null if none"),
            "limits": ("", "names of the limits that hold"),
            "method": ("", "greedy or lp"),
            "chosen": ("transactions", "transactions in the built block"),
            "reward": ("", "sum of the chosen rewards: gas times a log-normal factor (seed 0)"),
            "bound": ("", "no choice has more reward, by linear programming"),
            "gap": ("", "1 - reward / bound"),
            "gas_share": ("", "gas of the built block / gas_limit"),
            "makespan": ("gas", "of the built block on the workers"),
            "makespan_bound": ("gas", "no schedule of the built block is shorter"),
        },
    ),
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
    """The page docs/metrics.md: one row for each of `FIELDS`, then for each field of the `TABLES`.

    Examples
    --------
    >>> print(fields_page().splitlines()[-1])
    | `makespan_bound` | gas | no schedule of the built block is shorter |
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
