"""Blobs: prices and rules against formulas written anew, another client, and real headers."""

from __future__ import annotations

import itertools
from decimal import Decimal, localcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pevm_numba as pn
from pevm_numba.blobs import work
from pevm_numba.blobs.market import (
    BLOB_GAS,
    blob_base_fee,
    excess_at_fee,
    fake_exponential,
    next_excess_blob_gas,
    parameters_of,
    reserve_holds,
)
from pevm_numba.blobs.rules import RULES, check_blob_transaction
from pevm_numba.blobs.work import blob_costs, blob_counts, blob_fee_caps, measure_kzg
from pevm_numba.errors import BlockError, PevmError
from pevm_numba.evm.charges import refusal
from pevm_numba.evm.forks import BLOB_SCHEDULE, BlobParameters, Fork
from pevm_numba.evm.header import BlockEnv
from pevm_numba.evm.transaction import Transaction

NAMES = [row.name for row in BLOB_SCHEDULE]
HASH = b"\x01" + bytes(31)

# -------------------------------------------------------------------- written anew

#: Numbers as the EIPs print them: target and most in gas, update fraction, whether EIP-7918 holds.
EIPS = {
    "cancun": (393_216, 786_432, 3_338_477, False),
    "prague": (786_432, 1_179_648, 5_007_716, False),
    "osaka": (786_432, 1_179_648, 5_007_716, True),
    "bpo1": (1_310_720, 1_966_080, 8_346_193, True),
    "bpo2": (1_835_008, 2_752_512, 11_684_671, True),
}


def price_anew(excess: int, name: str) -> int:
    """As go-ethereum has it: each term is divided twice, by the denominator and by its number."""
    denominator = EIPS[name][2]
    output, accumulated, i = 0, denominator, 1
    while accumulated:
        output += accumulated
        accumulated = accumulated * excess // denominator // i
        i += 1
    return output // denominator


def excess_anew(excess: int, gas_used: int, base_fee: int, name: str) -> int:
    """EIP-7918's function, with its names and in its order."""
    target, most, _, reserve = EIPS[name]
    if excess + gas_used < target:
        return 0
    if reserve and 2**13 * base_fee > 2**17 * price_anew(excess, name):
        return excess + gas_used * ((most - target) // 2**17) // (most // 2**17)
    return excess + gas_used - target


# -------------------------------------------------------------------- the exponential


def test_the_exponential_is_e_at_one_and_22026_at_ten() -> None:
    for fraction in {row.fraction for row in BLOB_SCHEDULE}:
        assert fake_exponential(1, fraction, fraction) == 2
        assert fake_exponential(1, 10 * fraction, fraction) == 22026


@given(st.integers(0, 10**30), st.integers(1, 10**12), st.integers(0, 300), st.integers(0, 10**6))
def test_the_exponential_is_never_above_the_real_one_and_below_it_by_roundings_only(
    factor: int, denominator: int, whole: int, part: int
) -> None:
    numerator = whole * denominator + part % denominator
    with localcontext(prec=250):
        power = (Decimal(numerator) / denominator).exp()
        found, steps = fake_exponential(factor, numerator, denominator), 4 * whole + 700
        assert found <= factor * power
        # A rounding at step i loses less than 1 / denominator, which later steps multiply by less than the power.
        assert found >= factor * power - steps * (1 + power) / denominator - 1


@pytest.mark.parametrize("name", NAMES)
@given(excess=st.integers(0, 10**9), more=st.integers(0, 10**9))
def test_the_price_never_falls_as_the_excess_rises(name: str, excess: int, more: int) -> None:
    assert blob_base_fee(excess, name) <= blob_base_fee(excess + more, name)


@pytest.mark.parametrize("name", NAMES)
@given(fee=st.integers(1, 10**40))
def test_the_least_excess_of_a_price_is_the_least(name: str, fee: int) -> None:
    excess = excess_at_fee(fee, name)
    assert blob_base_fee(excess, name) >= fee
    assert excess == 0 or blob_base_fee(excess - 1, name) < fee


@pytest.mark.parametrize(
    ("wrong", "rule"),
    [((-1, 1, 1), "factor = -1: must be at least 0"), ((1, -1, 1), "numerator"), ((1, 1, 0), "denominator = 0"),
     ((1.5, 1, 1), "factor = 1.5: must be an integer"), ((True, 1, 1), "factor = True")],
)  # fmt: skip
def test_bad_arguments_of_the_exponential_are_refused(wrong: tuple[Any, ...], rule: str) -> None:
    with pytest.raises(BlockError, match=rule):
        fake_exponential(*wrong)


# -------------------------------------------------------------------- prices from block to block


def test_the_schedule_has_the_numbers_of_the_eips() -> None:
    for name, (target, most, fraction, reserve) in EIPS.items():
        found = parameters_of(name)
        assert (found.target * BLOB_GAS, found.most * BLOB_GAS) == (target, most)
        assert (found.fraction, found.reserve) == (fraction, reserve)


def test_a_price_that_mainnet_had_comes_out() -> None:
    assert blob_base_fee(216_399_457, "bpo2") == 110_435_740


@pytest.mark.parametrize(
    ("name", "blobs", "change"), [("cancun", 6, 12.5), ("prague", 9, 8.17), ("cancun", 0, -11.1), ("prague", 0, -14.5)]
)
def test_full_and_empty_blocks_change_the_price_by_so_many_percent(name: str, blobs: int, change: float) -> None:
    before = excess_at_fee(10**15, name)
    after = next_excess_blob_gas(before, blobs, parameters=name)
    ratio = blob_base_fee(after, name) / blob_base_fee(before, name)
    assert 100 * (ratio - 1) == pytest.approx(change, abs=0.051 if abs(change) > 9 else 0.0051)


EXCESS = st.integers(0, 3 * 10**8) | st.integers(0, 10**9)


@pytest.mark.parametrize("name", NAMES)
@given(excess=EXCESS, share=st.floats(0, 1), base_fee=st.integers(0, 10**12))
def test_the_next_excess_is_that_of_the_eips(name: str, excess: int, share: float, base_fee: int) -> None:
    blobs = round(share * parameters_of(name).most)
    found = next_excess_blob_gas(excess, blobs, base_fee, name)
    assert found == excess_anew(excess, blobs * BLOB_GAS, base_fee, name)
    assert blob_base_fee(excess, name) == price_anew(excess, name)
    assert found >= next_excess_blob_gas(excess, blobs, 0, name)  # the reserve never lowers it


@pytest.mark.parametrize(("name", "module"), [("cancun", "cancun"), ("prague", "prague")])
@given(excess=EXCESS, blobs=st.integers(0, 6))
def test_another_client_has_the_same_excess_and_price(name: str, module: str, excess: int, blobs: int) -> None:
    headers = pytest.importorskip(f"eth.vm.forks.{module}.headers", reason="py-evm is not installed")
    calculations = pytest.importorskip("eth._utils.calculations", reason="py-evm is not installed")
    parent = SimpleNamespace(excess_blob_gas=excess, blob_gas_used=blobs * BLOB_GAS)
    theirs = getattr(headers, f"calc_excess_blob_gas_{module}")(parent)
    assert next_excess_blob_gas(excess, blobs, parameters=name) == theirs
    assert blob_base_fee(excess, name) == calculations.fake_exponential(1, excess, parameters_of(name).fraction)


def test_a_path_of_six_hundred_blocks_through_all_forks_is_that_of_the_eips() -> None:
    rng = np.random.default_rng(12)
    excess = expected = 0
    prices: list[int] = []
    reserved = 0
    for block in range(600):
        name = NAMES[block // 120]
        most = parameters_of(name).most
        blobs = int(rng.integers(0, most + 1)) if block % 60 < 10 else most
        base_fee = int(rng.lognormal(20, 2))
        assert blob_base_fee(excess, name) == price_anew(expected, name)
        prices.append(price_anew(expected, name))
        reserved += reserve_holds(excess, base_fee, name)
        excess = next_excess_blob_gas(excess, blobs, base_fee, name)
        expected = excess_anew(expected, blobs * BLOB_GAS, base_fee, name)
        assert excess == expected
    assert prices[0] == 1
    assert max(prices) > 10**9
    assert 20 < reserved < 340


def test_under_the_reserve_the_price_stops_where_blobs_cost_what_their_gas_would() -> None:
    base_fee, name = 10**9, "bpo2"
    target = parameters_of(name).target
    excess = excess_at_fee(10**10, name)
    for _ in range(3_000):
        excess = next_excess_blob_gas(excess, target - 1, base_fee, name)
    assert blob_base_fee(excess, name) * BLOB_GAS == pytest.approx(8_192 * base_fee, rel=0.08)
    without = parameters_of(name)._replace(reserve=False)
    for _ in range(3_000):
        excess = next_excess_blob_gas(excess, target - 1, base_fee, without)
    assert blob_base_fee(excess, without) == 1


MINE = BlobParameters("mine", 0, 3, 4, 1, 1, False)


@pytest.mark.parametrize(
    ("call", "rule"),
    [
        (lambda: next_excess_blob_gas(0, 1), "base_fee = None: must be given, since bpo2 has a reserve price"),
        (lambda: next_excess_blob_gas(0, -1, 1), "blobs = -1"), (lambda: next_excess_blob_gas(-1, 1, 1), "excess = -1"),
        (lambda: next_excess_blob_gas(0, 1, -1), "base_fee = -1"), (lambda: blob_base_fee(0, "bpo3"), "fork 'bpo3'"),
        (lambda: blob_base_fee(0, 5), "parameters 5"), (lambda: excess_at_fee(0), "fee = 0"),
        (lambda: blob_base_fee(0, MINE._replace(target=5)), r"parameters.target = 5: must be in \[0, 4\]"),
        (lambda: blob_base_fee(0, MINE._replace(fraction=0)), r"parameters.fraction = 0"),
        (lambda: blob_base_fee(0, MINE._replace(most=2**31 - 1)), r"parameters.most = 2147483647: .* 2147483646\]"),
        (lambda: blob_base_fee(0, MINE._replace(name=5)), "parameters.name 5 is unknown: must be a name"),
        (lambda: blob_base_fee(0, MINE._replace(since="now")), "parameters.since = 'now': must be an integer"),
        (lambda: blob_base_fee(0, MINE._replace(reserve="no")), "parameters.reserve = 'no': must be a bool"),
    ],
)  # fmt: skip
def test_bad_arguments_of_the_market_are_refused(call: Any, rule: str) -> None:
    with pytest.raises(BlockError, match=rule):
        call()


# -------------------------------------------------------------------- rules

GOOD: dict[str, Any] = {"hashes": [HASH] * 3, "fee_cap": 9, "price": 7, "parameters": "cancun", "to": bytes(20)}
BROKEN = [
    ("creation", {"to": None}), ("count", {"hashes": []}), ("count", {"hashes": [HASH] * 7}),
    ("count", {"hashes": [HASH] * 7, "parameters": "osaka"}), ("version", {"hashes": [HASH, b"\x02" + bytes(31)]}),
    ("fee-cap", {"fee_cap": 6}), ("block", {"blobs_before": 4}),
]  # fmt: skip


def test_a_good_blob_transaction_passes() -> None:
    check_blob_transaction(**GOOD)
    check_blob_transaction(**GOOD | {"hashes": [HASH] * 9, "parameters": "prague", "fee_cap": 7})
    check_blob_transaction(**GOOD | {"blobs_before": 3})


@pytest.mark.parametrize(("rule", "change"), BROKEN)
def test_each_broken_rule_is_named(rule: str, change: dict[str, Any]) -> None:
    with pytest.raises(BlockError, match=f'^rule "{rule}": '):
        check_blob_transaction(**GOOD | change)


def test_a_price_of_more_digits_than_python_writes_is_told_by_its_kind() -> None:
    with pytest.raises(BlockError, match=r'^rule "fee-cap": .* = 9: the price is an integer of many digits'):
        check_blob_transaction(**GOOD | {"price": 10**5000})
    with pytest.raises(BlockError, match="max_fee_per_blob_gas = an integer of many digits: the price is an integer"):
        check_blob_transaction(**GOOD | {"fee_cap": 10**5000, "price": 10**5001})


def test_every_rule_is_broken_above() -> None:
    assert {rule for rule, _ in BROKEN} == set(RULES)


@pytest.mark.parametrize(
    ("change", "text"),
    [({"hashes": [b"\x01"]}, r"hashes\[0\]"), ({"hashes": 5}, "hashes = 5"), ({"to": b"\x01"}, "to = "),
     ({"fee_cap": -1}, "fee_cap"), ({"price": 1.5}, "price"), ({"blobs_before": -1}, "blobs_before")],
)  # fmt: skip
def test_what_is_no_blob_transaction_is_refused_by_argument(change: dict[str, Any], text: str) -> None:
    with pytest.raises(BlockError, match=f"^{text}"):
        check_blob_transaction(**GOOD | change)


@pytest.mark.parametrize(
    ("fork", "timestamp", "most"), [("cancun", 1, 6), ("prague", 1, 9), ("osaka", 1, 6), ("osaka", 1_767_747_671, 6)]
)
def test_the_machine_asks_the_same_rules(fork: str, timestamp: int, most: int) -> None:
    env = BlockEnv(number=1, timestamp=timestamp, fork=Fork[fork.upper()], base_fee=7, excess_blob_gas=10**7)
    price = env.blob_gas_price
    given: dict[str, Any] = {"type": 3, "chain_id": 1, "gas_limit": 21_000, "max_fee_per_gas": 9, "to": bytes(20)}

    def why(**change: Any) -> str | None:
        fields = {"max_priority_fee_per_gas": 1, "max_fee_per_blob_gas": price, "blob_versioned_hashes": (HASH,)}
        return refusal(Transaction(**given | fields | change), env)

    assert why() is None
    assert why(blob_versioned_hashes=(HASH,) * most) is None
    assert why(blob_versioned_hashes=(HASH,) * (most + 1)) == f"{most + 1} blobs: must be 1 to {most}"
    assert why(max_fee_per_blob_gas=price - 1) == f"max_fee_per_blob_gas = {price - 1}: the price is {price}"
    assert "must begin with 01" in why(blob_versioned_hashes=(bytes(32),))


# -------------------------------------------------------------------- work


def test_costs_of_blocks_have_so_much_more_for_each_blob() -> None:
    block = pn.generate(n_tx=200, blob_ratio=0.3, blobs_per_tx=(2, 6), seed=4)
    gas, counts = pn.transaction_costs(block), blob_counts(block)
    assert (blob_costs(block, gas, per_blob=500) - gas == 500 * counts).all()
    assert (counts[counts > 0] >= 2).all()
    assert ((blob_fee_caps(block) > 0) == (counts > 0)).all()
    bare = pn.generate(n_tx=20)
    assert (blob_costs(bare, np.ones(20)) == 1).all()
    assert not blob_fee_caps(bare).any()


def test_verification_lengthens_schedules_and_simulated_runs_by_no_less_than_its_share() -> None:
    block = pn.generate(n_tx=200, blob_ratio=0.3, seed=4)
    with_work = blob_costs(block, np.full(200, 100_000.0), per_blob=work.VERIFY_NS)
    for makespan in (
        pn.schedule(block, "list", workers=4, cost=with_work).timeline.makespan,
        pn.simulate(block, "block-stm", workers=4, cost=with_work).makespan,
    ):
        assert makespan >= (200 * 100_000 + work.VERIFY_NS * blob_counts(block).sum()) / 4


def test_the_default_is_measured_once_where_that_can_be_and_a_constant_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    block = pn.generate(n_tx=6, blob_ratio=0.5, blobs_per_tx=(2, 3), seed=1)
    calls = []

    def measured() -> work.KzgTimes:
        calls.append(1)
        return work.KzgTimes(7.0, 9.0, 6, 9)

    monkeypatch.setattr(work, "measure_kzg", measured)
    monkeypatch.setattr(work, "_installed_setup", lambda: Path("points"))
    for there, per_blob in (("ckzg", 7), (None, work.VERIFY_NS)):
        work.verify_ns.cache_clear()
        monkeypatch.setattr(work, "find_spec", lambda name, there=there: name if name == there else None)
        for _ in range(2):
            assert (blob_costs(block, np.zeros(6)) == per_blob * blob_counts(block)).all()
    assert len(calls) == 1
    work.verify_ns.cache_clear()
    assert (blob_costs(pn.generate(n_tx=3), [1, 2, 3]) == [1, 2, 3]).all()
    assert len(calls) == 1


def test_costs_that_cannot_be_meant_are_refused() -> None:
    block = pn.generate(n_tx=2, blob_ratio=1.0)
    for wrong, rule in (
        ({"cost": [1]}, "cost has shape"), ({"per_blob": -1}, "per_blob = -1"), ({"per_blob": np.nan}, "per_blob"),
        ({"block": 3}, "block = 3"),
    ):  # fmt: skip
        with pytest.raises(BlockError, match=rule):
            blob_costs(**{"block": block, "cost": [1, 1], **wrong})


def test_verifying_is_measured_where_the_library_is_and_named_where_it_is_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with monkeypatch.context() as patch:
        patch.setitem(__import__("sys").modules, "ckzg", None)
        with pytest.raises(PevmError, match=r"pevm-numba\[blobs\]"):
            measure_kzg()
    pytest.importorskip("ckzg", reason="c-kzg-4844 is not installed")
    with pytest.raises(BlockError, match=r"trusted_setup = .*: must be a file"):
        measure_kzg(trusted_setup=tmp_path / "none.txt")
    monkeypatch.setattr(work, "find_spec", lambda name: None)
    with pytest.raises(PevmError, match="points of the ceremony"):
        measure_kzg()
    monkeypatch.undo()
    found = measure_kzg(2, rounds=3)
    assert (found.blobs, found.rounds) == (2, 3)
    assert work.VERIFY_NS / 20 < found.per_blob_ns < 20 * work.VERIFY_NS
    assert found.per_blob_ns < 1.5 * found.alone_ns


# -------------------------------------------------------------------- real headers


@pytest.mark.corpus
def test_real_headers_and_their_blob_transactions_keep_the_rules(shared: Path) -> None:
    columns = ["block_number", "excess_blob_gas", "blob_gas_used"]
    table = pq.read_table(shared / "corpus" / "state" / "ethereum__headers.parquet", columns=columns)
    cancun = {row.pop("block_number"): row for row in table.to_pylist() if row["excess_blob_gas"] is not None}
    assert len(cancun) == 9
    seen = 0
    for block in pn.read_evm_blocks(shared / "corpus", list(cancun)):
        row, before = cancun[block.number], 0
        assert block.env.blob_gas_price == blob_base_fee(row["excess_blob_gas"], "cancun")
        for tx in block.transactions:
            if tx.type == 3:
                given = tx.blob_versioned_hashes, tx.max_fee_per_blob_gas, block.env.blob_gas_price
                check_blob_transaction(*given, "cancun", to=tx.to, blobs_before=before)
                before += len(tx.blob_versioned_hashes)
        assert before * BLOB_GAS == row["blob_gas_used"] == blob_counts(block).sum() * BLOB_GAS
        assert (blob_fee_caps(block) > 0).sum() == (blob_counts(block) > 0).sum()
        seen += before
    assert seen == 12


@pytest.mark.corpus
def test_the_excess_of_a_later_real_block_can_be_reached_from_an_earlier_one(shared: Path) -> None:
    # The corpus has no two consecutive blocks from Cancun on; between two of them all blocks are full, or all empty.
    columns = ["block_number", "excess_blob_gas", "blob_gas_used"]
    table = pq.read_table(shared / "corpus" / "state" / "ethereum__headers.parquet", columns=columns).to_pylist()
    rows = [row for row in table if row["excess_blob_gas"] is not None]
    for one, other in itertools.pairwise(rows):
        between = other["block_number"] - one["block_number"] - 1
        if between > 10_000:
            continue
        low = high = next_excess_blob_gas(one["excess_blob_gas"], one["blob_gas_used"] // BLOB_GAS, parameters="cancun")
        for _ in range(between):
            low, high = (next_excess_blob_gas(x, n, parameters="cancun") for x, n in ((low, 0), (high, 6)))
        assert low <= other["excess_blob_gas"] <= high
    near = [b["block_number"] - a["block_number"] for a, b in itertools.pairwise(rows)]
    assert min(near) == 15
