"""Bodies of the commands under `evm`: run a block, trace a transaction, run official state tests."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

from . import console as con
from ._kernels.jit import most_threads
from .errors import BlockError, ExecutionError, UsageError
from .evm.block import EvmBlock
from .evm.forks import Fork
from .evm.trace import trace
from .execute.evm_result import EvmExecution
from .execute.evm_run import prepare_evm
from .execute.run import EXECUTORS
from .io.evm_tables import evm_numbers, is_evm_folder, read_evm_blocks
from .io.node_json import read_node_block
from .io.paths import check_target, replacing
from .io.state_tests import read_state_tests
from .screens import print_pairs, workers_text

__all__ = ["read_evm_input", "run_evm", "run_state_tests", "run_trace"]


def read_evm_input(path: Path, prestate: Path | None, number: int | None, fork: str | None = None) -> EvmBlock:
    """The block that ``--input``, ``--prestate`` and ``--number`` name.

    Raises
    ------
    PevmError
        As the readers; UsageError if options do not fit the input.
    """
    if is_evm_folder(path):
        if prestate is not None or fork is not None:
            raise UsageError("--prestate, --fork: a folder of tables has both")
        known = evm_numbers(path)
        if number is None and len(known) != 1:
            raise UsageError(f"{path}: holds {len(known)} blocks, {known[0]} to {known[-1]}: say which with --number")
        with con.status(f"reading {path.name}"):
            return next(iter(read_evm_blocks(path, [known[0] if number is None else number])))
    if path.is_dir():
        raise UsageError(f"{path}: has no tables that blocks are executed from (state/…__headers.parquet)")
    if prestate is None:
        raise UsageError(f"{path}: a block without state: give --prestate, what a node's prestateTracer says of it")
    with con.status(f"reading {path.name}"):
        block = read_node_block(path, prestate, fork=fork)
    if number is not None and number != block.number:
        raise UsageError(f"--number {number}: the block of {path} is {block.number}")
    return block


def _checked(done: EvmExecution) -> str:
    found = done.differences_from_chain()
    if found:
        raise ExecutionError(f"block {done.block.number}: {found[0]}" + (f", and {len(found) - 1} more" if found[1:] else ""))
    env = done.block.env
    known = [name for name in ("gas_used", "receipts_root", "logs_bloom") if getattr(env, name) is not None]
    known += ["state of known accounts"] if done.block.after is not None else []
    return ", ".join(name.replace("_", " ") for name in known) or "nothing to compare with"


def _second_run(block: EvmBlock, executor: str, workers: int) -> EvmExecution:
    """What a warm run gives."""
    job, reason, timings = prepare_evm(block, executor, workers)
    job.run()
    return job.collect(job.run(), timings, reason)


def run_evm(
    path: Path, prestate: Path | None, number: int | None, fork: str | None, executor: str, workers: int | None
) -> None:
    """Execute a block, compare with the chain and with serial execution, and show what was done."""
    if executor not in EXECUTORS:
        raise UsageError(f"--executor {executor!r}: must be one of {', '.join(EXECUTORS)}")
    count = most_threads() if workers is None else workers
    if not 1 <= count <= 1024:
        raise UsageError(f"--workers {count}: must be in [1, 1024]")
    block = read_evm_input(path, prestate, number, fork)
    serial = _second_run(block, "serial", 1)
    compared = _checked(serial)
    done = _second_run(block, executor, count)
    done.check_equal(serial)
    counters, gas = done.counters, int(done.gas_used.sum())
    runner = f"{done.executor}, {workers_text(counters['workers'])}" + (f" ({done.reason})" if done.reason else "")
    lines = [
        ("block", f"{block.number:,}, {block.env.fork.name.lower()}, {block.n_tx:,} transactions, {gas:,} gas"),
        ("succeeded", f"{int(done.success.sum()):,}, {sum(map(len, done.logs)):,} logs"),
        ("as the chain", compared),
        ("executor", runner),
        ("runs", f"{counters['executions']:,}; thrown away {counters['aborts']:,}; checks {counters['validations']:,}"),
        ("accesses", f"{done.observed.n_accesses:,}, of {len(done.keys):,} keys"),
        ("serial", f"{serial.timings['execute_ns'] / 1e6:.3f} ms, one warm run; evm bench measures properly"),
    ]
    if done.executor != "serial":
        lines.append(("this run", f"{done.timings['execute_ns'] / 1e6:.3f} ms; outcome equal to serial execution"))
    print_pairs(lines)


def run_trace(
    path: Path, prestate: Path | None, number: int | None, fork: str | None, index: int, output: Path | None
) -> None:
    """Print or write the steps of one transaction as JSON lines."""
    block = read_evm_input(path, prestate, number, fork)
    if not 0 <= index < block.n_tx:
        raise UsageError(f"--index {index}: the block has {block.n_tx} transactions")
    if output is None:
        for line in trace(block, index).lines():
            print(line)
        return
    check_target("--output", output, [path, *([prestate] if prestate else [])], (".jsonl", ".json"))
    found = trace(block, index)
    with replacing(output) as (temporary,):
        temporary.write_text("".join(f"{line}\n" for line in found.lines()))
    print(f"{output}: {len(found.steps):,} steps, {found.outcome.gas_used:,} gas")


def run_state_tests(path: Path, forks: str, every: int, verbose: bool) -> None:
    """Run official state tests and count, for each fork, how they came out; exit code 3 if one failed."""
    known = {fork.name.capitalize(): fork for fork in Fork}
    names = [name.strip().capitalize() for name in forks.split(",") if name.strip()]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UsageError(f"--forks {forks!r}: {unknown[0]} is none of {', '.join(known).lower()}")
    if every < 1:
        raise UsageError(f"--every {every}: must be at least 1")
    counts: dict[str, Counter[str]] = {name: Counter() for name in names}
    failed: list[str] = []
    for case in con.progress(read_state_tests(path, names, every), "running"):
        try:
            found = case.outcome()
        except BlockError as error:
            found = f"not read: {error}"
        counts[case.fork][found.split(":")[0]] += 1
        if found != "passed":
            failed.append(f"{case.fork} {case.name}: {found}")
    for name in names:
        total = counts[name].total()
        share = f"{100 * counts[name]['passed'] / total:.2f} %" if total else "none"
        others = ", ".join(f"{count:,} {kind}" for kind, count in counts[name].items() if kind != "passed")
        print(f"{name:<10} {counts[name]['passed']:>7,} of {total:>7,} passed ({share})" + (f"; {others}" if others else ""))
    for text in failed if verbose else failed[:20]:
        print(text, file=sys.stderr)
    if failed:
        total = sum(map(Counter.total, counts.values()))
        raise ExecutionError(f"{len(failed):,} of {total:,} cases did not come out as expected")
