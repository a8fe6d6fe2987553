"""The commands under `blobs`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import console as con
from .cli_options import Fork, Number, Prestate, Verbose

__all__ = ["blobs"]

blobs = typer.Typer(
    add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None, no_args_is_help=True,
    help="Blobs (EIP-4844 and after): prices, markets over many blocks, blocks built with them.",
)  # fmt: skip

_Json = Annotated[Path | None, typer.Option(help="Write all figures to this .json file.")]
_Excess = Annotated[int | None, typer.Option(help="Blob gas in excess, to 177 update fractions; instead of --price.")]
_Seed = Annotated[int, typer.Option(help="Same seed, same draws.")]


@blobs.command()
def fee(
    parameters: Annotated[str, typer.Option(help="all, or some of cancun,prague,osaka,bpo1,bpo2.")] = "all",
    excess: _Excess = None,
    price: Annotated[int | None, typer.Option(help="Instead of --excess: the least excess with this price, in wei.")] = None,
    base_fee: Annotated[int, typer.Option(help="Of a unit of gas, in wei, for the reserve price (EIP-7918).")] = 10**9,
    json: _Json = None,
    verbose: Verbose = 0,
) -> None:
    """The price of blob gas by its excess, and what a full and an empty block change, under each schedule of parameters."""
    con.log_to_stderr(verbose)
    from .commands_blobs import run_fee

    run_fee(parameters, excess, price, base_fee, json)


@blobs.command()
def simulate(
    pattern: Annotated[str, typer.Option(help="Of demand: steady, step, bursts or wave.")] = "steady",
    n_blocks: Annotated[int, typer.Option(help="Blocks to simulate.")] = 1_000,
    mean: Annotated[float, typer.Option(help="Blobs that arrive for a block, outside steps and bursts.")] = 10.0,
    height: Annotated[float, typer.Option(help="Of step, bursts, wave: so many times the mean.")] = 2.0,
    period: Annotated[int, typer.Option(help="Of bursts and wave, in blocks.")] = 100,
    width: Annotated[int, typer.Option(help="Of a burst, in blocks.")] = 10,
    parameters: Annotated[str, typer.Option(help="all, or some of cancun,prague,osaka,bpo1,bpo2.")] = "bpo2",
    price: Annotated[int, typer.Option(help="Of a unit of blob gas in the first block, in wei, or a little more.")] = 1,
    base_fee: Annotated[int, typer.Option(help="Of a unit of gas, in wei, for the reserve price (EIP-7918).")] = 10**9,
    fee_cap: Annotated[
        float | None, typer.Option(help="Median fee cap, in wei; default --headroom times the price at arrival.")
    ] = None,
    headroom: Annotated[float, typer.Option(help="See --fee-cap.")] = 2.0,
    spread: Annotated[float, typer.Option(help="Of the caps: standard deviation of their logarithm.")] = 0.5,
    elasticity: Annotated[float, typer.Option(help="Above 0: demand times (price / --reference) to minus so much.")] = 0.0,
    reference: Annotated[float, typer.Option(help="Price, in wei, at which demand is what it says.")] = 1e6,
    patience: Annotated[int, typer.Option(help="Blocks after which who waits is withdrawn.")] = 300,
    seed: _Seed = 0,
    chart: Annotated[Path | None, typer.Option(help="Draw prices and blobs as .png, .svg or .pdf (extra plot).")] = None,
    json: _Json = None,
    verbose: Verbose = 0,
) -> None:
    """Simulate a demand for blobs over many blocks: the price, and how long transactions wait."""
    con.log_to_stderr(verbose)
    from .commands_blobs import Market, run_simulate

    demand = {"pattern": pattern, "n_blocks": n_blocks, "mean": mean, "height": height, "period": period, "width": width}
    users = {
        "fee_cap": fee_cap, "headroom": headroom, "spread": spread, "elasticity": elasticity, "reference": reference,
        "patience": patience,
    }  # fmt: skip
    run_simulate(Market(demand, users, parameters, price, base_fee, seed), chart, json)


@blobs.command()
def build(
    input: Annotated[
        Path | None, typer.Option(help="The pool: a block file, folder or node's block; default one that is made.")
    ] = None,
    n_tx: Annotated[int, typer.Option(help="Of the pool that is made.")] = 1_000,
    blob_ratio: Annotated[float, typer.Option(help="Share of its transactions that have blobs.")] = 0.1,
    parameters: Annotated[str, typer.Option(help="cancun, prague, osaka, bpo1 or bpo2.")] = "bpo2",
    excess: _Excess = None,
    price: Annotated[int, typer.Option(help="Of a unit of blob gas, in wei, or a little more.")] = 1,
    gas_limit: Annotated[int, typer.Option(help="Of the block.")] = 30_000_000,
    workers: Annotated[int, typer.Option(help="For the makespan, which has no limit.")] = 8,
    seed: _Seed = 42,
    json: _Json = None,
    number: Number = None,
    prestate: Prestate = None,
    fork: Fork = None,
    verbose: Verbose = 0,
) -> None:
    """Build a block of a pool under gas limit and blob limit, each way, beside the bound of the linear program."""
    con.log_to_stderr(verbose)
    from .commands_blobs import Pool, run_build

    run_build(
        Pool(input, n_tx, blob_ratio, seed, number, prestate, fork), parameters, excess, price, gas_limit, workers, json
    )
