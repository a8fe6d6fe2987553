"""Simulated markets of blobs: prices recomputed from what was included, choices by a slow twin, laws of delays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_blobs import EIPS, NAMES, excess_anew, price_anew

import pevm_numba as pn
from pevm_numba.blobs.building import build_blob_block
from pevm_numba.blobs.demand import PATTERNS, BlobUsers, blob_demand
from pevm_numba.blobs.market import BLOB_GAS, blob_base_fee, excess_at_fee, parameters_of
from pevm_numba.blobs.simulation import BlobSimulation, simulate_blobs
from pevm_numba.errors import BlockError
from pevm_numba.evm.forks import Fork
from pevm_numba.evm.header import BlockEnv
from pevm_numba.evm.transaction import Transaction


@st.composite
def arguments(draw: st.DrawFn) -> dict[str, Any]:
    """Of `simulate_blobs`, short but with every kind of users."""
    pattern, name = draw(st.sampled_from(PATTERNS)), draw(st.sampled_from(NAMES))
    width = draw(st.integers(1, 5))
    demand = blob_demand(
        pattern, draw(st.integers(0, 30)), draw(st.floats(0, 40)), height=draw(st.floats(0, 5)), period=7, width=width
    )
    low = draw(st.integers(1, 7))
    users = BlobUsers(
        blobs_per_tx=(low, draw(st.integers(low, 8))), fee_cap=draw(st.none() | st.floats(1, 1e3)),
        headroom=draw(st.floats(0, 3)), spread=draw(st.floats(0, 2)), elasticity=draw(st.sampled_from([0.0, 0.5, 2.0])),
        reference=50.0, patience=draw(st.integers(1, 12)), tip_spread=draw(st.sampled_from([0.0, 1.0])),
    )  # fmt: skip
    excess = excess_at_fee(draw(st.integers(1, 200)), name)
    base_fee = draw(st.lists(st.integers(0, 3_000), min_size=len(demand), max_size=len(demand)))
    seed = draw(st.integers(0, 2**64 - 1))
    return {
        "demand": demand, "users": users, "parameters": name, "excess": excess, "seed": seed, "base_fee": base_fee
    }  # fmt: skip


def check_prices(made: BlobSimulation) -> None:
    """Excess and price of each block follow from the blobs before it, by formulas of the EIPs written anew."""
    name, excess = made.parameters.name, made.excess[0]
    for i, blobs in enumerate(made.blobs.tolist()):
        assert (made.excess[i], made.price[i]) == (excess, price_anew(excess, name))
        target, most, _, _ = EIPS[name]
        without = excess_anew(excess, blobs * BLOB_GAS, 0, name)
        raised = excess_anew(excess, blobs * BLOB_GAS, made.base_fee[i], name)
        if blobs * BLOB_GAS < most:  # a full block adds most less target, whether the reserve holds or not
            assert made.reserved[i] == (raised > without)
        assert not made.reserved[i] or excess + blobs * BLOB_GAS >= target
        excess = raised
    assert made.excess[-1] == excess


def chosen_anew(made: BlobSimulation, patience: int) -> tuple[list[int], list[bool]]:
    """Which block takes each transaction, and who withdraws, from the table of arrivals alone."""
    included, withdrawn = [-1] * len(made.tx_blobs), [False] * len(made.tx_blobs)
    for block in range(made.n_blocks):
        room = made.parameters.most
        here = [t for t in range(len(included)) if made.tx_arrival[t] <= block and included[t] < 0 and not withdrawn[t]]
        for t in sorted(here, key=lambda t: (-made.tx_tip[t], t)):
            if made.tx_cap[t] >= made.price[block] and made.tx_blobs[t] <= room:
                included[t], room = block, room - int(made.tx_blobs[t])
            elif block - made.tx_arrival[t] >= patience:
                withdrawn[t] = True
    return included, withdrawn


@settings(max_examples=60, deadline=None)
@given(arguments())
def test_prices_choices_and_counts_are_those_of_slow_twins(given_: dict[str, Any]) -> None:
    made = simulate_blobs(**given_)
    check_prices(made)
    included, withdrawn = chosen_anew(made, given_["users"].patience)
    assert (made.tx_included.tolist(), made.tx_withdrawn.tolist()) == (included, withdrawn)
    for block in range(made.n_blocks):
        taken, here = made.tx_included == block, made.tx_arrival == block
        assert made.blobs[block] == made.tx_blobs[taken].sum() <= made.parameters.most
        assert made.arrived[block] == made.tx_blobs[here].sum()
    gone = made.tx_blobs[(made.tx_included >= 0) | made.tx_withdrawn].sum()
    assert made.n_blocks == 0 or made.waiting[-1] == made.tx_blobs.sum() - gone
    assert made.delay.max(initial=0) <= given_["users"].patience
    again = simulate_blobs(**given_)
    assert (again.price, again.summary(), again.rows()) == (made.price, made.summary(), made.rows())


@pytest.mark.parametrize("name", NAMES)
def test_four_hundred_blocks_are_an_independent_computation_of_prices(name: str) -> None:
    most = parameters_of(name).most
    demand = blob_demand("bursts", 400, 0.7 * most, height=4, period=80, width=25)
    base_fee = np.random.default_rng(1).lognormal(18, 2, 400).astype(int)
    start = excess_at_fee(10**5, name)
    made = simulate_blobs(demand, users=BlobUsers(fee_cap=1e7), parameters=name, base_fee=base_fee, excess=start)
    check_prices(made)
    assert max(made.price) > 1.5 * made.price[0]
    assert len(set(made.price)) > 50
    if parameters_of(name).reserve:
        assert 0 < made.reserved.sum() < 400


def test_the_reserve_is_not_said_to_hold_where_the_excess_is_none_with_or_without_it() -> None:
    made = simulate_blobs([0.0] * 5, base_fee=10**9)  # below the target from the first block on
    assert (made.excess, made.reserved.any(), made.summary()["blocks_reserved"]) == ((0,) * 6, False, 0)
    held = simulate_blobs([0.0] * 5, base_fee=10**9, excess=14 * BLOB_GAS)
    assert (held.excess, held.summary()["blocks_reserved"]) == ((14 * BLOB_GAS,) * 6, 5)


def test_demand_above_the_target_raises_the_price_until_caps_stop_it() -> None:
    users = BlobUsers(fee_cap=1e6, spread=0.3)
    made = simulate_blobs(blob_demand("steady", 1_500, 30.0), users=users, excess=excess_at_fee(10**4), base_fee=1)
    assert made.price[0] == pytest.approx(10**4, rel=1e-3)
    late = np.array(made.price[1_000:], float)
    assert (late > 5e5).all()
    assert (late < 3e6).all()
    assert made.blobs[1_000:].mean() == pytest.approx(made.parameters.target, abs=0.3)
    below = simulate_blobs(blob_demand("steady", 300, 7.0), users=users, excess=excess_at_fee(10**4), base_fee=1)
    assert below.price[-1] < made.price[0] / 5
    assert below.summary()["delay_median"] == 0


def test_elastic_users_come_back_as_the_price_falls_and_settle_at_the_target() -> None:
    users = BlobUsers(headroom=100.0, elasticity=1.0, reference=1e6)
    made = simulate_blobs(blob_demand("steady", 2_000, 28.0), users=users, excess=excess_at_fee(10**8), base_fee=1)
    late = np.array(made.price[1_500:], float)
    assert np.median(late) == pytest.approx(2e6, rel=0.2)  # twice the reference halves what arrives: 14, the target
    assert made.arrived[:20].mean() < 3
    assert made.arrived[1_500:].mean() == pytest.approx(14, abs=1.5)


def test_others_of_the_same_seed_pay_more_where_fewer_blobs_fit() -> None:
    demand, users = blob_demand("step", 600, 8.0, height=1.5), BlobUsers(fee_cap=1e9)
    start = 10**3
    runs = {n: simulate_blobs(demand, users=users, parameters=n, excess=excess_at_fee(start, n), base_fee=1) for n in NAMES}
    assert runs["prague"].price[-1] > runs["bpo1"].price[-1] > runs["bpo2"].price[-1]
    assert (runs["bpo1"].tx_blobs == runs["bpo2"].tx_blobs).all()


def test_prices_that_no_float_holds_are_exact_and_keep_everybody_out() -> None:
    assert "last price of over 30 digits" in repr(simulate_blobs([0.0], parameters="cancun", excess=10**5 * 3_338_477 // 8))
    excess = 800 * parameters_of("cancun").fraction
    for users in (BlobUsers(), BlobUsers(elasticity=1.0, reference=1e18)):
        made = simulate_blobs([20.0] * 3, users=users, parameters="cancun", excess=excess)
        assert made.price[0] == price_anew(excess, "cancun") > 10**308
        assert made.blobs.sum() == 0
        assert made.waiting[-1] == made.tx_blobs.sum()


def test_patterns_have_the_mean_that_they_say() -> None:
    assert blob_demand("steady", 3, 5).tolist() == [5, 5, 5]
    assert blob_demand("wave", 1000, 4.0, height=1.9, period=50).mean() == pytest.approx(4.0)
    assert blob_demand("wave", 100, 4.0, height=9, period=50).min() == 0
    assert blob_demand("bursts", 100, 1.0, height=5, period=10, width=10).tolist() == [5.0] * 100


@pytest.mark.parametrize(
    ("call", "rule"),
    [
        (lambda: blob_demand("often", 1, 1), "pattern = 'often'"), (lambda: blob_demand("steady", -1, 1), "n_blocks"),
        (lambda: blob_demand("steady", 1, -1), "mean = -1"), (lambda: blob_demand("step", 1, 1, height=-1), "height"),
        (lambda: blob_demand("wave", 1, 1, period=0), "period = 0"),
        (lambda: blob_demand("bursts", 1, 1, period=5, width=6), r"width = 6: must be in \[1, 5\]"),
        (lambda: BlobUsers(blobs_per_tx=(2, 1)), r"blobs_per_tx\[1\]"), (lambda: BlobUsers(fee_cap=0.5), "fee_cap"),
        (lambda: BlobUsers(headroom=-1), "headroom"), (lambda: BlobUsers(spread=6), "spread"),
        (lambda: BlobUsers(patience=0), "patience = 0"), (lambda: BlobUsers(elasticity=np.nan), "elasticity"),
        (lambda: BlobUsers(reference=0), "reference"), (lambda: BlobUsers(tip_spread=-1), "tip_spread"),
        (lambda: simulate_blobs([1, -1]), r"demand\[1\] = -1"), (lambda: simulate_blobs(3), "demand = 3: must be a list"),
        (lambda: simulate_blobs([1, 1e9]), r"demand\[1\]"), (lambda: simulate_blobs([[1], [1, 2]]), "demand: not an array"),
        (lambda: simulate_blobs(["1"]), "demand has shape"),
        (lambda: simulate_blobs([1], base_fee=[1, 2]), "number of base fees"),
        (lambda: simulate_blobs([1], base_fee=[-1]), r"base_fee\[0\]"), (lambda: simulate_blobs([1], excess=-1), "excess"),
        (lambda: simulate_blobs([1], seed=-1), "seed"), (lambda: simulate_blobs([1], users=3), "users = 3"),
        (lambda: simulate_blobs([1], parameters="bpo9"), "bpo9"),
    ],
)  # fmt: skip
def test_bad_arguments_are_refused(call: Any, rule: str) -> None:
    with pytest.raises(BlockError, match=rule):
        call()


# -------------------------------------------------------------------- building


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 40), st.integers(0, 10**6), st.sampled_from(NAMES), st.integers(1, 200), st.floats(0, 1))
def test_built_blocks_have_only_blobs_that_may_be_in_them(n_tx: int, seed: int, name: str, fee: int, ratio: float) -> None:
    pool = pn.generate(
        n_tx=n_tx, seed=seed, blob_ratio=ratio, blobs_per_tx=(1, 9), blob_fee_cap=(1, 100), n_senders=max(1, n_tx // 2),
        key_space=20, conflict_ratio=0.3,
    )  # fmt: skip
    gas = np.random.default_rng(seed).integers(21_000, 200_000, n_tx)
    reward = gas * np.random.default_rng(seed + 1).lognormal(0, 1, n_tx)
    excess, rules = excess_at_fee(fee, name), parameters_of(name)
    earned = {}
    for method in ("greedy", "lp"):
        made = build_blob_block(
            pool, pn.access_sets(pool), reward, gas, gas_limit=10**6, excess=excess, parameters=name, method=method
        )
        chosen = made.built.chosen.tolist()
        columns = ("blob_count", "max_fee_per_blob_gas")
        counts, caps = (pool.meta[name].to_pylist() if pool.meta else [None] * n_tx for name in columns)
        assert made.price == blob_base_fee(excess, name) >= fee
        for t in range(n_tx):
            bad = counts[t] is not None and (counts[t] > rules.most_each or caps[t] < made.price)
            assert bool(made.refused[t]) == bad
            assert not (bad and t in chosen)
        assert sum(counts[t] or 0 for t in chosen) == made.built.blobs <= rules.most
        assert int(gas[chosen].sum()) == made.built.gas <= 10**6
        assert made.built.reward <= made.built.bound
        earned[method] = made.built.reward
    assert earned["lp"] >= earned["greedy"]


def test_bids_below_the_price_are_refused_where_a_block_has_as_many_blobs_as_it_ever_may() -> None:
    pool = pn.generate(n_tx=20, blob_ratio=0.5, blob_fee_cap=(1, 1), seed=1)
    vast = parameters_of("bpo2")._replace(most=2**31 - 2)
    arguments = {"gas_limit": 10**9, "excess": excess_at_fee(2), "parameters": vast}
    made = build_blob_block(pool, pn.access_sets(pool), np.ones(20), np.ones(20, int), **arguments)
    assert (made.refused == (made.blobs > 0)).all()
    assert made.built.blobs == 0 < made.refused.sum()


def test_a_pool_of_evm_transactions_is_refused_what_breaks_any_rule_of_blobs() -> None:
    good, other = b"\x01" + bytes(31), b"\x02" + bytes(31)
    lists = [(good,), (other,), (good, other), (), (good,) * 6, (good,) * 7, (good,)]
    caps = [9, 9, 9, 9, 9, 9, 6]
    fields: dict[str, Any] = {"chain_id": 1, "gas_limit": 21_000, "max_fee_per_gas": 9, "max_priority_fee_per_gas": 1}
    txs = [
        Transaction(
            type=3, to=bytes(20), sender=bytes([i]) * 20, max_fee_per_blob_gas=cap, blob_versioned_hashes=hashes, **fields
        )
        for i, (hashes, cap) in enumerate(zip(lists, caps))
    ]
    txs.append(Transaction(type=2, to=None, sender=bytes([99]) * 20, **fields))  # no blob transaction: may create
    env = BlockEnv(number=1, timestamp=1, fork=Fork.CANCUN, base_fee=7, excess_blob_gas=0)
    access = pn.access_sets(pn.generate(n_tx=8, conflict_ratio=0.0))
    limits: dict[str, Any] = {"gas_limit": 10**9, "excess": excess_at_fee(7), "method": "greedy"}
    made = build_blob_block(pn.EvmBlock(env, txs, {}), access, np.ones(8), np.full(8, 21_000), **limits)
    assert made.refused.tolist() == [False, True, True, True, False, True, True, False]
    assert sorted(made.built.chosen.tolist()) == [0, 4, 7]


def test_no_cap_reaches_a_price_of_more_than_64_bits() -> None:
    pool = pn.generate(n_tx=20, blob_ratio=0.5, blob_fee_cap=(2**63, 2**63), seed=1)
    arguments = {"gas_limit": 10**9, "excess": excess_at_fee(2**64)}
    made = build_blob_block(pool, pn.access_sets(pool), np.ones(20), np.ones(20, int), **arguments)
    assert (made.refused == (made.blobs > 0)).all()
    assert made.built.n_tx == (made.blobs == 0).sum()
