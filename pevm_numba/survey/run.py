"""`survey`: the same analysis over thousands of blocks, on the cores of one machine or on a Dask cluster, with one result."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from .. import door
from ..console import Ticks
from ..errors import BlockError, FileFormatError, PevmError
from .metrics import columns_of
from .partitions import Partition, partitions_of
from .parts import Parts, do_partition
from .remote import is_remote
from .result import Survey

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["survey"]

_DEFAULT: Final = ("size", "conflicts", "dependencies")
#: Waits for a partition, and gives its name and its rows, unless they were written; or raises what it failed for.
Outcome = Callable[[], "tuple[str, pa.Table | None]"]


def survey(
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    metrics: str | Iterable[str] = _DEFAULT,
    client: Any = None,
    *,
    output: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    retries: int = 2,
    progress: bool = False,
) -> Survey:
    """Analyse all blocks at some paths.

    Parameters
    ----------
    paths : path or address, or iterable of these
        Block files or folders of them, op_trace files or folders, a folder of cryo datasets, a folder of blocks with state
        (which are executed), PEVM-OPT-2 JSON. Addresses such as ``s3://bucket/*.parquet`` are read through fsspec.
        Of blocks of one number in several files each has a row.
    metrics : str or iterable of str
        Groups of columns: "size", "conflicts", "dependencies", "definitions"; see `pevm_numba.survey.metrics.METRICS`.
    client : distributed.Client or str, optional
        Dask cluster to do it on, or its address. Default: threads of this process. Workers must be able to read the paths,
        and to write `output`.
    output : path or address, optional
        Folder for the result, a Parquet file for each partition, each put there when it is whole. What is there of this
        survey already, of sources that have not changed since, is not done again. Not inside a folder of cryo datasets or of
        blocks with state that is among the paths. Default: kept in memory.
    workers : int, optional
        Threads; default one for each core. Not with a client.
    retries : int in [0, 100]
        How often a partition is tried again after the system failed: a worker was lost, a file or network did not answer,
        a call of an address's file system raised anything at all. Bad input is not tried again.
    progress : bool
        Show a bar, on a terminal or in a notebook.

    Returns
    -------
    Survey

    Raises
    ------
    PevmError
        If a path has nothing that can be read as blocks, before anything is done; or if the input of a partition turns out
        to be bad. With an `output` all others are done first then, and kept.
    BlockError
        If an argument is not as described.
    OSError
        If the file system of an address does not say what is there, before anything is done.

    Notes
    -----
    A partition is a file, or a thousand of its blocks. Each holds a few hundred blocks in memory at a time. Kernels take many
    blocks in one call, since most are too small to be worth a core of their own.

    Examples
    --------
    >>> import tempfile
    >>> from pevm_numba.block import Block
    >>> from pevm_numba.io.files import write_blocks
    >>> one = Block.from_programs([[("SSTORE", (1, 0, 0), 1)], [("SLOAD", (1, 0, 0))]], number=7)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_blocks(folder + "/blocks.parquet", [one])
    ...     survey(folder, ["conflicts"]).to_arrow()["pairs"].to_pylist()
    [1]
    """
    chosen = columns_of(metrics)
    retries = door.integer("retries", retries, 0, 100)
    partitions = partitions_of(paths)
    parts = None if output is None else Parts(output, chosen)
    done: list[Partition] = []
    if parts is not None:
        _need_outside(parts, partitions)
        parts.create()
        done = parts.finished(partitions)
    known = {part.name for part in done}
    todo = [part for part in partitions if part.name not in known]
    if client is None:
        threads = len(os.sched_getaffinity(0)) if workers is None else door.integer("workers", workers, 1, 4096)
        made = _here(todo, chosen, parts, threads, retries)
    else:
        if workers is not None:
            raise PevmError("workers: of threads here; those of a cluster are its own")
        from .cluster import on_cluster

        made = on_cluster(client, todo, chosen, parts, retries)
    with closing(made):  # ends its threads, or its tasks, now, not when the last reference to an error goes
        tables = _collect(made, len(todo), parts, progress)
    order = [part.name for part in partitions]
    return Survey(chosen, order, resumed=len(done), parts=parts, tables=tables)


def _need_outside(parts: Parts, partitions: Sequence[Partition]) -> None:
    """Refuse an output within a folder that is read as one: all files below it tell whether it has changed."""
    where = None if parts.remote else Path(os.path.realpath(parts.place))
    for source in dict.fromkeys(part.source for part in partitions if not is_remote(part.source)):
        if where is not None and where.is_relative_to(source):
            raise BlockError(f"output = {door.shown(parts.place, 200)}: must not lie inside the input {source}")


def _collect(made: Iterator[Outcome], total: int, parts: Parts | None, progress: bool) -> dict[str, pa.Table]:
    """Rows by partition, where there is no output. The first complaint is raised: at the end, if there is one."""
    tables: dict[str, pa.Table] = {}
    failed: list[PevmError] = []
    with Ticks("survey", total, shown=progress) as ticks:
        for outcome in made:
            try:
                name, table = outcome()
            except PevmError as error:
                if parts is None:
                    raise
                failed.append(error)
                continue
            if table is not None:
                tables[name] = table
            ticks.tick(name)
    if failed:
        more = f" ({len(failed) - 1} more failed)" if len(failed) > 1 else ""
        raise FileFormatError(f"{failed[0]}{more}; all other partitions are done") from failed[0]
    return tables


def _here(
    partitions: Sequence[Partition], metrics: Sequence[str], parts: Parts | None, threads: int, retries: int
) -> Generator[Outcome, None, None]:
    """On threads of this process: as many partitions at a time, so that memory is bounded."""
    waiting = iter(partitions)
    with ThreadPoolExecutor(threads, thread_name_prefix="survey") as pool:
        running: set[Future] = set()
        try:
            while True:
                for partition in waiting:
                    running.add(pool.submit(do_partition, partition, metrics, parts, retries))
                    if len(running) >= threads:
                        break
                if not running:
                    return
                ended, running = wait(running, return_when=FIRST_COMPLETED)
                yield from (one.result for one in ended)
        finally:
            for one in running:
                one.cancel()
