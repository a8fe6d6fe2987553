"""Bodies of the commands under `blobs`: prices are the protocol's, demand and tips are made up."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import console as con
from .access.oracles import exact_sets
from .bench.report import write_json
from .blobs.building import BlobBlock, build_blob_block
from .blobs.demand import PATTERNS, BlobUsers, blob_demand
from .blobs.market import (
    BLOB_GAS,
    FRACTIONS_IN_A_WORD,
    RESERVE_GAS,
    blob_base_fee,
    excess_at_fee,
    next_excess_blob_gas,
    parameters_of,
    reserve_holds,
)
from .blobs.simulation import simulate_blobs
from .blobs.work import VERIFY_NS, blob_counts
from .errors import UsageError
from .evm.block import AnyBlock, EvmBlock
from .evm.charges import charges
from .evm.forks import BLOB_SCHEDULE
from .execute.costs import transaction_costs
from .execute.run import execute
from .generate import generate
from .io.paths import check_target
from .schedule.building import METHODS
from .screens import amount, print_pairs, print_table

__all__ = ["Market", "Pool", "run_build", "run_fee", "run_simulate"]

_MOST: Final = 10**30
_NAMES: Final = tuple(row.name for row in BLOB_SCHEDULE)


def _chosen(option: str) -> list[str]:
    """Names of parameters, in the order given."""
    names = list(_NAMES) if option == "all" else [name.strip() for name in option.split(",")]
    for name in names:
        con.check_choice("--parameters", name, _NAMES)
    if len(set(names)) < len(names):
        raise UsageError(f"--parameters {option}: a name comes twice")
    return names


def _check_excess(excess: int, names: Sequence[str]) -> None:
    """Refuse one at which, under some of the parameters, a price does not fit in 256 bits, as headers refuse it."""
    con.check_range("--excess", excess, 0, min(FRACTIONS_IN_A_WORD * parameters_of(name).fraction for name in names))


# -------------------------------------------------------------------- fee


def run_fee(option: str, excess: int | None, price: int | None, base_fee: int, json: Path | None) -> None:
    """Show prices and how blocks change them.

    Raises
    ------
    PevmError
        On bad input; UsageError if options do not fit.
    """
    names = _chosen(option)
    if excess is not None and price is not None:
        raise UsageError("--excess with --price: give one of them")
    con.check_range("--base-fee", base_fee, 0, _MOST)
    if price is not None:
        con.check_range("--price", price, 1, _MOST)
    _check_excess(excess or 0, names)
    if json is not None:
        check_target("--json", json, [], (".json",))
    rows = [_fee_row(name, excess_at_fee(price, name) if price is not None else excess or 0, base_fee) for name in names]
    if json is not None:
        write_json(json, rows)
    headings = ("", "target", "most", "a tx", "excess", "price", "a blob", "full block", "empty block", "reserve")
    counts = ("target", "most", "most_each", "excess_blob_gas", "price", "blob")
    body = [
        [
            row["parameters"], *(f"{row[name]:,}" for name in counts), f"{100 * row['full_change']:+.2f} %",
            f"{100 * row['empty_change']:+.2f} %", {None: "-", True: "holds", False: "no"}[row["reserve"]],
        ]
        for row in rows
    ]  # fmt: skip
    print_table(headings, body, 1, 7, left=(0,))
    words = f"whether a blob costs less than {RESERVE_GAS:,} units of gas at {base_fee:,} wei (EIP-7918)"
    print(f"\nprices in wei; reserve: {words};\nwhere it holds no block lowers the price")


def _fee_row(name: str, excess: int, base_fee: int) -> dict[str, Any]:
    """Figures of one schedule of parameters; changes of the price are shares of it."""
    rules, price = parameters_of(name), blob_base_fee(excess, name)
    after = {blobs: next_excess_blob_gas(excess, blobs, base_fee, rules) for blobs in (0, rules.most)}
    full, empty = (float(np.expm1((after[n] - excess) / rules.fraction)) for n in (rules.most, 0))
    return {
        "parameters": name, "since": rules.since, "target": rules.target, "most": rules.most, "most_each": rules.most_each,
        "update_fraction": rules.fraction, "excess_blob_gas": excess, "price": price, "blob": price * BLOB_GAS,
        "base_fee": base_fee, "reserve": reserve_holds(excess, base_fee, rules) if rules.reserve else None,
        "full_change": full, "empty_change": empty, "full_excess": after[rules.most], "empty_excess": after[0],
    }  # fmt: skip


# -------------------------------------------------------------------- simulate


class Market(NamedTuple):
    """What the command line asked for; `demand` and `users` are arguments of `blob_demand` and `BlobUsers`."""

    demand: dict[str, Any]
    users: dict[str, Any]
    parameters: str
    price: int
    base_fee: int
    seed: int


def run_simulate(market: Market, chart: Path | None, json: Path | None) -> None:
    """Simulate, and show, draw and write what came out.

    Raises
    ------
    PevmError
        On bad input; UsageError if options do not fit.
    """
    names = _chosen(market.parameters)
    con.check_choice("--pattern", market.demand["pattern"], PATTERNS)
    con.check_range("--n-blocks", market.demand["n_blocks"], 1, 10**6)
    con.check_range("--price", market.price, 1, _MOST)
    for option, path, endings in (("--json", json, (".json",)), ("--chart", chart, (".png", ".svg", ".pdf"))):
        if path is not None:
            check_target(option, path, [], endings)
    if chart is not None:
        from .plot.style import need_matplotlib

        need_matplotlib()
    demand, users = blob_demand(**market.demand), BlobUsers(**market.users)
    runs = {}
    with con.status("simulating"):
        for name in names:
            more = {"base_fee": market.base_fee, "excess": excess_at_fee(market.price, name), "seed": market.seed}
            runs[name] = simulate_blobs(demand, users=users, parameters=name, **more)
    if json is not None:
        about = market.demand | market.users | {"base_fee": market.base_fee, "seed": market.seed}
        write_json(json, [about | made.summary() | {"blocks": made.rows()} for made in runs.values()])
    wanted = f"{demand.mean():,.4g} blobs a block in the mean of {len(demand):,} blocks"
    words = "of a unit of blob gas, in wei; delays in blocks, of those that were included"
    print_pairs([("demand", f"{market.demand['pattern']}, {wanted}"), ("price", words)])
    _show([made.summary() for made in runs.values()])
    if chart is not None:
        from .plot import blob_market
        from .plot.style import save

        save(blob_market(runs, mean_over=max(1, len(demand) // 60))[0], chart)
        print(f"\n{chart}: prices, blobs, and how many wait")


def _show(found: Sequence[dict[str, Any]]) -> None:
    """A row for each simulation."""
    columns = {
        "price_last": "last price", "price_least": "least", "price_most": "most", "blobs_mean": "blobs/block",
        "blocks_full": "full", "blocks_reserved": "reserved", "included": "included", "withdrawn": "withdrawn",
        "waiting": "waiting", "delay_mean": "delay", "delay_median": "median", "delay_p95": "p95", "delay_most": "most",
    }  # fmt: skip
    body = [[one["parameters"], *(_text(one[name]) for name in columns)] for one in found]
    print_table(("", *columns.values()), body, 1, 7, left=(0,))


def _text(value: int | float | None) -> str:
    """A figure; whole ones, such as prices, with every digit."""
    return "-" if value is None else f"{value:,}" if isinstance(value, int) else amount(value)


# -------------------------------------------------------------------- build


class Pool(NamedTuple):
    """Where the pool comes from."""

    input: Path | None
    n_tx: int
    blob_ratio: float
    seed: int
    number: int | None
    prestate: Path | None
    fork: str | None

    def read(self) -> AnyBlock:
        """The block whose transactions are the pool."""
        if self.input is not None:
            return con.read_input(self.input, self.number, self.prestate, self.fork)
        if (self.number, self.prestate, self.fork) != (None, None, None):
            raise UsageError("--number, --prestate, --fork: only with --input")
        senders = max(1, 2 * self.n_tx // 3)
        return generate(n_tx=self.n_tx, blob_ratio=self.blob_ratio, seed=self.seed, n_senders=senders)


def run_build(
    pool: Pool, option: str, excess: int | None, price: int, gas_limit: int, workers: int, json: Path | None
) -> None:
    """Build by each method, and show how near to the bound.

    Raises
    ------
    PevmError
        On bad input; UsageError if options do not fit.
    """
    con.check_choice("--parameters", option, _NAMES)
    con.check_range("--price", price, 1, _MOST)
    _check_excess(excess or 0, [option])
    con.check_range("--gas-limit", gas_limit, 0, 2**53)
    con.check_range("--workers", workers, 1, 2**31 - 1)
    if json is not None:
        given = [path for path in (pool.input, pool.prestate) if path is not None]
        check_target("--json", json, given, (".json",))
    block = pool.read()
    access = execute(block, "serial").observed if isinstance(block, EvmBlock) else exact_sets(block)
    gas = transaction_costs(block, "gas")
    reward, words = _rewards(block, gas, pool.seed)
    start = excess_at_fee(price, option) if excess is None else excess
    limits: dict[str, Any] = {"gas_limit": gas_limit, "excess": start, "parameters": option, "workers": workers}
    with con.status("building"):
        made = {method: build_blob_block(block, access, reward, gas, method=method, **limits) for method in METHODS}
    rows = [_built_row(method, one, block) for method, one in made.items()]
    if json is not None:
        write_json(json, [{"pool": block.n_tx, **limits, "price": one["price"], **one} for one in rows])
    some, counts = next(iter(made.values())), blob_counts(block)
    print_pairs(
        [
            ("pool", f"{block.n_tx:,} transactions, {int((counts > 0).sum()):,} with {int(counts.sum()):,} blobs in all"),
            ("limits", f"{gas_limit:,} gas, {parameters_of(option).most:,} blobs ({option})"),
            ("price", f"{some.price:,} wei for a unit of blob gas; {int(some.refused.sum()):,} transactions refused"),
            ("reward", words),
        ]
    )
    headings = ("", "txs", "gas", "blobs", "reward", "of the bound", "makespan (gas)", "verifying (ms)")
    body = [
        [
            row["method"], *(f"{row[name]:,}" for name in ("n_tx", "gas", "blobs")), amount(row["reward"]),
            f"{100 * row['bound_share']:.2f} %", amount(row["makespan"]), f"{row['verify_ns'] / 1e6:,.1f}",
        ]
        for row in rows
    ]  # fmt: skip
    print_table(headings, body, 1, 6, left=(0,))


def _rewards(block: AnyBlock, gas: NDArray[Any], seed: int) -> tuple[NDArray[np.float64], str]:
    """What transactions pay the builder: tips of the chain, or drawn ones; and words for which."""
    if isinstance(block, EvmBlock):
        tips = [max(0, charges(tx, block.env).tip) for tx in block.transactions]
        return gas * np.array(tips, float), "gas times tip, in wei, at the block's base fee"
    return gas * np.random.default_rng(seed).lognormal(0.0, 1.0, block.n_tx), "gas times a tip that is drawn"


def _built_row(method: str, made: BlobBlock, block: AnyBlock) -> dict[str, Any]:
    built = made.built
    return {
        "method": method, "price": made.price, "refused": int(made.refused.sum()), "n_tx": built.n_tx, "gas": built.gas,
        "blobs": built.blobs, "reward": built.reward, "bound": built.bound, "bound_share": 1.0 - built.gap,
        "bound_from": built.bound_from, "makespan": built.makespan, "verify_ns": VERIFY_NS * built.blobs,
    }  # fmt: skip
