"""Measuring: serial and parallel runs interleaved in one process, warm, every result compared before its time counts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from time import perf_counter_ns, thread_time_ns
from typing import Any

import numpy as np

from .. import door
from .._kernels.jit import was_compiled
from ..access.oracles import access_sets, degrade, exact_oracle, exact_sets
from ..access.quality import accuracy
from ..access.sets import AccessSets
from ..block import Block
from ..engines.engine import INTERPRETER, Engine
from ..errors import BlockError, ExecutionError, TooLargeError
from ..evm.block import AnyBlock
from ..execute.machines import machine_of
from ..execute.result import TxTimes
from ..execute.run import execute
from ..generate import generate
from ..metrics import Rounds, describe_machine, percentiles_ms, time_fields, versions
from ..schedule.bounds import critical_path_cost, speedup_bound
from ..schedule.conflicts import all_pairs_graph, conflict_counts, conflict_graph
from ..schedule.policies import GRAPH_POLICIES, schedule
from ..schedule.timeline import Timeline
from .scenarios import Scenario, add_noops, nanoseconds_per_step, tiny_evm_block

__all__ = ["Options", "WarmUp", "compare_graphs", "measure", "timeline_of", "warm_up"]


#: Counters of a run that are reported as they are.
_COUNTED = ("executions", "reexecuted", "validations", "aborts", "waits", "compiled", "fallback")


@dataclass(frozen=True)
class Options:
    """How to measure; see `fields.FIELDS` for what comes out.

    Parameters
    ----------
    executor : str
        One of `execute.machine.EXECUTORS`.
    policy : str
        Scheduling policy; dataflow with "levels" follows the dependencies alone.
    oracle : str, optional
        Source of the access sets; default the exact one, and no hints for optimistic.
    miss_rate : float in [0, 1]
        With the oracle "degraded".
    workers : int
    repeat : int
        Rounds.
    work_us : float
        Stand-in work added to every transaction, in microseconds.
    engine : Engine
        What runs programs by the executor; the serial runs beside it are the interpreter's.
    """

    executor: str = "dataflow"
    policy: str = "levels"
    oracle: str | None = None
    miss_rate: float = 0.0
    workers: int = 1
    repeat: int = 9
    work_us: float = 0.0
    engine: Engine = INTERPRETER


@dataclass(frozen=True)
class WarmUp:
    """Time of the first use of every kernel, and how many had to be compiled."""

    compile_ms: float
    kernels_compiled: int


def warm_up(wanted: Sequence[Options], evm: bool = False) -> WarmUp:
    """Run everything once on small blocks, so that no compiling falls into a measured time; `evm`: on its blocks, too."""
    start, before = perf_counter_ns(), was_compiled()
    tiny = generate(n_tx=8, key_space=4, conflict_ratio=0.5)
    for options in wanted:
        one_round = replace(options, repeat=1, work_us=0.0)
        blocks: list[AnyBlock] = [tiny, add_noops(tiny, 10_000)]  # the second is worth several threads
        for block in [*blocks, tiny_evm_block()] if evm else blocks:
            measure(Scenario("warm-up", block), one_round, WarmUp(0.0, 0))
    compare_graphs(tiny, 8)
    return WarmUp((perf_counter_ns() - start) / 1e6, was_compiled() - before)


def _time(function: Callable[..., Any], *arguments: Any, **options: Any) -> tuple[Any, int]:
    start = perf_counter_ns()
    result = function(*arguments, **options)
    return result, perf_counter_ns() - start


class _Subject:
    """One block under measurement: the executor's job, and the serial one that everything is compared with."""

    def __init__(self, block: AnyBlock, options: Options) -> None:
        self.block, self.options, self.auto = block, options, options.executor == "auto"
        self.machine = machine_of(block)
        self.executor = self.machine.pick(block, options.workers).executor if self.auto else options.executor
        self.reason = ""
        start = perf_counter_ns()
        self.baseline = self.machine.job(block, "serial")
        self.encode_ns = perf_counter_ns() - start
        observed = "observed" in (options.oracle, exact_oracle(block))
        self.known = execute(block, "serial").observed if observed else None
        self.access = self.estimate()
        estimated = options.oracle not in (None, "observed", exact_oracle(block))
        #: What the executor cannot do without, and what only running tells of accesses: made outside all times.
        self.hints = self.machine.hints(block, self.executor, access=self.access if estimated else None)
        self.job = self.machine.job(block, self.executor, workers=options.workers, engine=options.engine, **self.hints)
        self.plan()
        self.machine.check(block, schedule=self.job.schedule, access=None, gas=None)
        self.baseline.plan()
        self.run_baseline()
        self.reference = self.baseline.collect({}, {})
        self.baseline.bare()
        self.result = self.reference
        self.counters: dict[str, int] = {}

    @property
    def workers(self) -> int:
        """Most workers that the executor may launch."""
        return 1 if self.executor == "serial" and not self.auto else self.options.workers

    @property
    def oracle(self) -> str | None:
        """Where the access sets came from; None if the executor takes none."""
        if self.executor in ("serial", "bal"):
            return None
        return self.options.oracle or (None if self.executor == "optimistic" else exact_oracle(self.block))

    @property
    def scheduled(self) -> bool:
        """Whether the executor follows a schedule made by the policy."""
        return self.executor == "waves" or (self.executor == "dataflow" and self.options.policy != "levels")

    def estimate(self) -> AccessSets:
        oracle, miss = self.options.oracle or exact_oracle(self.block), self.options.miss_rate
        if self.known is None or oracle not in ("observed", "degraded"):
            return access_sets(self.block, oracle, miss_rate=miss)
        return degrade(self.known, miss) if oracle == "degraded" else self.known

    def plan(self) -> None:
        """What comes between access sets and execution, the choice of auto included."""
        job = self.job
        if self.auto:
            choice = self.machine.pick(self.block, self.options.workers)
            job.shares, self.reason = choice.shares, f"auto: {choice.reason}"
        if self.scheduled:
            job.schedule = schedule(self.access, self.options.policy, block=self.block)
        if self.executor == "dataflow" or (self.options.oracle is not None and self.executor not in ("waves", "bal")):
            job.access = self.access
        job.plan()
        self.baseline.schedule = job.schedule

    def run_baseline(self) -> int:
        self.baseline.reset()
        return self.baseline.run()[1]["execute_ns"]

    def run_round(self, rounds: Rounds) -> None:
        rounds.serial_before.append(self.run_baseline())
        self.job.reset()
        cpu = thread_time_ns()
        estimate = 0
        if self.oracle is not None:
            self.access, estimate = _time(self.estimate)
        plan = _time(self.plan)[1]
        cpu = thread_time_ns() - cpu
        self.counters, times = self.job.run()
        rounds.cpu.append(cpu + times["cpu_ns"])
        rounds.estimate.append(estimate)
        rounds.schedule.append(plan)
        rounds.graph.append(0)
        rounds.execute.append(times["execute_ns"])
        rounds.serial_after.append(self.run_baseline())
        start = perf_counter_ns()
        self.result = self.job.collect(self.counters, {})
        self.result.check_equal(self.reference)
        rounds.verify.append(perf_counter_ns() - start)

    def timed_run(self) -> TxTimes:
        """When each transaction ran, in one more run that takes these times; it is compared, too."""
        given = self.hints | {"schedule": self.job.schedule, "access": self.job.access}
        timed = self.machine.job(
            self.block, self.executor, workers=self.options.workers, timed=True, engine=self.options.engine, **given
        )
        timed.plan()
        result = timed.collect(*timed.run())
        result.check_equal(self.reference)
        assert result.times is not None
        return result.times


def measure(scenario: Scenario, options: Options, warm: WarmUp) -> dict[str, Any]:
    """Measure one executor on one block.

    Returns
    -------
    dict
        The fields of `fields.FIELDS`.

    Raises
    ------
    ExecutionError
        If any result differs from serial execution; no time is then reported.
    BlockError
        If an option is out of range.
    """
    block = _with_work(scenario.block, options.work_us)
    door.integer("repeat", options.repeat, 1, 10**6)
    subject = _Subject(block, options)
    rounds = Rounds.empty()
    for _ in range(options.repeat):
        subject.run_round(rounds)
    graph_ns = _graph_time(subject)
    if graph_ns is not None:
        rounds.graph = [min(graph_ns, ns) for ns in rounds.schedule]
        rounds.schedule = [ns - part for ns, part in zip(rounds.schedule, rounds.graph)]
    facts = subject.machine.facts(block, subject.reference)
    if options.work_us:
        facts["chain_gas_exact"] = None
    fields = {
        "scenario": scenario.name, "block_number": block.number, "n_tx": block.n_tx, "n_ops": facts["n_ops"],
        "n_keys": facts["n_keys"], "fork": block.fork, "executor": subject.executor,
        "engine": options.engine.name,
        "policy": options.policy if subject.scheduled else None, "oracle": subject.oracle,
        "miss_rate": options.miss_rate, "workers": subject.workers,
        "launched": subject.counters["workers"], "work_us": options.work_us,
        "verified": True,
        "chain_gas_exact": facts["chain_gas_exact"],
    }  # fmt: skip
    fields |= time_fields(rounds, has_graph=graph_ns is not None)
    fields |= _block_fields(subject, fields)
    fields |= {
        "intern_ms": facts["intern_ms"], "encode_ms": subject.encode_ns / 1e6,
        "compile_ms": warm.compile_ms, "kernels_compiled": warm.kernels_compiled,
        "versions": versions(), "machine": describe_machine(),
    }  # fmt: skip
    return fields


def _with_work(block: AnyBlock, work_us: float) -> AnyBlock:
    """The block, with so many microseconds of work added to every transaction."""
    if not work_us:
        return block
    if not isinstance(block, Block):
        raise BlockError(f"work = {work_us:g} us: is added as micro-ops, which an EVM block has none of")
    return add_noops(block, max(1, round(work_us * 1e3 / nanoseconds_per_step())))


def timeline_of(scenario: Scenario, options: Options) -> Timeline:
    """When each transaction ran, in nanoseconds, in one warm run by the executor that `measure` measures.

    Raises
    ------
    ExecutionError
        If its result differs from serial execution.
    BlockError
        As `measure`.
    """
    subject = _Subject(_with_work(scenario.block, options.work_us), options)
    subject.run_round(Rounds.empty())
    return subject.timed_run().timeline()


def _graph_time(subject: _Subject) -> int | None:
    """Time of the conflict graph where the policy needs one: taken apart, since the policy builds it inside."""
    if not subject.scheduled or subject.options.policy not in GRAPH_POLICIES:
        return None
    return min(_time(conflict_graph, subject.access)[1] for _ in range(3))


def _block_fields(subject: _Subject, fields: dict[str, Any]) -> dict[str, Any]:
    """What follows from the block, its costs and its schedule."""
    block, reference = subject.block, subject.reference
    truth = exact_sets(block) if subject.known is None else subject.known
    counts = conflict_counts(truth)
    quality = accuracy(subject.access, reference.observed, max_pairs=0) if block.n_tx and subject.oracle else None
    plan = subject.job.schedule
    order = np.arange(block.n_tx, dtype=np.int32) if plan is None else plan.serial_order
    cost = np.min(subject.machine.transaction_ns(block, order, 3), axis=0)  # interruptions only add
    ordered = truth.reordered(order)  # dependencies are those of the promised order
    n_waves = subject.counters["waves"]
    workers = subject.workers
    bound = speedup_bound(ordered, cost[order], workers) if block.n_tx else None
    execute_s = fields["execute_time_ms"] / 1e3
    times = subject.timed_run()
    return {
        "waves": n_waves,
        "parallel_waves": subject.counters["parallel_waves"],
        "avg_wave_size": block.n_tx / n_waves if n_waves else None,
        "conflict_pairs": counts.pairs, "conflict_rate": counts.rate, "conflict_rate_exact": counts.exact,
        "runtime_conflicts": subject.counters["runtime_conflicts"], "requeued": subject.counters["requeued"],
        **{name: subject.counters[name] for name in _COUNTED},
        "reason": "; ".join(text for text in (subject.reason, subject.job.reason) if text),
        "preexec_precision": quality.precision if quality else None,
        "preexec_recall": quality.recall if quality else None,
        "critical_path": int(critical_path_cost(ordered)),
        "bound": bound,
        "bound_gas": speedup_bound(ordered, reference.gas_used[order], workers) if block.n_tx else None,
        "bound_share": fields["speedup_execute"] / bound if bound else None,
        **percentiles_ms(cost, "tx_latency"),
        **percentiles_ms(times.end - times.start, "tx_parallel_latency"),
        "work_per_tx_us": fields["serial_time_ms"] * 1e3 / block.n_tx if block.n_tx else None,
        "iops": reference.observed.n_accesses / execute_s if block.n_tx else None,
        "total_gas": int(reference.gas_used.sum()),
        "failed": int(np.count_nonzero(~reference.success)),
    }  # fmt: skip


def compare_graphs(block: AnyBlock, limit: int = 6000) -> tuple[float, float, int] | None:
    """Conflict graph by the key index and by testing all pairs: (ms, ms, conflicting pairs), compared; None if too large.

    Raises
    ------
    ExecutionError
        If the two graphs differ.
    """
    if block.n_tx < 2 or block.n_tx > limit:
        return None
    access = access_sets(block)
    try:
        graph, index_ns = _time(conflict_graph, access)
    except TooLargeError:
        return None
    naive, naive_ns = _time(all_pairs_graph, access)
    if (graph != naive).nnz:
        raise ExecutionError(f"block {block.number}: the conflict graphs by index and by all pairs differ")
    return index_ns / 1e6, naive_ns / 1e6, graph.nnz // 2
