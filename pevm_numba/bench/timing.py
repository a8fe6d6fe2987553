"""Measuring: serial and parallel runs interleaved in one process, warm, every result compared before its time counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter_ns, process_time_ns
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import door
from .._kernels.jit import was_compiled
from ..access.oracles import access_sets
from ..access.quality import accuracy
from ..access.sets import AccessSets
from ..block import Block
from ..errors import ExecutionError, TooLargeError
from ..execute import serial, waves
from ..execute.result import Execution
from ..execute.run import collect, pick
from ..execute.workspace import Workspace
from ..generate import generate
from ..metrics import Rounds, describe_machine, percentiles_ms, time_fields, versions
from ..schedule.bounds import critical_path_cost, speedup_bound
from ..schedule.conflicts import all_pairs_graph, conflict_counts, conflict_graph
from ..schedule.plan import Schedule
from ..schedule.policies import GRAPH_POLICIES, schedule
from .scenarios import Scenario, add_noops, nanoseconds_per_step

__all__ = ["Options", "WarmUp", "compare_graphs", "measure", "warm_up"]


@dataclass(frozen=True)
class Options:
    """How to measure; see `metrics.FIELDS` for what comes out.

    Parameters
    ----------
    executor : {"auto", "serial", "waves"}
    policy : str
        Scheduling policy.
    oracle : str
        Source of the access sets.
    miss_rate : float in [0, 1]
        With the oracle "degraded".
    workers : int
    repeat : int
        Rounds.
    work_us : float
        Stand-in work added to every transaction, in microseconds.
    """

    executor: str = "waves"
    policy: str = "levels"
    oracle: str = "static"
    miss_rate: float = 0.0
    workers: int = 1
    repeat: int = 9
    work_us: float = 0.0


@dataclass(frozen=True)
class WarmUp:
    """Time of the first use of every kernel, and how many had to be compiled."""

    compile_ms: float
    kernels_compiled: int


def warm_up(options: Options) -> WarmUp:
    """Run everything once on a tiny block, so that no compiling falls into a measured time."""
    start, before = perf_counter_ns(), was_compiled()
    tiny = generate(n_tx=8, key_space=4, conflict_ratio=0.5)
    one_round = Options(options.executor, options.policy, options.oracle, options.miss_rate, options.workers, 1)
    measure(Scenario("warm-up", tiny), one_round, WarmUp(0.0, 0))
    compare_graphs(tiny, 8)
    return WarmUp((perf_counter_ns() - start) / 1e6, was_compiled() - before)


def _time(function: Callable[..., Any], *arguments: Any, **options: Any) -> tuple[Any, int]:
    start = perf_counter_ns()
    result = function(*arguments, **options)
    return result, perf_counter_ns() - start


class _Subject:
    """One block under measurement: workspaces, the plan, the serial result that everything is compared with."""

    def __init__(self, block: Block, options: Options) -> None:
        self.block, self.options = block, options
        self.executor = options.executor
        if self.executor == "auto":
            self.executor = pick(block, options.workers)[0]
        self.parallel = self.executor != "serial"
        start = perf_counter_ns()
        self.baseline = Workspace(block)
        self.encode_ns = perf_counter_ns() - start
        self.space = Workspace(block, workers=options.workers, partial_sums=self.parallel)
        self.access, self.plan = self.estimate(), None
        if self.parallel:
            self.plan = self.schedule(self.access)
        self.run_baseline()
        self.reference = collect(self.baseline, "serial", self.plan, {}, {})
        self.result: Execution = self.reference
        self.counters: dict[str, int] = {}

    def estimate(self) -> AccessSets:
        if self.options.oracle == "degraded":
            return access_sets(self.block, "degraded", miss_rate=self.options.miss_rate)
        return access_sets(self.block, self.options.oracle)

    def schedule(self, access: AccessSets) -> Schedule:
        return schedule(access, self.options.policy, block=self.block)

    def run_baseline(self) -> int:
        self.baseline.reset()
        kernel, arguments = self.baseline.serial_call(None if self.plan is None else self.plan.serial_order)
        return _time(kernel, *arguments)[1]

    def run_round(self, rounds: Rounds) -> None:
        rounds.serial_before.append(self.run_baseline())
        self.space.reset()
        cpu = process_time_ns()
        estimate = plan_ns = 0
        if self.parallel:
            access, estimate = _time(self.estimate)
            plan, plan_ns = _time(self.schedule, access)
            self.plan = plan
            self.counters, times = waves.run_waves(self.space, plan)
        else:
            self.counters, times = serial.run_serial(self.space, None)
        rounds.cpu.append(process_time_ns() - cpu)
        rounds.estimate.append(estimate)
        rounds.schedule.append(plan_ns)
        rounds.graph.append(0)
        rounds.execute.append(times["execute_ns"])
        rounds.serial_after.append(self.run_baseline())
        start = perf_counter_ns()
        self.result = collect(self.space, self.executor, self.plan, self.counters, {})
        self.result.check_equal(self.reference)
        rounds.verify.append(perf_counter_ns() - start)


def measure(scenario: Scenario, options: Options, warm: WarmUp) -> dict[str, Any]:
    """Measure one executor on one block.

    Returns
    -------
    dict
        The fields of `metrics.FIELDS`.

    Raises
    ------
    ExecutionError
        If any result differs from serial execution; no time is then reported.
    BlockError
        If an option is out of range.
    """
    block = scenario.block
    if options.work_us:
        block = add_noops(block, max(1, round(options.work_us * 1e3 / nanoseconds_per_step())))
    door.integer("repeat", options.repeat, 1, 10**6)
    subject = _Subject(block, options)
    rounds = Rounds.empty()
    for _ in range(options.repeat):
        subject.run_round(rounds)
    graph_ns = _graph_time(subject)
    if graph_ns is not None:
        rounds.graph = [min(graph_ns, ns) for ns in rounds.schedule]
        rounds.schedule = [ns - part for ns, part in zip(rounds.schedule, rounds.graph)]
    fields = {
        "scenario": scenario.name, "block_number": block.number, "n_tx": block.n_tx, "n_ops": block.n_ops,
        "n_keys": block.n_keys, "fork": block.fork, "executor": subject.executor,
        "policy": options.policy if subject.parallel else None, "oracle": options.oracle,
        "miss_rate": options.miss_rate, "workers": subject.counters["workers"], "work_us": options.work_us,
        "verified": True,
        "chain_gas_exact": None if options.work_us else _chain_gas_exact(block, subject.reference),
    }  # fmt: skip
    fields |= time_fields(rounds, has_graph=graph_ns is not None)
    fields |= _block_fields(subject, fields)
    fields |= {
        "intern_ms": _intern_ns(block) / 1e6, "encode_ms": subject.encode_ns / 1e6,
        "compile_ms": warm.compile_ms, "kernels_compiled": warm.kernels_compiled,
        "versions": versions(), "machine": describe_machine(),
    }  # fmt: skip
    return fields


def _graph_time(subject: _Subject) -> int | None:
    """Time of the conflict graph where the policy needs one: taken apart, since the policy builds it inside."""
    if not subject.parallel or subject.options.policy not in GRAPH_POLICIES:
        return None
    return min(_time(conflict_graph, subject.access)[1] for _ in range(3))


def _chain_gas_exact(block: Block, reference: Execution) -> int | None:
    chain = block.chain_gas_used
    return None if chain is None else int(np.count_nonzero(chain == reference.gas_used))


def _intern_ns(block: Block) -> int:
    """Time of giving ids to one raw key row for each access of the programs, best of three."""
    keys = block.op_key[block.op_key >= 0]
    rows = block.key_address[keys], block.key_field[keys], block.key_slot[keys]
    return min(_time(door.intern_rows, *rows)[1] for _ in range(3))


def _cost(subject: _Subject, order: NDArray[np.int32]) -> NDArray[np.int64]:
    """(n_tx,) nanoseconds of each transaction: the least of three serial passes, since interruptions only add."""
    passes = []
    for _ in range(3):
        subject.baseline.reset()
        begin, end = subject.baseline.timed_serial(order)
        passes.append(end - begin)
    return np.min(passes, axis=0)


def _block_fields(subject: _Subject, fields: dict[str, Any]) -> dict[str, Any]:
    """What follows from the block, its costs and its schedule."""
    block, reference = subject.block, subject.reference
    truth = access_sets(block, "static")
    counts = conflict_counts(truth)
    quality = accuracy(subject.access, reference.observed, max_pairs=0)
    order = subject.baseline.block_order if subject.plan is None else subject.plan.serial_order
    cost = _cost(subject, order)
    ordered = truth.reordered(order)  # dependencies are those of the promised order
    n_waves = subject.counters["waves"]
    workers = subject.counters["workers"]
    bound = speedup_bound(ordered, cost[order], workers) if block.n_tx else None
    execute_s = fields["execute_time_ms"] / 1e3
    return {
        "waves": n_waves,
        "parallel_waves": subject.counters["parallel_waves"],
        "avg_wave_size": block.n_tx / n_waves if n_waves else None,
        "conflict_pairs": counts.pairs, "conflict_rate": counts.rate, "conflict_rate_exact": counts.exact,
        "runtime_conflicts": subject.counters["runtime_conflicts"], "requeued": subject.counters["requeued"],
        "reexecuted": subject.counters["reexecuted"],
        "preexec_precision": quality.precision if block.n_tx else None,
        "preexec_recall": quality.recall if block.n_tx else None,
        "critical_path": int(critical_path_cost(ordered)),
        "bound": bound,
        "bound_gas": speedup_bound(ordered, reference.gas_used[order], workers) if block.n_tx else None,
        "bound_share": fields["speedup_execute"] / bound if bound else None,
        **percentiles_ms(cost),
        "work_per_tx_us": fields["serial_time_ms"] * 1e3 / block.n_tx if block.n_tx else None,
        "iops": reference.observed.n_accesses / execute_s if block.n_tx else None,
        "total_gas": int(reference.gas_used.sum()),
        "failed": int(np.count_nonzero(reference.status)),
    }  # fmt: skip


def compare_graphs(block: Block, limit: int = 6000) -> tuple[float, float, int] | None:
    """Conflict graph by the key index and by testing all pairs: (ms, ms, conflicting pairs), compared; None if too large.

    Raises
    ------
    ExecutionError
        If the two graphs differ.
    """
    if block.n_tx < 2 or block.n_tx > limit:
        return None
    access = access_sets(block, "static")
    try:
        graph, index_ns = _time(conflict_graph, access)
    except TooLargeError:
        return None
    naive, naive_ns = _time(all_pairs_graph, access)
    if (graph != naive).nnz:
        raise ExecutionError(f"block {block.number}: the conflict graphs by index and by all pairs differ")
    return index_ns / 1e6, naive_ns / 1e6, graph.nnz // 2
