"""The command `survey`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import console as con
from .cli_options import Verbose

__all__ = ["survey"]


def survey(
    paths: Annotated[
        list[str],
        typer.Argument(help="Files and folders of blocks, or addresses such as s3://bucket/*.parquet.", metavar="PATH"),
    ],
    metrics: Annotated[
        str, typer.Option(help="Some of size,conflicts,dependencies,definitions.")
    ] = "size,conflicts,dependencies",
    output: Annotated[
        str | None, typer.Option(help="Folder for a Parquet file of each partition; what is done there is not done again.")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Threads; default one for each core.")] = None,
    dask: Annotated[
        str | None, typer.Option(help="Address of a Dask scheduler, or local:N for N processes here (extra distributed).")
    ] = None,
    retries: Annotated[int, typer.Option(help="Tries more where the system failed.")] = 2,
    csv: Annotated[Path | None, typer.Option(help="Write all rows to this .csv file, too.")] = None,
    verbose: Verbose = 0,
) -> None:
    """Conflicts, critical paths and parallelism of all blocks, thousands a second, on all cores or a Dask cluster."""
    con.log_to_stderr(verbose)
    from .commands_survey import Request, run

    run(Request(tuple(paths), metrics, output, workers, dask, retries, csv))
