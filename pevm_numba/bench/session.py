"""One run of the benchmark: scenarios in, measurements and report out."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from .. import door
from .._kernels.jit import cache_directory
from ..access.oracles import ORACLES
from ..console import progress, status
from ..errors import BlockError
from ..execute.run import EXECUTORS
from ..execute.waves import default_workers
from ..generate import PRESETS
from ..io.files import block_numbers
from ..schedule.policies import POLICIES
from .report import comparison_line, show, write_json
from .scenarios import DEFAULT_PRESETS, Scenario, from_path, from_presets
from .timing import Options, WarmUp, compare_graphs, measure, warm_up

__all__ = ["Request", "run"]


@dataclass(frozen=True)
class Request:
    """The arguments of the command line."""

    presets: tuple[str, ...] = ()
    inputs: tuple[Path, ...] = ()
    executor: str = "waves"
    policy: str = "levels"
    oracle: str = "static"
    miss_rate: float = 0.0
    workers: int | None = None
    work_us: float = 0.0
    repeat: int = 9
    seed: int = 42

    def options(self) -> list[Options]:
        """Checked options, one for each executor.

        Raises
        ------
        BlockError
            Naming the argument, its value and the rule.
        """
        for name, value, known in (
            ("--executor", self.executor, ("all", *EXECUTORS)), ("--policy", self.policy, POLICIES),
            ("--oracle", self.oracle, ORACLES),
            *(("--preset", preset, PRESETS) for preset in self.presets),
        ):  # fmt: skip
            if value not in known:
                raise BlockError(f"{name} {value!r} is unknown: one of {', '.join(known)}")
        if not 0 <= self.miss_rate <= 1:
            raise BlockError(f"--miss-rate {self.miss_rate:g}: must be in [0, 1]")
        if self.miss_rate and self.oracle != "degraded":
            raise BlockError(f"--miss-rate {self.miss_rate:g} with --oracle {self.oracle}: only degraded misses accesses")
        if not 0 <= self.work_us <= 1e6:
            raise BlockError(f"--work {self.work_us:g}: must be in [0, 1000000] microseconds")
        door.integer("--repeat", self.repeat, 1, 10_000)
        workers = default_workers() if self.workers is None else door.integer("--workers", self.workers, 1, 1024)
        executors = ("serial", "waves") if self.executor == "all" else (self.executor,)
        return [
            Options(name, self.policy, self.oracle, self.miss_rate, workers, self.repeat, self.work_us)
            for name in executors
        ]

    def scenarios(self) -> tuple[Iterator[Scenario], int]:
        """What to measure, lazily, and how many."""
        names = self.presets or (() if self.inputs else DEFAULT_PRESETS)
        total = len(names) + sum(len(block_numbers(path)) for path in self.inputs)

        def walk() -> Iterator[Scenario]:
            yield from from_presets(names, self.seed)
            for path in self.inputs:
                yield from from_path(path)

        return walk(), total


def _widest(wanted: list[Options]) -> Options:
    """Options whose warm-up uses the kernels of all: waves runs serially too, and auto would pick serial for a tiny block."""
    last = wanted[-1]
    return replace(last, executor="waves") if last.executor == "auto" else last


def _warm_up(options: Options) -> WarmUp:
    if not any(cache_directory().glob("*.nbc")):
        print(
            f"Compiling kernels: about a minute, this once; they are kept in {cache_directory()}.",
            file=sys.stderr, flush=True,
        )  # fmt: skip
    with status("compiling or loading kernels"):
        return warm_up(options)


def run(request: Request, json_path: Path | None = None) -> list[dict[str, Any]]:
    """Measure, show, and write JSON if asked.

    Raises
    ------
    PevmError
        On bad arguments or input, or if any result differs from serial execution; nothing is shown or written then.
    """
    wanted = request.options()
    scenarios, total = request.scenarios()
    warm = _warm_up(_widest(wanted))
    results: list[dict[str, Any]] = []
    graphs: list[str] = []
    for scenario in progress(scenarios, "measuring", total):
        results += [measure(scenario, options, warm) for options in wanted]
        compared = compare_graphs(scenario.block)
        if compared is not None and (not request.inputs or scenario.block.n_tx >= 1000):
            graphs.append(comparison_line(scenario.name, *compared))
    if not results:
        raise BlockError("nothing to measure: the input holds no block")
    if json_path is not None:
        write_json(json_path, results)
    console = Console()
    show(console, results)
    for line in graphs[:5]:
        console.print(line, highlight=False, soft_wrap=True)
    console.print(f"Kernels ready in {warm.compile_ms / 1e3:.1f} s ({warm.kernels_compiled} compiled).", highlight=False)
    return results
