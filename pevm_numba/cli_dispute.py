"""The command `dispute`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import console as con
from .cli_options import Number, Verbose

__all__ = ["dispute"]


def dispute(
    input: Annotated[Path | None, typer.Option(help="Block file, folder or seed JSON.")] = None,
    preset: Annotated[str | None, typer.Option(help="Generated block; default medium, without --input.")] = None,
    policy: Annotated[
        str | None, typer.Option(help="The order that counts: of this policy of the command schedule; default block order.")
    ] = None,
    fault: Annotated[
        str | None,
        typer.Option(
            help="What one party does wrong: value, gas, status, skipped-write, extra-write, stale-read, receipt, root, "
            "link, order, forged-proof, malformed, time-out; or random, the default."
        ),
    ] = None,
    side: Annotated[str | None, typer.Option(help="Who does it: proposer, the default, or challenger.")] = None,
    position: Annotated[int | None, typer.Option(help="In which transaction, from 0 on in that order.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of the preset, and of where and how the fault is; default 42.")] = None,
    limit: Annotated[float | None, typer.Option(help="Seconds for each move; default 60.")] = None,
    transcript: Annotated[Path | None, typer.Option(help="Write all that was said to this .json file.")] = None,
    replay: Annotated[Path | None, typer.Option(help="Judge anew what such a file says; nothing else is needed.")] = None,
    number: Number = None,
    verbose: Verbose = 0,
) -> None:
    """Play a dispute about a block's execution, one party being wrong, and show each round; or judge one anew."""
    con.log_to_stderr(verbose)
    from .commands_dispute import Request, judge, run

    if replay is not None:
        judge(replay, (input, preset, policy, fault, side, position, seed, limit, transcript, number))
        return
    fault, side = "random" if fault is None else fault, "proposer" if side is None else side
    seed, limit = 42 if seed is None else seed, 60.0 if limit is None else limit
    run(Request(input, preset, policy, fault, side, position, seed, limit, transcript, number))
