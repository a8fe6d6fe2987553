"""Body of the command `execute`: a time is shown only with its result compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from . import console as con
from .engines.engine import COMPILE, ENGINES, Engine
from .errors import UsageError
from .evm.block import AnyBlock
from .execute.machine import EXECUTORS
from .execute.run import execute, prepare
from .io.paths import check_target, replacing
from .io.schedule_file import read_schedule
from .screens import print_pairs, workers_text

__all__ = ["engine_option", "executor_of", "run_execute"]


def engine_option(name: str, compile: str, group: bool) -> Engine:
    """The engine that the options name.

    Raises
    ------
    UsageError
        Naming the option, its value and the rule.
    """
    for option, value, known in (("--engine", name, ENGINES), ("--compile", compile, COMPILE)):
        if value not in known:
            raise UsageError(f"{option} {value!r} is unknown: one of {', '.join(known)}")
    if name == "interpreter" and compile != "paying":
        raise UsageError(f"--compile {compile} with --engine interpreter: it compiles nothing")
    return Engine(name, compile, group)  # type: ignore[arg-type]  # they are known


def run_execute(
    block: AnyBlock,
    inputs: list[Path],
    executor: str,
    schedule_path: Path | None = None,
    workers: int | None = None,
    gantt: Path | None = None,
    engine: Engine | None = None,
) -> None:
    """Execute, compare with serial execution and the chain, print, and draw if asked.

    Raises
    ------
    UsageError
    ExecutionError
        If the result differs from serial execution, or from what the chain says; nothing is printed or drawn then.
    """
    if workers is not None:
        con.check_range("--workers", workers, 1, 1024)
    if gantt is not None:
        check_target("--gantt", gantt, inputs, (".png", ".svg", ".pdf"))
    plan = None if schedule_path is None else read_schedule(schedule_path)
    with con.status("executing"):
        reference = execute(block, "serial", schedule=plan)
        about = reference.summary()
        made = prepare(block, executor, workers, schedule=plan, timed=gantt is not None, engine=engine or Engine())
        for _ in range(2):  # the first loads the kernels, so that the time below is that of executing
            made.job.reset()
            counters, times = made.job.run()
        result = made.job.collect(counters, made.timings | times, made.reason)
        result.check_equal(reference)
    if gantt is not None:
        _draw(result, gantt)
    told = [(key, text) for key, text in _TOLD.items() if counters[key] and (key != "executions" or counters["reexecuted"])]
    print_pairs([
        about[0],
        ("executor", f"{result.executor}, {workers_text(counters['workers'])}"),
        *([("why", result.reason)] if result.reason else []),
        *((key.replace("_", " "), f"{counters[key]:,} {text}") for key, text in told),
        *about[1:],
        ("time", f"{result.timings['execute_ns'] / 1e6:.3f} ms, once; see benchmark for medians"),
        ("verified", "receipts, observed accesses and state equal to serial execution"),
    ])  # fmt: skip


#: Counters that are printed where they are not 0.
_TOLD: Final = {
    "waves": "run one after the other",
    "executions": "of transactions, those thrown away included",
    "aborts": "results thrown away",
    "validations": "checks of what was read or left behind",
    "waits": "times that a transaction was found waiting for an earlier one",
    "runtime_conflicts": "accesses that the schedule would have let run too early",
    "compiled": "of transactions, with compiled code",
    "fallback": "times given up for dataflow",
}


def executor_of(mode: str | None, executor: str | None) -> str:
    """The executor that the options name.

    Raises
    ------
    UsageError
    """
    if mode is not None:
        con.check_choice("--mode", mode, ("serial", "parallel"))
        if executor is not None:
            raise UsageError(f"--mode {mode} with --executor {executor}: give one of them")
        return "serial" if mode == "serial" else "dataflow"
    if executor is not None:
        con.check_choice("--executor", executor, EXECUTORS)
    return executor or "auto"


def _draw(result: Any, path: Path) -> None:
    """Write the Gantt chart of a timed execution."""
    from . import plot

    ax = plot.gantt(result.times.timeline(), unit="ns")
    head = f"block {result.block.number} by {result.executor}: {ax.get_title(loc='left')}"
    ax.set_title(head, loc="left", fontsize="medium")
    figure: Any = ax.figure
    with replacing(path) as (temporary,):
        figure.savefig(temporary, format=path.suffix[1:], dpi=150, bbox_inches="tight")
    print(f"{path}: when each of {result.block.n_tx:,} transactions ran")
