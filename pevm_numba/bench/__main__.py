"""Command line of the benchmark. A result that differs from serial execution ends the run without a figure, exit code 3."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .. import console as con

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command()
def bench(
    preset: Annotated[list[str] | None, typer.Option(help="Generated block; may be repeated.")] = None,
    input: Annotated[
        list[Path] | None, typer.Option(help="Block file, folder of block, cryo or op_trace files, or seed JSON.")
    ] = None,
    executor: Annotated[str, typer.Option(help="serial, waves, auto, or all.")] = "waves",
    policy: Annotated[str, typer.Option(help="levels keeps block order; mis and mis-parallel build another.")] = "levels",
    oracle: Annotated[str, typer.Option(help="Access sets: static, declared, eip2930, union, degraded.")] = "static",
    miss_rate: Annotated[float, typer.Option(help="With --oracle degraded: share of accesses missed.")] = 0.0,
    workers: Annotated[int | None, typer.Option(help="Threads; default all that Numba has.")] = None,
    work: Annotated[float, typer.Option(help="Microseconds of work to add to every transaction.")] = 0.0,
    repeat: Annotated[int, typer.Option(help="Rounds of serial, parallel, serial.")] = 9,
    seed: Annotated[int, typer.Option(help="Of the presets.")] = 42,
    json: Annotated[Path | None, typer.Option(help="Write all figures, a list of objects, to this file.")] = None,
    verbose: Annotated[int, typer.Option("-v", "--verbose", count=True, help="Log; twice for more.")] = 0,
) -> None:
    """Measure parallel against serial execution; without arguments on the presets small, medium and large."""
    con.log_to_stderr(verbose)
    from .session import Request, run

    run(
        Request(tuple(preset or ()), tuple(input or ()), executor, policy, oracle, miss_rate, workers, work, repeat, seed),
        json,
    )


def main() -> None:
    """Entry point."""
    con.run_app(app)


if __name__ == "__main__":
    main()
