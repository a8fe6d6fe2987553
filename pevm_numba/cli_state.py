"""The commands under `state`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import console as con
from .cli_options import Fork, Number, Prestate, Verbose

__all__ = ["state"]

state = typer.Typer(
    add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None, no_args_is_help=True,
    help="State that lasts: stores made, looked at, compared, and blocks executed on them.",
)  # fmt: skip

_Store = Annotated[Path, typer.Argument(help="A store: a folder, or an SQLite file.")]
_Rows = Annotated[int, typer.Option(help="Entries to show.")]


@state.command()
def load(
    input: Annotated[
        Path, typer.Option(help="Parquet that `dump` wrote; or blocks, of one of which the state before it is taken.")
    ],
    output: Annotated[Path, typer.Option(help="Where the store is made; there must be nothing.")],
    backend: Annotated[str, typer.Option(help="mmap, rocksdb, lmdb or sqlite.")] = "mmap",
    number: Number = None,
    prestate: Prestate = None,
    fork: Fork = None,
    verbose: Verbose = 0,
) -> None:
    """Make a store of a file of state, or of what a block says of the state before it."""
    con.log_to_stderr(verbose)
    from .commands_state import run_load

    run_load(input, output, backend, number, prestate, fork)


@state.command()
def dump(
    store: _Store,
    output: Annotated[Path, typer.Option(help="NAME.parquet.")],
    verbose: Verbose = 0,
) -> None:
    """Write all that a store has as Parquet: address, field, slot, value, code."""
    con.log_to_stderr(verbose)
    from .commands_state import run_dump

    run_dump(store, output)


@state.command()
def get(
    store: _Store,
    address: Annotated[str, typer.Argument(help="20 bytes in hexadecimal.")],
    slot: Annotated[list[str] | None, typer.Option(help="Of these slots, decimal or 0x…; may be repeated.")] = None,
    rows: _Rows = 10,
    verbose: Verbose = 0,
) -> None:
    """Show an account: balance, nonce, code, and its storage."""
    con.log_to_stderr(verbose)
    from .commands_state import run_get

    con.check_range("--rows", rows, 0, 2**31 - 1)
    run_get(store, address, slot or [], rows)


@state.command()
def verify(store: _Store, verbose: Verbose = 0) -> None:
    """Read everything in a store: checksums, keys looked up again, the codes of accounts hashed."""
    con.log_to_stderr(verbose)
    from .commands_state import run_verify

    run_verify(store)


@state.command()
def compare(
    left: _Store,
    right: Annotated[Path, typer.Argument(help="Another, of any backend.")],
    rows: _Rows = 10,
    verbose: Verbose = 0,
) -> None:
    """Compare two stores key by key; exit code 3 if they differ."""
    con.log_to_stderr(verbose)
    from .commands_state import run_compare

    con.check_range("--rows", rows, 0, 2**31 - 1)
    run_compare(left, right, rows)


@state.command()
def snapshot(
    store: _Store,
    output: Annotated[Path, typer.Option(help="Where the copy is made; there must be nothing.")],
    verbose: Verbose = 0,
) -> None:
    """Copy a store as it is now, also while another process commits to it."""
    con.log_to_stderr(verbose)
    from .commands_state import run_snapshot

    run_snapshot(store, output)


@state.command()
def run(
    store: _Store,
    input: Annotated[Path, typer.Option(help="Blocks: a folder of tables with state, or a block file.")],
    blocks: Annotated[str, typer.Option(help="Numbers with commas between; default all.")] = "",
    executor: Annotated[str, typer.Option(help="auto, serial, waves, dataflow, optimistic or bal.")] = "auto",
    workers: Annotated[int | None, typer.Option(help="Threads; default all that Numba has.")] = None,
    prefetch: Annotated[
        bool, typer.Option(help="Read what a block names while the block before runs, or else when it is needed.")
    ] = True,
    patterns: Annotated[
        Path | None, typer.Option(help="Also read what these patterns, NAME.json, predict; built-in: those known.")
    ] = None,
    delay: Annotated[int, typer.Option(help="Microseconds that each read takes more, as of a slower store.")] = 0,
    rows: _Rows = 20,
    verbose: Verbose = 0,
) -> None:
    """Execute blocks in order on a store, each committed as a whole; goes on after the last block that was."""
    con.log_to_stderr(verbose)
    from .commands_state import Chain, run_blocks

    con.check_range("--rows", rows, 0, 2**31 - 1)
    con.check_range("--delay", delay, 0, 10**6)
    run_blocks(store, Chain(input, con.block_numbers(blocks), executor, workers, prefetch, patterns, delay, rows))
