"""One run of the benchmark: scenarios in, measurements and report out."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._kernels.jit import most_threads
from ..access.oracles import ORACLES
from ..console import progress, status
from ..engines.engine import INTERPRETER, Engine
from ..errors import BlockError, UsageError
from ..evm.block import AnyBlock, EvmBlock
from ..execute.auto import PICKS
from ..execute.launch import default_workers
from ..execute.machine import EXECUTORS, PARALLEL
from ..generate import PRESETS
from ..io.any_block import any_block_numbers
from ..io.evm_tables import is_evm_folder
from ..schedule.policies import POLICIES
from .html_target import Page
from .outputs import check_outputs, write_outputs
from .report import comparison_line, show, summary_lines
from .scenarios import DEFAULT_PRESETS, Scenario, from_path, from_presets, kind_name
from .timing import Options, compare_graphs, measure, timeline_of, warm_up

if TYPE_CHECKING:
    from .html_figures import Timed

__all__ = ["Request", "measure_all", "run"]

log = logging.getLogger("pevm_numba")

#: Transactions of the largest block of which a page shows when each ran.
_MOST_BARS = 1000


@dataclass(frozen=True)
class Request:
    """The arguments of the command line."""

    presets: tuple[str, ...] = ()
    inputs: tuple[Path, ...] = ()
    executor: str = "dataflow"
    policy: str = "levels"
    oracle: str | None = None
    miss_rate: float = 0.0
    workers: int | None = None
    work_us: float = 0.0
    repeat: int = 9
    seed: int = 42
    engine: Engine = INTERPRETER

    def options(self) -> list[Options]:
        """Checked options, one for each executor.

        Raises
        ------
        UsageError
            Naming the option, its value and the rule.
        """
        workers = default_workers() if self.workers is None else self.workers
        known = {"--executor": ("all", *EXECUTORS), "--policy": POLICIES, "--oracle": ORACLES, "--preset": PRESETS}
        given = [("--executor", self.executor), ("--policy", self.policy)]
        given += [("--oracle", self.oracle)] if self.oracle is not None else []
        for name, value in given + [("--preset", preset) for preset in self.presets]:
            if value not in known[name]:
                raise UsageError(f"{name} {value!r} is unknown: one of {', '.join(known[name])}")
        for option, number, low, high, what in (
            ("--miss-rate", self.miss_rate, 0, 1, ""), ("--work", self.work_us, 0, 1e6, " microseconds"),
            ("--repeat", self.repeat, 1, 10_000, ""), ("--seed", self.seed, 0, 2**64 - 1, ""),
            ("--workers", workers, 1, most_threads(), ", the threads that Numba has (NUMBA_NUM_THREADS)"),
        ):  # fmt: skip
            if not low <= number <= high:
                raise UsageError(f"{option} {number:g}: must be in [{low}, {high:g}]{what}")
        if self.miss_rate and self.oracle != "degraded":
            raise UsageError(f"--miss-rate {self.miss_rate:g} without --oracle degraded: only that misses accesses")
        executors = ("serial", *PARALLEL) if self.executor == "all" else (self.executor,)
        return [
            Options(name, self.policy, self.oracle, self.miss_rate, workers, self.repeat, self.work_us, self.engine)
            for name in executors
        ]

    def scenarios(self) -> tuple[Iterator[Scenario], int]:
        """What to measure, lazily, and how many."""
        names = self.presets or (() if self.inputs else DEFAULT_PRESETS)
        total = len(names) + sum(len(any_block_numbers(path)) for path in self.inputs)

        def walk() -> Iterator[Scenario]:
            yield from from_presets(names, self.seed)
            for path in self.inputs:
                yield from from_path(path)

        return walk(), total


def _warming(wanted: list[Options]) -> list[Options]:
    """Options whose warm-up uses the kernels of all: auto would pick serial for a tiny block."""
    return [replace(w, executor=name) for w in wanted for name in (PICKS if w.executor == "auto" else (w.executor,))]


def measure_all(request: Request, blocks: Sequence[AnyBlock], source: Path) -> list[dict[str, Any]]:
    """Measure blocks that have been read from `source`, and show the result.

    Raises
    ------
    PevmError
        As `run`.
    """
    evm = [isinstance(block, EvmBlock) for block in blocks]
    names = [f"{'evm' if one else kind_name(source)} {block.number}" for one, block in zip(evm, blocks)]
    return _measured(request.options(), map(Scenario, names, blocks), len(blocks), any(evm))


def run(request: Request, json_path: Path | None = None, page: Page | None = None) -> list[dict[str, Any]]:
    """Measure, show, and write JSON and page if asked.

    Raises
    ------
    PevmError
        On bad arguments or input, or if any result differs from serial execution; nothing is shown or written then.
    """
    wanted = request.options()
    check_outputs(json_path, page, request.inputs)
    scenarios, total = request.scenarios()
    return _measured(wanted, scenarios, total, any(map(is_evm_folder, request.inputs)), json_path, page)


def _measured(
    wanted: list[Options],
    scenarios: Iterable[Scenario],
    total: int,
    evm: bool,
    json_path: Path | None = None,
    page: Page | None = None,
) -> list[dict[str, Any]]:
    with status("compiling or loading kernels"):
        warm = warm_up(_warming(wanted), evm)
    log.info("kernels ready in %.0f ms, %d compiled", warm.compile_ms, warm.kernels_compiled)
    results: list[dict[str, Any]] = []
    graphs: list[str] = []
    example: tuple[float, Scenario, Options] | None = None
    for scenario in progress(scenarios, "measuring", total):
        for options in wanted:
            row = measure(scenario, options, warm)
            results.append(row)
            counts = row["executor"], row["rounds_quiet"], row["rounds"], row["parallel_waves"], row["waves"]
            if page is not None and _is_example(row, -1.0 if example is None else example[0]):
                example = row["serial_time_ms"], scenario, options
            log.info("%s by %s: %d of %d rounds quiet, %d of %d waves on several threads", scenario.name, *counts)
        compared = compare_graphs(scenario.block) if scenario.block.n_tx >= 1000 else None
        if compared is not None:
            graphs.append(comparison_line(scenario.name, *compared))
    if not results:
        raise BlockError("nothing to measure: the input holds no block")
    notes = [*graphs[:5], f"Kernels ready in {warm.compile_ms / 1e3:.1f} s ({warm.kernels_compiled} compiled)."]
    timed = None if example is None else _timed(*example[1:])
    said = [line.replace(" (red)", "") for line in summary_lines(results)]  # a page has a mark for that, not only a colour
    write_outputs(json_path, page, results, notes=[*said, *notes], timed=timed)
    show(results, notes)
    return results


def _is_example(row: dict[str, Any], longest: float) -> bool:
    """Whether a page shows when each transaction of this block ran: the longest that still has bars that can be seen."""
    return row["executor"] != "serial" and 0 < row["n_tx"] <= _MOST_BARS and row["serial_time_ms"] > longest


def _timed(scenario: Scenario, options: Options) -> Timed:
    from .html_figures import Timed

    return Timed(scenario.name, options.executor, timeline_of(scenario, options))
