"""Executors against serial execution on one block, round by round; every result is compared before a time counts.

Each round asks first what the cores are worth, then runs serially, then each executor once, then serially again; a ratio
is taken within a round, and counts only if the round was quiet.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter_ns
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..access.oracles import access_sets
from ..access.sets import AccessSets
from ..block import Block
from ..execute.auto import pick
from ..execute.job import Job
from ..execute.machines import machine_of
from ..execute.serial import SerialJob
from ..io.files import read_blocks
from ..schedule.policies import schedule
from .graphs import make_access
from .quiet import LEAST_PAIR, MOST_DRIFT, MOST_WAIT, awake, look, waited_ns
from .scenarios import block_of

__all__ = ["CORPUS", "EXECUTORS", "Contest", "Round", "blocks_of", "contest"]

#: The case of all real blocks, one after the other.
CORPUS: Final = "corpus"
EXECUTORS: Final = ("waves", "dataflow", "planned", "optimistic", "bal")

#: Rounds are repeated, up to so many times those asked for, until enough of them were quiet.
_PATIENCE: Final = 3


def blocks_of(cases: Sequence[str], n_tx: int, corpus: Path | None, seed: int = 42) -> Iterator[tuple[str, Block]]:
    """The blocks of the cases, by name; all blocks of `corpus` as one block."""
    for case in cases:
        if case == CORPUS:
            if corpus is not None:
                yield case, Block.concat(list(read_blocks(corpus)), fork="free")
        else:
            yield case, block_of(make_access(case, n_tx, seed))


@dataclass
class Round:
    """Raw figures of one round: nanoseconds, and what the cores were worth."""

    serial: tuple[int, int]
    pair: float
    handoff_ns: float | None
    waited_share: float
    estimate: dict[str, int] = field(default_factory=dict)
    plan: dict[str, int] = field(default_factory=dict)
    execute: dict[str, int] = field(default_factory=dict)
    cpu: dict[str, int] = field(default_factory=dict)
    counters: dict[str, dict[str, int]] = field(default_factory=dict)
    auto_ns: int = 0

    @property
    def quiet(self) -> bool:
        """Whether its times count."""
        first, second = self.serial
        steady = abs(first - second) <= MOST_DRIFT * min(first, second)
        return steady and self.pair >= LEAST_PAIR and self.waited_share <= MOST_WAIT


def _job(name: str, block: Block, workers: int) -> Job:
    """The job of an executor; "planned" is dataflow with a schedule, so with all dependencies known before it runs."""
    machine, executor = machine_of(block), "dataflow" if name == "planned" else name
    return machine.job(block, executor, workers=workers, **machine.hints(block, executor))


class Contest:
    """One block: a job for each executor, and the serial one that all are compared with."""

    def __init__(self, block: Block, executors: Sequence[str], workers: int) -> None:
        self.block, self.workers = block, workers
        self.baseline = SerialJob(block)
        self.jobs: dict[str, Job] = {name: _job(name, block, workers) for name in executors}
        for name in self.jobs:
            self.plan(name)
        self.run_serial()
        self.reference = self.baseline.collect({}, {})
        self.choice = pick(block, workers, awake=True)
        self.turns = 0
        for job in self.jobs.values():  # compared before anything is timed, and in every round again
            job.reset()
            job.collect(*job.run()).check_equal(self.reference)

    def plan(self, name: str) -> None:
        """What comes between access sets and execution."""
        job = self.jobs[name]
        if name == "planned":
            job.schedule = schedule(AccessSets.footprint(self.block), "levels")
        job.plan()

    def run_serial(self) -> int:
        self.baseline.reset()
        return self.baseline.run()[1]["execute_ns"]

    def round(self) -> Round:
        """Serial, every executor, serial; raises if a result differs."""
        moment, start, waited = look(self.workers), perf_counter_ns(), waited_ns()
        before = self.run_serial()
        made = Round((before, before), moment.pair, moment.handoff_ns, 0.0)
        made.auto_ns = self._choose()
        names = list(self.jobs)
        first = self.turns % max(1, len(names))
        self.turns += 1
        for name in names[first:] + names[:first]:  # nobody always runs after the same one
            self._run(name, self.jobs[name], made)
        made.serial = before, self.run_serial()
        after, elapsed = waited_ns(), perf_counter_ns() - start
        if waited is not None and after is not None:
            made.waited_share = max(0, after - waited) / elapsed
        for job in self.jobs.values():
            job.collect({}, {}).check_equal(self.reference)
        return made

    def _choose(self) -> int:
        """Nanoseconds of choosing and planning as auto does."""
        start = perf_counter_ns()
        self.choice = pick(self.block, self.workers, awake=True)
        if self.choice.executor in self.jobs:
            job = self.jobs[self.choice.executor]
            job.shares = self.choice.shares
            job.plan()
            job.shares = None
        return perf_counter_ns() - start

    def _run(self, name: str, job: Job, made: Round) -> None:
        job.reset()
        start = perf_counter_ns()
        access_sets(self.block)
        made.estimate[name] = perf_counter_ns() - start
        start = perf_counter_ns()
        self.plan(name)
        made.plan[name] = perf_counter_ns() - start
        awake(self.workers)
        made.counters[name], times = job.run()
        made.execute[name], made.cpu[name] = times["execute_ns"], times["cpu_ns"]

    def cost(self) -> NDArray[np.int64]:
        """(n_tx,) nanoseconds of each transaction: the least of three serial passes, since interruptions only add."""
        return np.min(machine_of(self.block).transaction_ns(self.block, repeat=3), axis=0)


def contest(block: Block, executors: Sequence[str], workers: int, rounds: int) -> tuple[Contest, list[Round]]:
    """Rounds on one block, until so many were quiet or patience ends."""
    made = Contest(block, executors, workers)
    done: list[Round] = []
    while sum(one.quiet for one in done) < rounds and len(done) < _PATIENCE * rounds:
        done.append(made.round())
    return made, done
