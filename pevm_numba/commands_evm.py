"""Bodies of the commands under `evm`: run a block, trace a transaction, run official state tests."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

from . import console as con
from .errors import BlockError, ExecutionError, FileFormatError, UsageError
from .evm.block import EvmBlock
from .evm.forks import Fork
from .evm.trace import trace
from .io.paths import check_target, replacing
from .io.state_tests import read_state_tests

__all__ = ["read_evm_input", "run_state_tests", "run_trace"]


def read_evm_input(path: Path, prestate: Path | None, number: int | None, fork: str | None = None) -> EvmBlock:
    """The block that ``--input``, ``--prestate`` and ``--number`` name.

    Raises
    ------
    PevmError
        As the readers; UsageError if options do not fit the input.
    """
    block = con.read_input(path, number, prestate, fork, evm=True)
    assert isinstance(block, EvmBlock)
    return block


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
    if unknown or not names:
        raise UsageError(f"--forks {forks!r}: {unknown[0] if unknown else 'nothing'} is none of {', '.join(known).lower()}")
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
    if not any(counts[name] for name in names):
        some = f" among every {every} of its files" if every > 1 else ""
        raise FileFormatError(f"{path}: has no state test of {', '.join(names).lower()}{some}")
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
