"""A survey by threads of this process and by Dask workers, one of them killed: the same rows, how fast, how much memory."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..console import progress
from ..errors import ExecutionError, PevmError, UsageError
from ..generate import generate
from ..io.files import write_blocks
from ..io.parquet_access import read_accesses
from ..survey.batch import Batch
from ..survey.metrics import METRICS, columns_of, measure
from ..survey.run import survey
from .html_target import Page
from .outputs import check_outputs, write_outputs
from .rounds import peak_growth
from .tables import check_range, figure, print_paragraph, print_table

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Request", "run"]

#: Blocks in a file of those that are made.
_FILE: Final = 500


@dataclass(frozen=True)
class Request:
    """The arguments of ``bench survey``."""

    path: Path | None = None
    blocks: int = 5000
    n_tx: int = 200
    metrics: str = "size,conflicts,dependencies"
    workers: int = 2
    rounds: int = 3
    dask: bool = True
    seed: int = 42

    def check(self) -> tuple[str, ...]:
        """The groups of columns.

        Raises
        ------
        UsageError
            Naming the option, its value and the rule.
        """
        for option, number, low, high in (
            ("--n-blocks", self.blocks, 1, 10**7), ("--n", self.n_tx, 1, 10**6), ("--workers", self.workers, 1, 1024),
            ("--rounds", self.rounds, 1, 1000), ("--seed", self.seed, 0, 2**63),
        ):  # fmt: skip
            check_range(option, number, low, high)
        try:
            return columns_of(self.metrics.replace(" ", "").split(","))
        except PevmError as error:
            raise UsageError(f"--metrics {self.metrics!r}: {error}") from None


def _make(folder: Path, request: Request) -> None:
    """Files of synthetic blocks, each of another seed and conflict ratio."""
    for first in progress(range(0, request.blocks, _FILE), "making blocks", -(-request.blocks // _FILE)):
        last = min(request.blocks, first + _FILE)
        write_blocks(folder / f"blocks_{first:08}.parquet", [
            generate(n_tx=request.n_tx, conflict_ratio=(i % 10) / 10, seed=request.seed + i, number=i)
            for i in range(first, last)
        ])  # fmt: skip


def _row(
    way: str, source: str, table: pa.Table, metrics: Sequence[str], workers: int, seconds: Sequence[float],
    cpu: Sequence[float], memory: int | None,
) -> dict[str, Any]:  # fmt: skip
    blocks = len(table)
    return {
        "table": "survey", "source": source, "way": way, "workers": workers, "metrics": ",".join(metrics), "blocks": blocks,
        "rounds": len(seconds), "seconds": float(np.median(seconds)), "seconds_low": min(seconds),
        "seconds_high": max(seconds), "cpu_s": float(np.median(cpu)), "blocks_per_s": blocks / float(np.median(seconds)),
        "blocks_per_cpu_s": blocks / float(np.median(cpu)), "memory_bytes": memory, "verified": True,
    }  # fmt: skip


def _same(way: str, table: pa.Table, wanted: pa.Table) -> None:
    if not table.equals(wanted):
        raise ExecutionError(f"survey by {way}: its rows are not those of one thread")


def _thread_rows(path: Path, source: str, request: Request, metrics: Sequence[str]) -> tuple[list[dict[str, Any]], pa.Table]:
    """By one thread and by several."""
    rows: list[dict[str, Any]] = []
    wanted = survey(path, metrics, workers=1).to_arrow()  # compiles
    for workers in sorted({1, request.workers}):
        seconds, cpu = list[float](), list[float]()
        for _ in range(request.rounds):
            start, used = time.perf_counter(), time.process_time()
            found = survey(path, metrics, workers=workers).to_arrow()
            seconds.append(time.perf_counter() - start)
            cpu.append(time.process_time() - used)
            _same(f"{workers} threads", found, wanted)
        memory = peak_growth(partial(survey, path, metrics, workers=workers))
        rows.append(_row("threads", source, wanted, metrics, workers, seconds, cpu, memory))
    return rows, wanted


def _counting_row(path: Path, source: str, request: Request, metrics: Sequence[str], wanted: pa.Table) -> dict[str, Any]:
    """Counting alone, on what has been read."""
    import pyarrow as pa

    batches = [
        Batch.of_accesses(given)
        for file in sorted(path.glob("blocks_*[0-9].parquet"))
        for given in read_accesses(file, list(range(int(file.stem[7:]), min(request.blocks, int(file.stem[7:]) + _FILE))))
    ]
    seconds, cpu = list[float](), list[float]()
    for _ in range(request.rounds):
        start, used = time.perf_counter(), time.process_time()
        tables = [measure(batch, metrics) for batch in batches]
        seconds.append(time.perf_counter() - start)
        cpu.append(time.process_time() - used)
    _same("counting alone", pa.concat_tables(tables).combine_chunks(), wanted)
    return _row("counting alone", source, wanted, metrics, 1, seconds, cpu, None)


# -------------------------------------------------------------------- Dask


def _workers_used(client: Any) -> tuple[float, int]:
    """CPU seconds, and bytes, of the worker processes."""
    import psutil

    processes = [psutil.Process(pid) for pid in client.run(os.getpid).values()]
    return sum(sum(one.cpu_times()[:2]) for one in processes), sum(one.memory_info().rss for one in processes)


@contextmanager
def _killing(pid: int, out: Path) -> Iterator[list[int]]:
    """Kill a process as soon as `out` has a finished part; what is yielded says how many it had then."""
    seen: list[int] = []
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.001):
            done = len(list(out.glob("part-*.parquet"))) if out.is_dir() else 0
            if done:
                os.kill(pid, signal.SIGKILL)
                seen.append(done)
                return

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()


def _dask_rows(
    path: Path, source: str, request: Request, metrics: Sequence[str], wanted: pa.Table, scratch: Path
) -> list[dict[str, Any]]:
    """By worker processes, then with one of them killed in the middle, then once more from what was left."""
    from ..survey.cluster import local_cluster

    rows = []
    with local_cluster(request.workers) as client:
        survey(path, metrics, client)  # loads kernels
        seconds, cpu, memory = list[float](), list[float](), 0
        for _ in range(request.rounds):
            start, (used, _) = time.perf_counter(), _workers_used(client)
            found = survey(path, metrics, client).to_arrow()
            seconds.append(time.perf_counter() - start)
            now, size = _workers_used(client)
            cpu.append(now - used)
            memory = max(memory, size)
            _same("Dask", found, wanted)
        rows.append(_row("Dask", source, wanted, metrics, request.workers, seconds, cpu, memory))
        out, pids = scratch / "killed", list(client.run(os.getpid).values())
        start = time.perf_counter()
        with _killing(pids[0], out) as seen:
            found = survey(path, metrics, client, output=out).to_arrow()
        taken = time.perf_counter() - start
        _same("Dask, a worker killed", found, wanted)
        if not seen:
            raise ExecutionError("the survey was over before a worker could be killed: give more --n-blocks")
        rows.append(_row("Dask, a worker killed", source, wanted, metrics, request.workers, [taken], [taken], None))
        rows[-1] |= {"cpu_s": None, "blocks_per_cpu_s": None}
    return rows


# -------------------------------------------------------------------- the whole


def run(request: Request, json: Path | None = None, page: Page | None = None) -> list[dict[str, Any]]:
    """Measure, show, and write JSON and page if asked.

    Raises
    ------
    PevmError
        On bad arguments or input, or if the rows of two ways differ; no figure is shown or written then.
    """
    metrics = request.check()
    check_outputs(json, page, [] if request.path is None else [request.path])
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="pevm-survey-") as name:
        scratch = Path(name)
        made = scratch / "blocks"
        made.mkdir()
        _make(made, request)
        text = f"{request.blocks:,} blocks of {request.n_tx:,}"
        found, wanted = _thread_rows(made, text, request, metrics)
        rows += [_counting_row(made, text, request, metrics, wanted), *found]
        if request.dask:
            rows += _dask_rows(made, text, request, metrics, wanted, scratch)
        if request.path is not None:
            rows += _thread_rows(request.path, str(request.path), request, metrics)[0]
    _show(rows)
    write_outputs(json, page, rows)
    return rows


def _show(rows: Sequence[dict[str, Any]]) -> None:
    body = [
        [
            f"{row['source']}: {row['way']}", f"{row['workers']}", f"{row['blocks']:,}", figure(row["seconds"]),
            f"{row['blocks_per_s']:,.0f}", "-" if row["blocks_per_cpu_s"] is None else f"{row['blocks_per_cpu_s']:,.0f}",
            "-" if row["memory_bytes"] is None else f"{row['memory_bytes'] / 2**20:,.0f}",
        ]
        for row in rows
    ]  # fmt: skip
    title = f"Survey of {rows[0]['metrics']}: medians of {rows[0]['rounds']} rounds, every way with the same rows"
    print_table(title, ["", "workers", "blocks", "s", "blocks/s", "blocks/CPU s", "MiB"], body)
    print_paragraph(
        "blocks/s: reading and counting, but in 'counting alone'. CPU s: of all threads, or of the worker processes.",
        "MiB: most by which this process grew; of Dask what its worker processes have at the end, all of it.",
        f"Groups of columns: {', '.join(METRICS)}.",
    )
