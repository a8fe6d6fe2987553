"""`bench engines`: compiled shapes beside the interpreter, what compiling costs, and when it has paid.

Receipts and state are compared with the interpreter's before any time counts; what is compiled is compiled before that.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from ..block import Block
from ..console import progress, status
from ..engines.engine import Engine
from ..errors import ExecutionError, UsageError
from ..execute.micro_op_job import MicroOpJob
from ..execute.micro_ops import JOBS
from ..execute.program import program_of
from ..execute.run import execute
from ..generate import OpMix, generate
from ..io.files import read_blocks
from .ceiling import check_reference, compile_reference, read_ceiling_block
from .engine_costs import compile_rows, shape_rows, show_costs, show_shapes
from .engine_runs import job_of, mixed_block, nanoseconds, times_of
from .html_target import Page
from .outputs import check_outputs, write_outputs
from .rounds import Spread
from .tables import check_range, figure, print_table

__all__ = ["Request", "run"]

#: Serial runs: what is measured, and how.
_WAYS: Final = {
    "interpreter": Engine(),
    "interpreter, grouped": Engine(group=True),
    "jit": Engine("jit", "all"),
    "jit, grouped": Engine("jit", "all", group=True),
    "wasm": Engine("wasm", "all"),
    "wasm, grouped": Engine("wasm", "all", group=True),
}


@dataclass(frozen=True)
class Request:
    """The arguments of ``bench engines``."""

    corpus: Path | None = None
    ceiling: Path | None = None
    n_tx: int = 5_000
    rounds: int = 51
    wasm: bool = True
    seed: int = 42

    def check(self) -> None:
        """Refuse what cannot be meant.

        Raises
        ------
        UsageError
            Naming the option, its value and the rule.
        """
        for option, number, low, high in (
            ("--n", self.n_tx, 12, 1_000_000), ("--rounds", self.rounds, 1, 100_000), ("--seed", self.seed, 0, 2**63),
        ):  # fmt: skip
            check_range(option, number, low, high)
        if self.ceiling is not None and not (self.ceiling / "ceiling.c").is_file():
            raise UsageError(f"--ceiling {self.ceiling}: must be a folder with ceiling.c and its blocks")

    @property
    def ways(self) -> dict[str, Engine]:
        """What is measured."""
        return {name: engine for name, engine in _WAYS.items() if self.wasm or engine.name != "wasm"}


def _subjects(request: Request) -> dict[str, Block]:
    """Blocks by name."""
    n, seed = request.n_tx, request.seed
    made = {
        "one shape": mixed_block(n, 1, seed=seed),
        "12 shapes": mixed_block(n, 12, seed=seed),
        "12 shapes, 3 hashes each": mixed_block(n, 12, hashes=3, seed=seed),
        "preset large without hashes": generate("large", n_tx=n, seed=seed, mix=OpMix(keccak_share=0.0)),
        "preset large": generate("large", n_tx=n, seed=seed),
    }
    if request.corpus is not None:
        largest = sorted(read_blocks(request.corpus), key=lambda block: -block.n_tx)[:2]
        made |= {f"block {block.number}": block for block in largest}
    return made


# ------------------------------------------------------------------ measuring


def _rows_of(name: str, block: Block, request: Request) -> list[dict[str, Any]]:
    shapes = program_of(block).shapes
    times = times_of({way: job_of(block, engine) for way, engine in request.ways.items()}, request.rounds)
    rows = []
    for way, taken in times.items():
        ratio, spread = times["interpreter"] / taken, Spread.of(taken)
        rows.append({
            "table": "engines", "case": name, "way": way, "n_tx": block.n_tx, "n_ops": block.n_ops,
            "n_shapes": len(shapes.tokens), "rounds": request.rounds, "ns_per_op": spread.median / max(1, block.n_ops),
            "ns_per_op_low": spread.low / max(1, block.n_ops), "ns_per_tx": spread.median / max(1, block.n_tx),
            "speedup": float(np.median(ratio)), "speedup_low": float(np.quantile(ratio, 0.25)),
            "speedup_high": float(np.quantile(ratio, 0.75)), "verified": True,
        })  # fmt: skip
    return rows


def _executor_rows(block: Block, request: Request) -> list[dict[str, Any]]:
    """Executors on two workers, each with the interpreter and with machine code."""
    rows = []
    listed = execute(block, "serial", record="changes").block_access_list()
    for executor in JOBS:
        jobs: dict[str, MicroOpJob] = {}
        for engine in (Engine(), Engine("jit", "all")):
            workers, given = 1 if executor == "serial" else 2, listed if executor == "bal" else None
            job = jobs[engine.name] = JOBS[executor](block, workers=workers, engine=engine, access_list=given)
            job.plan()
        times = times_of(jobs, request.rounds)
        ratio = times["interpreter"] / times["jit"]
        rows.append({
            "table": "engines executors", "case": "12 shapes", "executor": executor, "workers": jobs["jit"].workers,
            "interpreter_ns_per_tx": float(np.median(times["interpreter"])) / block.n_tx,
            "jit_ns_per_tx": float(np.median(times["jit"])) / block.n_tx, "speedup": float(np.median(ratio)),
            "speedup_low": float(np.quantile(ratio, 0.25)), "speedup_high": float(np.quantile(ratio, 0.75)),
            "verified": True,
        })  # fmt: skip
    return rows


def _ceiling_rows(folder: Path, request: Request) -> list[dict[str, Any]]:
    """The C reference's kernel `shape`, in turn with ours, on its blocks."""
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        program = compile_reference(folder / "ceiling.c", Path(scratch))
        for data in sorted(folder.glob("*_42.bin")):
            block = read_ceiling_block(data)
            jobs = {name: job_of(block, engine) for name, engine in _WAYS.items() if engine.name != "wasm"}
            first = next(iter(jobs.values()))
            times_of(jobs, 1)
            first.reset()
            first.run()
            check_reference(first.space, program, data, Path(scratch))
            ours: dict[str, list[float]] = {name: [] for name in jobs}
            theirs = []
            for _ in range(max(3, request.rounds // 5)):
                text = subprocess.run([program, data, "51"], check=True, capture_output=True, text=True).stdout
                found = re.search(r"^shape +median +([0-9.]+) us", text, re.MULTILINE)
                if found is None:
                    raise ExecutionError(f"{folder / 'ceiling.c'}: printed no median for shape")
                theirs.append(1e3 * float(found[1]))
                for name, job in jobs.items():
                    ours[name].append(float(np.median([nanoseconds(job) for _ in range(51)])))
            for name, taken in ours.items():
                ratio = np.array(taken) / np.array(theirs)
                rows.append({
                    "table": "engines ceiling", "case": data.stem, "way": name, "rounds": len(theirs),
                    "ns_per_tx": float(np.median(taken)) / block.n_tx, "c_ns_per_tx": float(np.median(theirs)) / block.n_tx,
                    "ratio": float(np.median(ratio)), "ratio_low": float(ratio.min()), "ratio_high": float(ratio.max()),
                    "verified": True,
                })  # fmt: skip
    return rows


# ------------------------------------------------------------------ the whole


def run(request: Request, json: Path | None = None, page: Page | None = None) -> list[dict[str, Any]]:
    """Measure, show, and write JSON and page if asked.

    Raises
    ------
    PevmError
        On bad arguments or input, or if two engines leave different states; no figure is shown or written then.
    """
    request.check()
    check_outputs(json, page, [path for path in (request.corpus, request.ceiling) if path is not None])
    with status("making blocks"):
        blocks = _subjects(request)
    rows: list[dict[str, Any]] = []
    for name, block in progress(list(blocks.items()), "engines", len(blocks)):
        rows += _rows_of(name, block, request)
    with status("compiling once more"):
        rows += compile_rows(blocks, rows, request.wasm)
    with status("streams of one shape"):
        rows += shape_rows(request.n_tx, request.rounds, request.seed)
    with status("executors"):
        rows += _executor_rows(blocks["12 shapes"], request)
    if request.ceiling is not None:
        with status("the C reference"):
            rows += _ceiling_rows(request.ceiling, request)
    _show(rows)
    write_outputs(json, page, rows)
    return rows


def _show(rows: Sequence[dict[str, Any]]) -> None:
    tables: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        tables.setdefault(row["table"], []).append(row)
    _show_runs(tables["engines"])
    show_costs(tables["engines compile"])
    show_shapes(tables["engines shapes"])
    _show_executors(tables["engines executors"])
    if "engines ceiling" in tables:
        _show_ceiling(tables["engines ceiling"])


def _show_runs(rows: Sequence[dict[str, Any]]) -> None:
    body = [
        [
            f"{row['case']}: {row['way']}", f"{row['n_tx']:,}", f"{row['n_shapes']:,}", figure(row["ns_per_op"]),
            figure(row["ns_per_tx"]), figure(row["speedup"]), f"{row['speedup_low']:.2f}-{row['speedup_high']:.2f}",
        ]
        for row in rows
    ]  # fmt: skip
    title = f"Serial runs on one core, medians of {rows[0]['rounds']} rounds in turn, all outcomes equal"
    print_table(title, ["", "txs", "shapes", "ns/op", "ns/tx", "x interpreter", "quartiles"], body)


def _show_executors(rows: Sequence[dict[str, Any]]) -> None:
    body = [
        [
            row["executor"], f"{row['workers']}", figure(row["interpreter_ns_per_tx"]), figure(row["jit_ns_per_tx"]),
            figure(row["speedup"]), f"{row['speedup_low']:.2f}-{row['speedup_high']:.2f}",
        ]
        for row in rows
    ]  # fmt: skip
    print_table("Executors on 12 shapes", ["", "workers", "interpreter ns/tx", "jit ns/tx", "x", "quartiles"], body)


def _show_ceiling(rows: Sequence[dict[str, Any]]) -> None:
    body = [
        [
            f"{row['case']}: {row['way']}", figure(row["ns_per_tx"]), figure(row["c_ns_per_tx"]), figure(row["ratio"]),
            f"{row['ratio_low']:.2f}-{row['ratio_high']:.2f}",
        ]
        for row in rows
    ]  # fmt: skip
    title = "Beside the C reference's kernel shape, which knows the generator's one pattern and writes less"
    print_table(title, ["", "ns/tx", "C ns/tx", "ours / C", "range"], body)
