"""Pictures of blobs: what they hold is what was simulated and built, point by point."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest

mpl.use("Agg")

import matplotlib.pyplot as plt
from test_plot import covers_nothing

import pevm_numba as pn
from pevm_numba import plot
from pevm_numba.errors import BlockError, PevmError


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def runs() -> dict[str, pn.BlobSimulation]:
    demand, users = pn.blob_demand("bursts", 90, 6.0, height=4, period=30, width=10), pn.BlobUsers(fee_cap=1e6)
    return {
        name: pn.simulate_blobs(demand, users=users, parameters=name, excess=pn.excess_at_fee(10**5, name))
        for name in ("cancun", "bpo2")
    }


@pytest.fixture(scope="module")
def built() -> dict[str, dict[int, pn.BuiltBlock]]:
    pool = pn.generate(n_tx=80, blob_ratio=0.5, seed=2, n_senders=40)
    options: dict[str, Any] = {"gas_limit": 2_000_000, "blobs": pn.blob_counts(pool)}
    earns, gas = np.random.default_rng(1).lognormal(0, 1, 80), np.full(80, 50_000)
    access, limits = pn.access_sets(pool), (3, 9, 21)
    return {
        method: {n: pn.build_block(access, earns, gas, method=method, blob_limit=n, **options) for n in limits}
        for method in ("greedy", "lp")
    }


def test_prices_blobs_and_the_waiting_are_those_of_the_simulations(runs: dict[str, pn.BlobSimulation]) -> None:
    price, blobs, waiting = plot.blob_market(runs)
    for i, (name, made) in enumerate(runs.items()):
        assert price.lines[i].get_ydata().tolist() == list(made.price)
        assert price.lines[i].get_label() == f"{name}: {min(made.price):,} to {max(made.price):,} wei"
        assert blobs.lines[2 * i].get_ydata().tolist() == made.blobs.tolist()
        assert set(blobs.lines[2 * i + 1].get_ydata()) == {made.parameters.target}
        assert waiting.lines[i].get_ydata().tolist() == made.waiting.tolist()
    assert price.get_yscale() == "log"
    assert covers_nothing(waiting)


def test_means_are_over_whole_runs_of_blocks_and_the_rest(runs: dict[str, pn.BlobSimulation]) -> None:
    line = plot.blob_market(runs, mean_over=40)[1].lines[0]
    counts = runs["cancun"].blobs
    assert line.get_ydata().tolist() == [counts[:40].mean(), counts[40:80].mean(), counts[80:].mean()]
    assert line.get_xdata().tolist() == [19.5, 59.5, 84.5]


def test_a_price_that_no_float_holds_is_drawn_at_the_end_of_the_axis() -> None:
    made = pn.simulate_blobs([0.0], parameters="cancun", excess=800 * 3_338_477)
    assert made.price[0] > 10**308
    assert plot.blob_market({"far": made})[0].lines[0].get_ydata().tolist() == [1e300]


def test_shares_of_the_delays_are_of_all_that_arrived(runs: dict[str, pn.BlobSimulation]) -> None:
    ax = plot.blob_delays(runs)
    for line, made in zip(ax.lines, runs.values(), strict=True):
        for waited, share in zip(line.get_xdata(), line.get_ydata(), strict=True):
            done = (made.tx_included >= 0) & (made.tx_included - made.tx_arrival <= waited)
            assert share == pytest.approx(done.mean())
    assert ax.lines[0].get_ydata()[-1] < 0.5 < ax.lines[1].get_ydata()[-1]
    assert covers_nothing(ax)


def test_choices_lie_below_the_least_bound(built: dict[str, dict[int, pn.BuiltBlock]]) -> None:
    ax = plot.blob_choices(built)
    greedy, lp, bound = (line.get_ydata() for line in ax.lines)
    for i, limit in enumerate((3, 9, 21)):
        assert greedy[i] == built["greedy"][limit].reward <= lp[i] == built["lp"][limit].reward <= bound[i]
        assert bound[i] == min(row[limit].bound for row in built.values())
    least = 100 * min(greedy / bound)
    assert ax.lines[0].get_label() == f"greedy: {least:.2f} % of the bound at least"
    assert covers_nothing(ax)


@pytest.mark.parametrize(
    ("call", "rule"),
    [
        (lambda: plot.blob_market({}), "simulations: empty"),
        (lambda: plot.blob_market({"a": 3}), "simulations['a'] = 3: must be a BlobSimulation"),
        (lambda: plot.blob_market({"a": pn.simulate_blobs([])}), "simulations['a'] has no block"),
        (lambda: plot.blob_market({"a": pn.simulate_blobs([1])}, mean_over=0), "mean_over = 0"),
        (lambda: plot.blob_delays({"a": pn.simulate_blobs([0])}), "simulations['a']: no transaction arrived"),
        (lambda: plot.blob_delays([1]), "simulations = [1]"), (lambda: plot.blob_choices({"a": {}}), "built['a']: empty"),
        (lambda: plot.blob_choices({"a": {3: 4}}), "built['a'][3] = 4: must be a BuiltBlock"),
        (lambda: plot.blob_choices({"a": {-3: 4}}), "built['a']: blob limit = -3"),
        (lambda: plot.blob_choices({}), "built: empty"),
    ],
)  # fmt: skip
def test_bad_arguments_are_named_before_anything_is_drawn(call: Any, rule: str) -> None:
    with pytest.raises(BlockError) as said:
        call()
    assert rule in str(said.value)
    assert not plt.get_fignums()


def test_without_matplotlib_the_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, runs: dict[str, pn.BlobSimulation], built: dict[str, dict[int, pn.BuiltBlock]]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    for draw in (lambda: plot.blob_market(runs), lambda: plot.blob_delays(runs), lambda: plot.blob_choices(built)):
        with pytest.raises(PevmError, match=r'pip install "pevm-numba\[plot\]"'):
            draw()
