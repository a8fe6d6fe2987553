"""The commands under `access`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import console as con
from .cli_options import Fork, Input, Number, Prestate, Verbose

__all__ = ["access"]

access = typer.Typer(
    add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None, no_args_is_help=True,
    help="Access lists of transactions and blocks.",
)  # fmt: skip

_Rows = Annotated[int, typer.Option(help="Entries to show.")]


@access.command()
def export(
    input: Input,
    output: Annotated[Path, typer.Option(help="NAME.json, or NAME.rlp for the encoding.")],
    form: Annotated[str, typer.Option(help="eip7928: the block's list; eip2930: one list for each transaction.")] = "eip7928",
    oracle: Annotated[
        str | None,
        typer.Option(help="Of eip2930, not what is executed, but: static, eip2930, union, observed; of micro-ops declared."),
    ] = None,
    number: Number = None,
    prestate: Prestate = None,
    fork: Fork = None,
    verbose: Verbose = 0,
) -> None:
    """Write access lists as nodes give them."""
    con.log_to_stderr(verbose)
    from .commands_access import run_export

    if oracle is not None:
        con.check_choice("--oracle", oracle, ("static", "declared", "eip2930", "union", "observed"))
    inputs = [input, *([] if prestate is None else [prestate])]
    run_export(con.read_input(input, number, prestate, fork), inputs, form, oracle, output)


@access.command()
def diff(
    input: Input,
    oracle: Annotated[
        str, typer.Option(help="carried: the lists of the transactions; or of access sets: static, eip2930, union, observed.")
    ] = "carried",
    rows: _Rows = 10,
    number: Number = None,
    prestate: Prestate = None,
    fork: Fork = None,
    verbose: Verbose = 0,
) -> None:
    """Compare lists with the cheapest for what is accessed: what is missing, what is too much, and the gas of each."""
    con.log_to_stderr(verbose)
    from .commands_access import run_diff

    con.check_range("--rows", rows, 0, 2**31 - 1)
    con.check_choice("--oracle", oracle, ("carried", "static", "eip2930", "union", "observed"))
    run_diff(con.read_input(input, number, prestate, fork), oracle, rows)


@access.command()
def optimal(
    input: Input,
    output: Annotated[Path | None, typer.Option(help="Write the lists to this .json file.")] = None,
    rows: _Rows = 10,
    surcharge: Annotated[bool, typer.Option("--eip-7981", help="By the prices that EIP-7981 proposes.")] = False,
    number: Number = None,
    prestate: Prestate = None,
    fork: Fork = None,
    verbose: Verbose = 0,
) -> None:
    """Find the list that makes each transaction cheapest: none, the best by prices, or its own; each is run."""
    con.log_to_stderr(verbose)
    from .commands_access import run_optimal

    con.check_range("--rows", rows, 0, 2**31 - 1)
    inputs = [input, *([] if prestate is None else [prestate])]
    run_optimal(con.read_input(input, number, prestate, fork), output, inputs, rows, surcharge)


@access.command()
def predict(
    input: Annotated[Path, typer.Option(help="Folder of tables with state, whose earlier blocks are learned from.")],
    number: Annotated[int, typer.Option(help="The block to predict.")],
    patterns: Annotated[
        Path | None, typer.Option(help="Patterns, NAME.json, to begin with instead of those built in.")
    ] = None,
    learn: Annotated[int | None, typer.Option(help="From how many blocks before it; default all in the folder.")] = None,
    threshold: Annotated[float, typer.Option(help="Chance from which on a key counts as accessed.")] = 0.5,
    output: Annotated[Path | None, typer.Option(help="Write a list for each transaction to this .json file.")] = None,
    save: Annotated[Path | None, typer.Option(help="Write what was learned, up to that block, to this .json file.")] = None,
    rows: _Rows = 10,
    verbose: Verbose = 0,
) -> None:
    """Predict what a block's transactions will access from blocks before it, and compare with what they do."""
    con.log_to_stderr(verbose)
    from .commands_access import Prophecy, run_predict

    con.check_range("--rows", rows, 0, 2**31 - 1)
    con.check_range("--threshold", threshold, 0, 1)
    if learn is not None:
        con.check_range("--learn", learn, 0, 2**31 - 1)
    run_predict(Prophecy(input, number, patterns, learn, threshold, output, save, rows))


@access.command()
def validate(
    input: Input,
    list: Annotated[Path, typer.Option(help="The block's list: .json, or its encoding in bytes or hexadecimal text.")],
    gas_limit: Annotated[bool, typer.Option(help="Whether the gas limit bounds the list, as from Amsterdam on.")] = True,
    rows: _Rows = 10,
    number: Number = None,
    prestate: Prestate = None,
    fork: Fork = None,
    verbose: Verbose = 0,
) -> None:
    """Validate a block access list (EIP-7928): its rules, and that it is what the block does; names all that is not."""
    con.log_to_stderr(verbose)
    from .commands_access import run_validate

    con.check_range("--rows", rows, 0, 2**31 - 1)
    run_validate(con.read_input(input, number, prestate, fork), list, gas_limit, rows)
