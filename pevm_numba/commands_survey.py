"""Body of the command `survey`: a summary on the terminal, a row a block in files."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from . import console as con
from .errors import UsageError
from .io.paths import check_target, replacing
from .screens import print_pairs, print_table
from .survey.metrics import METRICS
from .survey.remote import is_remote
from .survey.result import Survey
from .survey.run import survey

__all__ = ["Request", "run"]


class Request(NamedTuple):
    """What the command line asked for."""

    paths: tuple[str, ...]
    metrics: str
    output: str | None
    workers: int | None
    dask: str | None
    retries: int
    csv: Path | None


def run(request: Request) -> Survey:
    """Do it, and show what was found.

    Raises
    ------
    PevmError
        On bad input; UsageError if options do not fit.
    """
    names = [name.strip() for name in request.metrics.split(",")]
    for name in names:
        con.check_choice("--metrics", name, METRICS)
    con.check_range("--retries", request.retries, 0, 100)
    if request.workers is not None:
        con.check_range("--workers", request.workers, 1, 4096)
        if request.dask is not None:
            raise UsageError("--workers with --dask: a cluster has its own; local:N has N processes")
    if request.csv is not None:
        check_target("--csv", request.csv, [Path(one) for one in request.paths if not is_remote(one)], (".csv",))
    start = time.perf_counter()
    with _cluster(request.dask) as client:
        made = survey(
            request.paths, names, client, output=request.output, workers=request.workers, retries=request.retries,
            progress=True,
        )  # fmt: skip
    _show(made, request, time.perf_counter() - start)
    if request.csv is not None:
        from pyarrow import csv

        with replacing(request.csv) as (beside,):
            csv.write_csv(made.to_arrow(), beside)
    return made


@contextmanager
def _cluster(dask: str | None) -> Iterator[Any]:
    """Nothing, an address, or a client of a cluster that lives as long as it is needed."""
    if dask is None or not dask.startswith("local:"):
        yield dask
        return
    count = dask.removeprefix("local:")
    if not (count.isascii() and count.isdigit() and 1 <= int(count[:6]) <= 1024):
        raise UsageError(f"--dask {dask!r}: must be an address, or local:N with 1 to 1024 processes")
    from .survey.cluster import local_cluster

    with local_cluster(int(count)) as client:
        yield client


def _show(made: Survey, request: Request, seconds: float) -> None:
    where = "threads here" if request.dask is None else f"Dask, {request.dask}"
    rows = [
        ("blocks", f"{len(made):,}, in {made.partitions:,} partitions, {made.resumed:,} of them done before"),
        ("took", f"{seconds:.2f} s, reading and counting, on {where}"),
    ]
    if request.output is not None:
        rows.append(("output", f"{request.output}: a Parquet file for each partition"))
    print_pairs(rows)
    shown = ("mean", "p5", "median", "p95", "most")
    body = [
        [row["column"], row["unit"], f"{row['blocks']:,}", *(_figure(row[name]) for name in shown)] for row in made.summary()
    ]
    print_table(("", "unit", "blocks", *shown), body, 2, 5, left=(0, 1))
    drawn = _not_exact(made)
    if drawn:
        print()
        text = f"of {drawn:,} of {len(made):,} blocks are estimates: a million drawn pairs of transactions stand for all"
        print_pairs([("pairs", f"{text} (conflicts_exact is false)")])


def _not_exact(made: Survey) -> int:
    """Blocks whose conflicting pairs were not counted one by one."""
    if "conflicts" not in made.metrics:
        return 0
    return len(made) - int(np.count_nonzero(made.to_arrow()["conflicts_exact"].to_numpy()))


def _figure(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:,.3g}"
