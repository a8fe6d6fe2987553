"""The pictures of the gallery: the source of each function is what the page shows, so it is written as a user would."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import numpy as np

from .. import plot

__all__ = ["PICTURES", "Draw", "Picture"]

#: The package by the name that its users give it; a relative import has none.
pn: Any = import_module(__package__.partition(".")[0])

#: Draws what was prepared or measured, once for each background.
Draw = Callable[[], Any]


@dataclass(frozen=True)
class Picture:
    """One picture: a function that prepares everything and returns what draws it.

    Parameters
    ----------
    make : callable
        Takes the folder of real blocks if it needs one.
    measured : bool
        Whether it shows times of this machine, which other runs do not repeat.

    Examples
    --------
    >>> picture = Picture(waves)
    >>> picture.name, picture.function, picture.needs_corpus, picture.heading
    ('waves', 'wave_sizes', False, 'Sizes of waves')
    >>> print(picture.lines.splitlines()[-1])
    ax = plot.wave_sizes({policy: pn.schedule(block, policy) for policy in ("levels", "mis")})
    """

    make: Callable[..., Draw]
    measured: bool = False

    @property
    def name(self) -> str:
        """Of its files, without ending."""
        return self.make.__name__

    @property
    def needs_corpus(self) -> bool:
        """Whether it shows real blocks."""
        return bool(inspect.signature(self.make).parameters)

    @property
    def heading(self) -> str:
        """The first line of what is said about it."""
        return self._said[0]

    @property
    def caption(self) -> str:
        """The rest of what is said about it."""
        return " ".join(" ".join(self._said[1:]).split())

    @property
    def function(self) -> str:
        """The function of `plot` that draws it."""
        found = re.search(r"return lambda: plot\.(\w+)\(", inspect.getsource(self.make))
        assert found is not None, self.name
        return found[1]

    @property
    def lines(self) -> str:
        """The Python that makes it: the source of the function, with absolute imports and a name for what is returned."""
        source = textwrap.dedent(inspect.getsource(self.make))
        body = ast.parse(source).body[0].body[1:]  # type: ignore[attr-defined]  # a function, which begins with a docstring
        text = textwrap.dedent("\n".join(source.splitlines()[body[0].lineno - 1 :]))
        many = "figure" in inspect.signature(getattr(plot, self.function)).parameters
        text = text.replace("return lambda: ", "axes = " if many else "ax = ")
        return re.sub(r"^from \.\.", f"from {pn.__name__}.", text, flags=re.MULTILINE)

    @property
    def _said(self) -> list[str]:
        return (inspect.getdoc(self.make) or "").splitlines()


def plan() -> Draw:
    """A plan

    Who runs what from when to when on eight workers, by list scheduling. Colours are positions in the block; gaps are
    workers that wait for a conflict.
    """
    block = pn.generate(n_tx=400, pattern="zipf", conflict_ratio=0.5, seed=42)
    gas = pn.transaction_costs(block, "gas")
    timeline = pn.schedule(block, "list", workers=8, cost=gas).timeline
    return lambda: plot.gantt(timeline, unit="gas")


def critical() -> Draw:
    """The critical path in a plan

    The same plan, with the transactions that are on a longest path: somebody works on one of them nearly all the time.
    """
    block = pn.generate(n_tx=400, pattern="zipf", conflict_ratio=0.5, seed=42)
    gas = pn.transaction_costs(block, "gas")
    timeline = pn.schedule(block, "list", workers=8, cost=gas).timeline
    flags = pn.dependencies(pn.access_sets(block)).on_critical_path(gas)
    return lambda: plot.gantt(timeline, unit="gas", colour_by="critical", critical=flags)


def outcome() -> Draw:
    """A plan, and what became of it

    A transaction has the same colour in both. Each was given 20 microseconds of work; costs in the plan are gas. Of nine
    runs the quickest.
    """
    from ..bench.scenarios import with_work

    block = with_work(pn.generate(n_tx=60, pattern="zipf", conflict_ratio=0.3, seed=42), 20.0)
    gas = pn.transaction_costs(block, "gas")
    planned = pn.schedule(block, "list", workers=2, cost=gas)
    runs = [pn.execute(block, "dataflow", schedule=planned, workers=2, record="times") for _ in range(9)]
    times = min((run.times.timeline() for run in runs), key=lambda line: line.makespan)
    return lambda: plot.gantt_pair(planned.timeline, times, planned_unit="gas", measured_unit="ns")


def parallelism() -> Draw:
    """Parallelism over time

    How many transactions run at each instant. The broad band is the bound: the same work in the shortest time possible.
    """
    block = pn.generate(n_tx=400, pattern="zipf", conflict_ratio=0.5, seed=42)
    gas = pn.transaction_costs(block, "gas")
    limit = pn.bounds(pn.access_sets(block), gas, workers=8)
    lines = {policy: pn.schedule(block, policy, workers=8, cost=gas).timeline for policy in ("levels", "list")}
    return lambda: plot.parallelism_profile(lines, unit="gas", bound=limit)


def waves() -> Draw:
    """Sizes of waves

    Levels keep the block's order; maximal independent sets do not, need fewer waves, and build another block.
    """
    block = pn.generate(n_tx=400, pattern="zipf", conflict_ratio=0.5, seed=42)
    return lambda: plot.wave_sizes({policy: pn.schedule(block, policy) for policy in ("levels", "mis")})


def conflicts() -> Draw:
    """Conflicts of ten thousand transactions

    A cell stands for 40 by 40 transactions, its shade for the share of their pairs that conflict.
    """
    block = pn.generate(n_tx=10_000, pattern="zipf", conflict_ratio=0.2, seed=42)
    graph = pn.conflict_graph(pn.access_sets(block))
    return lambda: plot.conflict_spy(graph)


def conflicts_mainnet(corpus: Path) -> Draw:
    """Conflicts of a real block

    Mainnet block 19,932,148: squares on the diagonal are runs of neighbours that all conflict with each other.
    """
    access = pn.access_sets(pn.read_block(corpus / "op_trace", 19932148))
    return lambda: plot.conflict_spy(access)


def network() -> Draw:
    """Conflicts as a network

    Numbers are positions in the block, colours the wave in which each can run at the earliest.
    """
    access = pn.access_sets(pn.generate(n_tx=60, key_space=60, conflict_ratio=0.4, seed=3))
    return lambda: plot.conflict_network(access, colour_by="level")


def network_mainnet(corpus: Path) -> Draw:
    """A real block as a network

    Mainnet block 19,932,148: what conflicts falls into clusters without a line between them.
    """
    access = pn.access_sets(pn.read_block(corpus / "op_trace", 19932148))
    return lambda: plot.conflict_network(access, colour_by="degree")


def hot() -> Draw:
    """Hot keys

    Transactions that only read a key do not conflict with each other, nor do those that only credit it.
    """
    access = pn.access_sets(pn.generate(n_tx=400, pattern="zipf", conflict_ratio=0.5, seed=42))
    return lambda: plot.hot_keys(access)


def hot_mainnet(corpus: Path) -> Draw:
    """Hot keys of a real block

    Mainnet block 19,932,148: the fee of each transaction is credited to one account, which orders nothing.
    """
    block = pn.read_block(corpus / "op_trace", 19932148)
    return lambda: plot.hot_keys(pn.access_sets(block), block=block)


def chain() -> Draw:
    """The critical path

    Each transaction begins where the one before it ends; colour and hatch are the key that ties the two.
    """
    block = pn.generate(n_tx=400, pattern="zipf", conflict_ratio=0.3, seed=42)
    gas = pn.transaction_costs(block, "gas")
    return lambda: plot.dependency_chain(pn.access_sets(block), gas, unit="gas")


def chain_mainnet(corpus: Path) -> Draw:
    """The critical path of a real block

    Mainnet block 19,932,148: one balance, of the contract that wraps ether, ties most of it together.
    """
    block = pn.read_block(corpus / "op_trace", 19932148)
    gas = pn.transaction_costs(block, "gas")
    return lambda: plot.dependency_chain(pn.access_sets(block), gas, unit="gas")


def workers() -> Draw:
    """Speed-up against workers

    Four models of execution, simulated. Optimistic ones may pass the bound of block order, which counts all conflicts.
    """
    block = pn.generate(n_tx=400, pattern="zipf", conflict_ratio=0.5, seed=42)
    access, gas, counts = pn.access_sets(block), pn.transaction_costs(block, "gas"), (1, 2, 4, 8, 16, 32)
    models = ("waves", "list", "block-stm", "bal")
    runs = [pn.simulate(block, model, workers=n, cost=gas) for model in models for n in counts]
    limits = {n: pn.bounds(access, gas, workers=n).max_speedup for n in counts}
    return lambda: plot.speedup_curves(runs, bound=limits)


def rates() -> Draw:
    """Speed-up against the conflict rate

    Simulated on eight workers, on blocks that draw more and more of their keys from a shared pool.
    """
    models = ("waves", "list", "block-stm")
    lines: dict[str, dict[float, float]] = {model: {} for model in models}
    for ratio in np.linspace(0.0, 0.6, 9):
        block = pn.generate(n_tx=400, pattern="zipf", conflict_ratio=ratio, seed=42)
        rate = pn.conflict_counts(pn.access_sets(block)).rate
        for model in models:
            lines[model][rate] = pn.simulate(block, model, workers=8).speedup
    return lambda: plot.speedup_lines(lines, over="conflict_rate")


def surface() -> Draw:
    """Speed-up against work and conflict rate

    Simulated by list scheduling on eight workers, where each execution takes 0.3 microseconds more than serially.
    """
    found = {}
    for ratio in (0.1, 0.3, 0.5, 0.7, 0.9):
        block = pn.generate(n_tx=400, pattern="zipf", conflict_ratio=ratio, seed=42)
        rate = pn.conflict_counts(pn.access_sets(block)).rate
        for work in (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0):
            costs, more = np.full(400, work), pn.Overheads(dispatch=0.3)
            found[work, rate] = pn.simulate(block, "list", workers=8, cost=costs, overheads=more).speedup
    return lambda: plot.speedup_surface(found)


def even() -> Draw:
    """Break-even

    From how much work a transaction on each executor beats serial execution, end to end.
    `python -m pevm_numba.bench executors --chart even.png` measures the same on larger blocks, with more rounds.
    """
    from ..bench.breakeven import sweep

    rows = sweep(n_tx=500, workers=2, rounds=3, cases=["mid"])
    return lambda: plot.break_even(rows)


def latency() -> Draw:
    """How long transactions take

    The same block by three executors; others may wait for those at the right end.
    """
    block = pn.generate("large", seed=42)
    names = ("serial", "dataflow", "optimistic")
    times = {name: pn.execute(block, name, workers=2, record="times").times for name in names}
    return lambda: plot.latency_distribution(times)


def prediction() -> Draw:
    """How right predictions are

    Storage keys of calls, predicted by what was learned from the blocks before; tokens, collections, exchanges.
    """
    patterns, found = pn.built_in_patterns(), {}
    for seed in range(8):
        block = pn.generate_evm("mixed", seed=seed)
        touched = pn.execute(block, "serial").observed
        right = pn.accuracy(pn.predict(block, patterns), touched)
        found[seed] = (right.precision, right.recall)
        pn.learn_block(patterns, block, touched)
    return lambda: plot.prediction_quality(found)


def stores() -> Draw:
    """Stores

    Keys a second by size, distribution and operation: in memory, in a mapped file with a log, in SQLite.
    `python -m pevm_numba.bench storage --chart stores.png` has larger ones, other libraries, and chains of blocks.
    """
    from ..bench.storage import Request, run

    rows = run(Request.parse(None, "2000,20000", "memory,mmap,sqlite", batch=500, rounds=3))
    return lambda: plot.storage_comparison(rows)


def blob_prices() -> Draw:
    """The price of blobs

    One wave of demand, nine blobs a block in the mean, under three schedules of blob parameters. Where nobody is left
    waiting, prices fall no further than the reserve of EIP-7918; under Prague, which has none, somebody always waits.
    """
    demand, users = pn.blob_demand("wave", 1_200, 9.0, height=1.8, period=400), pn.BlobUsers(fee_cap=1e9, spread=1.0)
    runs = {}
    for name in ("prague", "bpo1", "bpo2"):
        start = pn.excess_at_fee(3 * 10**7, name)
        runs[name] = pn.simulate_blobs(demand, users=users, parameters=name, excess=start, base_fee=5 * 10**8)
    return lambda: plot.blob_market(runs, mean_over=20)


def blob_waits() -> Draw:
    """How long blobs wait

    Bursts of demand, eight blobs a block in the mean: more than Cancun and Prague aim at, so that fee caps decide who gets
    in at all, and less than BPO1 and BPO2 do.
    """
    demand, users = pn.blob_demand("bursts", 1_200, 5.0, height=4.0, period=150, width=30), pn.BlobUsers(fee_cap=1e9)
    runs = {}
    for name in ("cancun", "prague", "bpo1", "bpo2"):
        start = pn.excess_at_fee(10**7, name)
        runs[name] = pn.simulate_blobs(demand, users=users, parameters=name, excess=start, base_fee=5 * 10**8)
    return lambda: plot.blob_delays(runs)


def blob_blocks() -> Draw:
    """What blobs are worth to a builder

    Blocks of one pool, a quarter of whose transactions have blobs, under one gas limit. Some transactions are worth little
    but let later ones of their sender in, which the linear program sees and greedy does not.
    """
    pool = pn.generate(n_tx=600, blob_ratio=0.25, seed=42, n_senders=400)
    access, rng = pn.access_sets(pool), np.random.default_rng(42)
    gas, blobs = rng.integers(21_000, 300_000, 600), pn.blob_counts(pool)
    reward = gas * rng.lognormal(0, 1, 600) + 2e5 * blobs * rng.lognormal(0, 1, 600)
    limits, found = (3, 6, 9, 15, 21, 32, 48, 72), {}
    for method in ("greedy", "lp"):
        options = {"gas_limit": 30_000_000, "blobs": blobs, "block": pool, "method": method}
        found[method] = {n: pn.build_block(access, reward, gas, blob_limit=n, **options) for n in limits}
    return lambda: plot.blob_choices(found)


#: In the order of the page.
PICTURES: Final = (
    Picture(plan), Picture(critical), Picture(outcome, measured=True), Picture(parallelism), Picture(waves),
    Picture(conflicts), Picture(conflicts_mainnet), Picture(network), Picture(network_mainnet), Picture(hot),
    Picture(hot_mainnet), Picture(chain), Picture(chain_mainnet), Picture(workers), Picture(rates), Picture(surface),
    Picture(even, measured=True), Picture(latency, measured=True), Picture(prediction), Picture(stores, measured=True),
    Picture(blob_prices), Picture(blob_waits), Picture(blob_blocks),
)  # fmt: skip
